"""The Kafka API, one module per key: read `context`, then `dispatch`."""
