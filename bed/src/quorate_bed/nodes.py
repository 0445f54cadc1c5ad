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


@contextlib.contextmanager
def closed(target: cluster.Cluster, *names: str) -> Iterator[None]:
    """No new pod is placed on those nodes while the block runs."""
    try:
        for name in names:
            target.kubectl("cordon", name)
        yield
    finally:
        for name in names:
            target.kubectl("uncordon", name)


@contextlib.contextmanager
def only(target: cluster.Cluster, node: str) -> Iterator[None]:
    """New pods are placed on that node and on no other while the block runs."""
    with closed(target, *(name for name in target.nodes() if name != node)):
        yield


def zone(target: cluster.Cluster, node: str) -> str:
    label = "{.metadata.labels.topology\\.kubernetes\\.io/zone}"
    return target.kubectl("get", "node", node, f"--output=jsonpath={label}")
