"""Sockets: `server` faces Kafka clients, `peers` the other brokers."""
