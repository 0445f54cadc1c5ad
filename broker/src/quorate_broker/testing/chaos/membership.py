"""Moving replicas between brokers, by Kafka's own requests and the one client that has them.

Read next: `faults`, which does it at bad moments.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence

with warnings.catch_warnings():
    # kafka-python reads its own files by a way that Python has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka
    import kafka.admin
    import kafka.errors

ASK_MS = 5000


def reassign(bootstrap: str, topic: str, replicas: Mapping[int, Sequence[int]]) -> str:
    """By partition, who is to hold it; in words, how many of them were taken."""
    wanted = {kafka.TopicPartition(topic, p): list(ids) for p, ids in replicas.items()}
    try:
        admin = kafka.admin.KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","), request_timeout_ms=ASK_MS
        )
    except kafka.errors.KafkaError as error:
        return f"nobody to ask: {type(error).__name__}"
    try:
        answers = admin.alter_partition_reassignments(wanted, timeout_ms=ASK_MS)
    except kafka.errors.KafkaError as error:
        return f"not answered: {type(error).__name__}"
    finally:
        admin.close()
    refused = sorted({error.__name__ for error in answers.values() if error is not None})
    return f"{sum(e is None for e in answers.values())} taken {' '.join(refused)}".strip()


def wait_settled(bootstrap: str, timeout_s: float) -> bool:
    """Whether no partition is being moved any more."""
    deadline = time.perf_counter() + timeout_s
    while time.perf_counter() < deadline:
        if _moving(bootstrap) == 0:
            return True
        time.sleep(0.3)
    return False


def _moving(bootstrap: str) -> int | None:
    """How many partitions are on the move; None: nobody could say."""
    try:
        admin = kafka.admin.KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","), request_timeout_ms=ASK_MS
        )
    except kafka.errors.KafkaError:
        return None
    try:
        return len(admin.list_partition_reassignments())
    except kafka.errors.KafkaError:
        return None
    finally:
        admin.close()
