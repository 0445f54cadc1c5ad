"""Stand-ins for tests: a Kubernetes API and brokers' Admin APIs, both over real HTTP."""
