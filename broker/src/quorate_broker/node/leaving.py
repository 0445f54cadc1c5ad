"""Whether a replica that metadata no longer names may be deleted.

Metadata may be ahead of the group, or behind it; the group's own leader knows. A replica goes when
the leader of its own term says that the membership in effect there does not name it, and it has
not heard of a newer one since: to count again it would have to learn again, which it could only do
by having been filled anew. Read next: `replicas`, which asks.
"""

from __future__ import annotations

import msgspec

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.peers import PeerLost
from quorate_broker.node.context import Parts
from quorate_broker.partition.shell import NO_LEADER, Partition
from quorate_broker.raft.messages import Peer

METHOD = "may-leave"
TIMEOUT_MS = 2_000


class Ask(msgspec.Struct, frozen=True):
    """May this member of the group delete its replica?"""

    group: str
    member: Peer


class Released(msgspec.Struct, frozen=True):
    """Not a member, by the entry at `index` or before, in `term`."""

    term: int
    index: int


def serve(parts: Parts, body: bytes) -> bytes:
    """As the leader of the group. Raises KafkaError: not the leader, still a member."""
    asked = msgspec.msgpack.decode(body, type=Ask)
    partition = parts.shelf.by_group(asked.group)
    if partition is None or not partition.is_leader:
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, None)
    replica = partition.replica
    if asked.member in replica.members.all:
        raise KafkaError(ErrorCode.REASSIGNMENT_IN_PROGRESS, "it is still a member")
    return msgspec.msgpack.encode(Released(replica.term, replica.log.membership[0]))


async def may_leave(parts: Parts, partition: Partition) -> bool:
    """Ask the leader, if there is one."""
    replica = partition.replica
    leader = parts.leaders.get(partition.group).leader_id
    if leader in (NO_LEADER, parts.peers.me.node_id):
        return False
    body = msgspec.msgpack.encode(Ask(partition.group, parts.peers.me))
    try:
        answer = await parts.peers.request(leader, METHOD, body, timeout_ms=TIMEOUT_MS)
    except (PeerLost, TimeoutError, KafkaError):
        return False
    released = msgspec.msgpack.decode(answer, type=Released)
    return _still_holds(replica.term, replica.log.membership[0], released)


def _still_holds(term: int, index: int, released: Released) -> bool:
    """Whether nothing newer than the answer has reached this replica meanwhile."""
    return term <= released.term and index <= released.index
