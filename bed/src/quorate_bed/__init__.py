"""The Kubernetes that demo and tests run on."""
