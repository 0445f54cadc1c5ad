"""Nodes as those who look after them handle them: drained, and given back.

A drain evicts through the API, so that PodDisruptionBudgets are heard. Client pods stay: a test
speaks through them.
"""

import contextlib
from collections.abc import Iterator

from quorate_bed import cluster

DRAINED_S = 120


@contextlib.contextmanager
def drained(target: cluster.Cluster, node: str) -> Iterator[None]:
    """No pod of a test but its client is on the node while the block runs."""
    only = ("--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app!=quorate-client")
    try:
        target.kubectl("drain", node, *only, f"--timeout={DRAINED_S}s", timeout_s=DRAINED_S + 30)
        yield
    finally:
        target.kubectl("uncordon", node)


def zone(target: cluster.Cluster, node: str) -> str:
    label = "{.metadata.labels.topology\\.kubernetes\\.io/zone}"
    return target.kubectl("get", "node", node, f"--output=jsonpath={label}")
