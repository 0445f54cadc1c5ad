"""Whole brokers in one thread: real nodes on event loops of virtual time. Read `run` first."""
