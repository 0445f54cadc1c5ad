"""How far the decommission of a broker has got, by the metadata that this node has applied.

Read next: `steering`, which moves what lies on draining brokers and ends their membership.
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate_broker.admin.view import Decommission, Leaving
from quorate_broker.cluster import reassignment
from quorate_broker.cluster.records import Member
from quorate_broker.node.context import Parts

NAMESPACE = "kafka"


def status(parts: Parts, node_id: int) -> Decommission | None:
    """See `admin.view.AdminView.decommission_status`."""
    image = parts.controller.image
    member = image.member(node_id)
    if member is None:
        if node_id in image.retired.values():
            return Decommission(finished=True)
        raise KeyError(node_id)
    if node_id not in image.draining:
        return None
    _, stuck = reassignment.drain_step(image, 0)
    return Decommission(
        finished=False,
        partitions=tuple(_leaving(parts, member)),
        stuck=tuple(f"{NAMESPACE}/{one.topic}/{one.index}" for one in stuck),
    )


def _leaving(parts: Parts, member: Member) -> Iterator[Leaving]:
    for topic in parts.controller.image.topics.values():
        for info in topic.partitions:
            if member not in info.holders:
                continue
            local = parts.shelf.get(topic.id, info.index)
            yield Leaving(
                namespace=NAMESPACE,
                topic=topic.name,
                partition=info.index,
                moving_to=info.adding,
                size_bytes=local.size_bytes if local is not None else 0,
            )
