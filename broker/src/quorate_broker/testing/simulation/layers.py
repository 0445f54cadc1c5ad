"""The simulators by name: the core of one partition, and whole brokers."""

from __future__ import annotations

from quorate_broker.testing.simulation import batch

LAYERS = {"core": batch.CORE}
