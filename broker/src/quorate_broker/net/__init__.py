"""Sockets. `server` speaks Kafka with clients; `rpc` frames what brokers say to each other, `peers`
keeps the connections between them. Nothing here decides anything: bytes come in, calls go down,
answers go out.
"""
