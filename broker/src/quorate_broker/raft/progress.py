"""What a leader knows of one follower, and how much it may send it.

    PROBE      where the logs agree is not known: one append at a time, the next one after a reply
               or, as a reminder, with each heartbeat reply
    REPLICATE  appends are pipelined, bounded by the in-flight window in messages and bytes

    SNAPSHOT   what it needs next is not in the log any more: it gets what that came to, one piece
               at a time

    PROBE -- accepted --> REPLICATE -- rejected, connection lost, not received --> PROBE
    PROBE, REPLICATE -- before the log's first entry --> SNAPSHOT -- has all of it --> PROBE

A follower's `match` is on its disk, `received` only in its memory. The window counts until `match`.
A follower that lost its log and says so (`life`) is taken for one of which nothing is known.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from quorate_broker.raft.settings import RaftSettings

NEVER_MS = -(2**62)


class Mode(Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Packed:
    """A snapshot, ready to be sent."""

    index: int
    term: int
    content: bytes
    crc: int


class Progress:
    """One follower as its leader sees it; indexes are Raft indexes, times monotonic ms."""

    __slots__ = (
        "agreed_ms",
        "asked_ms",
        "based",
        "caught_up_ms",
        "full",
        "heard_ms",
        "inflight",
        "inflight_bytes",
        "life",
        "mark",
        "match",
        "mode",
        "moved_ms",
        "next",
        "packed",
        "position",
        "received",
        "rests",
        "told",
    )

    def __init__(self, last_index: int, now_ms: int, is_new: bool = False) -> None:
        self.mode = Mode.PROBE
        self.match = -1
        self.received = -1
        self.next = last_index + 1
        self.told = -1
        """The commit index that it was last told."""
        self.asked_ms: int | None = None
        """When the probe was sent that is not answered yet."""
        self.inflight: deque[tuple[int, int]] = deque()  # (last index, bytes)
        self.inflight_bytes = 0
        self.heard_ms = now_ms
        self.moved_ms = now_ms
        """When `received` last moved, or became less than what was sent."""
        self.agreed_ms = NEVER_MS
        """A heartbeat of this time was answered."""
        self.full = False
        """It takes no records now, its disk is full: one batch is tried now and then, for what
        Raft itself has to say is taken."""
        self.based = False
        """It had a snapshot: also a hollow one goes on with entries from there."""
        self.packed: Packed | None = None
        self.position = 0
        """Bytes of `packed` that it has."""
        self.rests = False
        """It answered the last heartbeat by resting."""
        self.caught_up_ms = NEVER_MS if is_new else now_ms
        """The follower had everything that the leader had at this time."""
        self.mark = (last_index, now_ms)
        self.life = 0
        """Of a hollow follower: which of its lives it said it is in."""

    def lives(self, life: int, last_index: int) -> None:
        """A reply said that the follower is whole (0) or hollow: begun anew, with nothing."""
        if life == self.life:
            return
        self.life = life
        if life:
            self.match = self.received = self.told = -1
            self.caught_up_ms = NEVER_MS
            self.based = False
            self.probe(last_index + 1)

    def may_send(self, settings: RaftSettings) -> bool:
        if self.mode is not Mode.REPLICATE:
            return self.asked_ms is None
        return (
            len(self.inflight) < settings.inflight_messages
            and self.inflight_bytes < settings.inflight_bytes
        )

    def sent(self, last_index: int, size: int, now_ms: int) -> None:
        """Entries from `next` to `last_index` went out."""
        if self.mode is Mode.PROBE:
            self.asked_ms = now_ms
            return
        if self.received >= self.next - 1:
            self.moved_ms = now_ms
        self.inflight.append((last_index, size))
        self.inflight_bytes += size
        self.next = last_index + 1

    def heard(self, received: int, match: int, last_index: int, now_ms: int) -> None:
        """A reply of this term said how far the follower is."""
        assert match <= received <= last_index, "a follower cannot have more than its leader"
        self.heard_ms = now_ms
        if received != self.received:  # it falls when the follower was restarted
            self.received = received
            self.moved_ms = now_ms
        if match > self.match:
            self.match = match
            self.next = max(self.next, match + 1)
        inflight = self.inflight
        while inflight and inflight[0][0] <= self.match:
            self.inflight_bytes -= inflight.popleft()[1]
        if self.match >= self.mark[0]:
            self.caught_up_ms = now_ms if self.match == last_index else self.mark[1]
            self.mark = (last_index, now_ms)

    def accepted(self) -> None:
        """The probe fitted."""
        self.mode = Mode.REPLICATE
        self.asked_ms = None
        self.next = max(self.received, self.match) + 1
        self.moved_ms = self.heard_ms

    def probe(self, next_index: int) -> None:
        """Ask from `next_index` where the logs agree; what was in flight is taken for lost."""
        assert next_index > self.match, "what a follower has acknowledged is not sent again"
        self.mode = Mode.PROBE
        self.packed = None
        self.next = next_index
        self.asked_ms = None
        self.inflight.clear()
        self.inflight_bytes = 0

    def holds_back(self, now_ms: int) -> None:
        """It answered that its disk is full. What it did take may be followed by one batch more."""
        self.full = True
        moved = self.received >= self.next
        self.probe(max(self.received, self.match) + 1)
        self.asked_ms = None if moved else now_ms

    def give(self, packed: Packed) -> None:
        """Send it this, from the start; it may say that it has some of it already."""
        self.mode = Mode.SNAPSHOT
        self.packed = packed
        self.position = 0
        self.asked_ms = None
        self.inflight.clear()
        self.inflight_bytes = 0

    def remind(self, pause_ms: int, now_ms: int) -> None:
        """The follower lives: a probe, or a piece, not answered for `pause_ms` may go again."""
        if self.asked_ms is not None and now_ms - self.asked_ms >= pause_ms:
            self.asked_ms = None

    def is_stuck(self, resend_ms: int, now_ms: int) -> bool:
        """Sent long ago, not received, yet the follower lives."""
        return (
            self.mode is Mode.REPLICATE
            and self.received < self.next - 1
            and now_ms - self.moved_ms >= resend_ms
        )
