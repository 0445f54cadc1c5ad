"""A Kafka-compatible message broker with Raft inside."""
