"""What must never be seen in a history, and what to say when it was. Pure.

After Jepsen's kafka workload, without transactions. A write that was not acknowledged may be there
or not. A commit that was not acknowledged may take effect, even late: its client gave up on the
connection, the request did not. Every other surprise is a violation.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator

from quorate_broker.testing.chaos.history import NO_OFFSET, Commit, History, Poll, Send


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """One of the kinds below, and a sentence with the evidence."""

    kind: str
    sentence: str


Checker = Callable[[History], Iterator[Violation]]
SENT_TWICE_S = 3.0
"""The clients give up a connection after this long at the earliest, and send again on another."""


def judge(history: History) -> list[Violation]:
    """Everything that is wrong, worst first."""
    return [violation for checker in CHECKERS for violation in checker(history)]


def lost(history: History) -> Iterator[Violation]:
    """Acknowledged, and some reader of the whole partition does not find it."""
    for read in history.reads:
        found = {value for _, value in read.records}
        for send in history.sends:
            if send.acked and send.partition == read.partition and send.value not in found:
                yield Violation("lost", f"{_said(send)}; {read.reader} does not find it")


def duplicate(history: History) -> Iterator[Violation]:
    """One value of an idempotent producer at two places."""
    places: dict[int, set[tuple[int, int]]] = collections.defaultdict(set)
    for partition, offset, value in _seen(history):
        places[value].add((partition, offset))
    for value, where in places.items():
        if len(where) > 1:
            yield Violation("duplicate", f"value {value} at (partition, offset) {sorted(where)}")


def made_up(history: History) -> Iterator[Violation]:
    """Read, and never written; or in another partition than it was written to."""
    written = {send.value: send.partition for send in history.sends}
    for partition, offset, value in _seen(history):
        if written.get(value) != partition:
            yield Violation("made-up", f"value {value} in partition {partition} at {offset}")


def inconsistent(history: History) -> Iterator[Violation]:
    """Two values for one offset, by the word of producers and readers together."""
    told = {(p, offset, value) for p, offset, value in _seen(history)}
    told |= {(s.partition, s.offset, s.value) for s in history.sends if _placed(s)}
    values: dict[tuple[int, int], set[int]] = collections.defaultdict(set)
    for partition, offset, value in told:
        values[partition, offset].add(value)
    for (partition, offset), found in values.items():
        if len(found) > 1:
            yield Violation(
                "inconsistent", f"partition {partition} offset {offset} holds {sorted(found)}"
            )
    for read in history.reads:
        offsets = [offset for offset, _ in read.records]
        if offsets != sorted(set(offsets)):
            yield Violation(
                "inconsistent", f"{read.reader}: offsets of {read.partition} not rising"
            )


def misplaced(history: History) -> Iterator[Violation]:
    """Acknowledged at one offset, and read at another."""
    acked = {s.value: s for s in history.sends if _placed(s)}
    for _, offset, value in _seen(history):
        send = acked.get(value)
        if send is not None and send.offset != offset:
            yield Violation("inconsistent", f"{_said(send)}; read at {offset}")


def reordered(history: History) -> Iterator[Violation]:
    """One producer's values in a partition, in another order than they were sent."""
    for read in history.reads:
        offset_of = {value: offset for offset, value in read.records}
        last: dict[str, tuple[int, Send]] = {}
        for send in history.sends:
            offset = offset_of.get(send.value)
            if send.partition != read.partition or offset is None:
                continue
            before = last.get(send.producer)
            if before is not None and before[0] > offset:
                yield Violation(
                    "reordered", f"{_said(send)} is at {offset}, before {_said(before[1])}"
                )
            last[send.producer] = (offset, send)


def unseen(history: History) -> Iterator[Violation]:
    """Acknowledged, and no member of the group was ever given it."""
    polled = {poll.value for poll in history.polls}
    for send in history.sends:
        if send.acked and send.value not in polled:
            yield Violation("unseen", f"{_said(send)}; the group never read it")


def nonmonotonic(history: History) -> Iterator[Violation]:
    """Within one assignment a member goes back, or leaves out what is there."""
    there: dict[int, set[int]] = collections.defaultdict(set)
    for partition, offset, _ in _seen(history):
        there[partition].add(offset)
    last: dict[tuple[str, int], Poll] = {}
    for poll in history.polls:
        before = last.get((poll.session, poll.partition))
        last[poll.session, poll.partition] = poll
        if before is None:
            continue
        where = f"{poll.session}, partition {poll.partition}"
        if poll.offset <= before.offset:
            yield Violation("nonmonotonic", f"{where}: {before.offset}, then {poll.offset}")
        skipped = range(before.offset + 1, poll.offset)
        if any(offset in there[poll.partition] for offset in skipped):
            yield Violation("skipped", f"{where}: from {before.offset} to {poll.offset}")


def went_back(history: History) -> Iterator[Violation]:
    """The group's committed offset is below one that was acknowledged before it was asked."""
    for seen in history.committed:
        for partition in {p for commit in history.commits for p in commit.offsets}:
            told = seen.offsets.get(partition, NO_OFFSET)
            before = [
                commit.offsets[partition]
                for commit in history.commits
                if commit.ended_s is not None
                and commit.ended_s <= seen.begun_s
                and partition in commit.offsets
            ]
            unsure = {
                commit.offsets[partition]
                for commit in history.commits
                if _may_come_again(commit) and partition in commit.offsets
            }
            if before and told < max(before) and told not in unsure:
                yield Violation(
                    "went-back",
                    f"group offset of {partition} at {seen.begun_s:.2f} s is {told}, "
                    f"after {max(before)} was acknowledged",
                )


def _may_come_again(commit: Commit) -> bool:
    """Not answered, or so late that the client sent it twice: the first may arrive after others."""
    return commit.ended_s is None or commit.ended_s - commit.begun_s >= SENT_TWICE_S


def topics(history: History) -> Iterator[Violation]:
    """An acknowledged creation or deletion of a topic did not last."""
    deletions = {op.topic for op in history.operations if op.kind == "delete"}
    for op in history.operations:
        exists = op.topic in history.topics
        if op.ok and op.kind == "create" and op.topic not in deletions and not exists:
            yield Violation("topic", f"{op.topic} was created and is not there")
        if op.ok and op.kind == "delete" and exists:
            yield Violation("topic", f"{op.topic} was deleted and is there")


CHECKERS: tuple[Checker, ...] = (
    lost,
    duplicate,
    made_up,
    inconsistent,
    misplaced,
    reordered,
    unseen,
    nonmonotonic,
    went_back,
    topics,
)


def _seen(history: History) -> Iterator[tuple[int, int, int]]:
    """(partition, offset, value) of everything anybody read."""
    for read in history.reads:
        for offset, value in read.records:
            yield read.partition, offset, value
    for poll in history.polls:
        yield poll.partition, poll.offset, poll.value


def _placed(send: Send) -> bool:
    """A duplicate that has left the broker's window is acknowledged without a place."""
    return send.acked and send.offset != NO_OFFSET


def _said(send: Send) -> str:
    return (
        f"value {send.value} of {send.producer} in partition {send.partition}, sent at "
        f"{send.begun_s:.2f} s, " + (f"acknowledged at {send.offset}" if send.acked else "unsure")
    )
