"""What a coordinator can be asked, and what it answers.

Plain values, the same for all versions of Kafka's requests: `api` translates. A refusal is answered
as a `KafkaError`, which is raised at whoever waits. Time-outs are milliseconds.
Next: `coordinator`, which takes these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from quorate_broker.errors import ErrorCode
from quorate_broker.groups.states import State


class Protocol(NamedTuple):
    """A way to assign partitions, with a member's subscription in the words of that protocol."""

    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """Become, or stay, a member of the next generation. Parked until that generation begins."""

    group_id: str
    member_id: str
    """Empty for a member that has none yet."""
    instance_id: str | None
    client_id: str
    client_host: str
    protocol_type: str
    protocols: tuple[Protocol, ...]
    session_timeout_ms: int
    rebalance_timeout_ms: int
    needs_member_id: bool = True
    """Answer a new member with an id first, and let it join with that (from version 4)."""
    can_skip_assignment: bool = True
    """The client knows the flag of that name (from version 9)."""


@dataclass(frozen=True, slots=True)
class JoinedMember:
    """A member, as the leader of its generation sees it."""

    member_id: str
    instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True)
class JoinGroupReply:
    """Membership in a generation; or MEMBER_ID_REQUIRED with the id to come back with."""

    member_id: str
    code: ErrorCode = ErrorCode.NONE
    generation: int = -1
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    skip_assignment: bool = False
    members: tuple[JoinedMember, ...] = ()
    """For the leader alone."""


@dataclass(frozen=True, slots=True)
class SyncGroup:
    """Fetch the assignment of this generation; the leader brings them all. Parked until it has."""

    group_id: str
    member_id: str
    instance_id: str | None
    generation: int
    protocol_type: str | None = None
    protocol: str | None = None
    assignments: tuple[tuple[str, bytes], ...] = ()
    """(member id, assignment), from the leader alone."""


@dataclass(frozen=True, slots=True)
class SyncGroupReply:
    """One member's assignment."""

    protocol_type: str | None
    protocol: str | None
    assignment: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Stay alive. Answered None, or refused: REBALANCE_IN_PROGRESS calls to join again."""

    group_id: str
    member_id: str
    instance_id: str | None
    generation: int


class LeavingMember(NamedTuple):
    """By its id; or, from an administrator, by its instance id with an empty member id."""

    member_id: str
    instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """End some memberships. Answered by a tuple of codes in the order of `members`."""

    group_id: str
    members: tuple[LeavingMember, ...]


class CommittedOffset(NamedTuple):
    """An offset with what was committed beside it; offset -1 where nothing was."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int = -1
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class OffsetCommit:
    """Commit offsets. Answered by a tuple of codes in the order of `offsets`.

    Generation -1 without a member id is a consumer that assigns its own partitions; it may commit
    while the group has no members.
    """

    group_id: str
    offsets: tuple[CommittedOffset, ...]
    member_id: str = ""
    instance_id: str | None = None
    generation: int = -1
    retention_ms: int = -1
    """Own time to live (versions 2 to 4); -1: the broker's."""
    knows_unknown_group: bool = True
    """Say GROUP_ID_NOT_FOUND (from version 9) instead of ILLEGAL_GENERATION."""


@dataclass(frozen=True, slots=True)
class OffsetFetch:
    """Answered by a tuple of CommittedOffset, in the order asked; None asks for all."""

    group_id: str
    partitions: tuple[tuple[str, int], ...] | None


@dataclass(frozen=True, slots=True)
class DescribeGroup:
    """Answered by GroupDescription, refused with GROUP_ID_NOT_FOUND."""

    group_id: str


@dataclass(frozen=True, slots=True)
class MemberDescription:
    """A member, as an administrator sees it."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """A group, as an administrator sees it; protocol and metadata only while it is Stable."""

    state: State
    protocol_type: str
    protocol: str
    members: tuple[MemberDescription, ...]


@dataclass(frozen=True, slots=True)
class ListGroups:
    """Answered by a tuple of ListedGroup: all groups of this partition."""


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """One line of a list of groups."""

    group_id: str
    protocol_type: str
    state: State


@dataclass(frozen=True, slots=True)
class DeleteGroup:
    """Forget a group without members, with its offsets. Answered None."""

    group_id: str


Command = (
    JoinGroup
    | SyncGroup
    | Heartbeat
    | LeaveGroup
    | OffsetCommit
    | OffsetFetch
    | DescribeGroup
    | ListGroups
    | DeleteGroup
)
