"""Safety rules of the product, each switched off: the simulator must notice.

    python -m quorate_broker.testing.simulation.mutations [NAME ...]

prints for each mutation the first seeds that catch it; those are pinned in tests/simulation: a few,
because a change of the code moves what a seed meets. The last ones are bugs that the simulator
itself found while the product was written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

from quorate_broker.log import scan
from quorate_broker.log.log import Log
from quorate_broker.log.reader import SegmentReader
from quorate_broker.partition.producers import ProducerTable, Written
from quorate_broker.raft import (
    changes,
    election,
    following,
    leading,
    membership,
    progress,
)
from quorate_broker.raft.core import Raft
from quorate_broker.raft.leading import Leading
from quorate_broker.raft.messages import Append, AppendReply, HardState, Message, Peer
from quorate_broker.raft.state import Role, State
from quorate_broker.testing.simulation.batch import run_core
from quorate_broker.testing.simulation.host import Host
from quorate_broker.testing.simulation.observed import JOURNAL_PATH
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader

MOST_SEEDS = 1_000
_PINNED = 4


class Patch(Protocol):
    """pytest's monkeypatch."""

    def setattr(self, target: object, name: str, value: object) -> None: ...


Mutation = Callable[[Patch], None]


def _match(follower: progress.Progress) -> int:
    return follower.match


def vote_is_said_before_it_is_on_disk(patch: Patch) -> None:
    def release(state: State) -> list[tuple[Peer, Message]]:
        state.durable, durable = state.hard, state.durable
        released = original(state)
        state.durable = durable
        return released

    original = State.release
    patch.setattr(State, "release", release)


def older_terms_are_committed_by_counting(patch: Patch) -> None:
    def advance(state: State, leader: Leading) -> None:
        index = leading._reached(state, leader, _match, state.log.synced_index)
        if index > state.commit_index:
            state.commit(index)
            leader.committed(index)

    patch.setattr(leading, "advance", advance)


def any_log_is_good_enough_for_a_vote(patch: Patch) -> None:
    patch.setattr(election, "_is_up_to_date", lambda *_: True)


def leader_serves_before_its_own_term_is_committed(patch: Patch) -> None:
    patch.setattr(Raft, "serving", property(lambda raft: raft.role is Role.LEADER))


def follower_acknowledges_before_its_sync(patch: Patch) -> None:
    def acknowledge(state: State, leader: Peer) -> None:
        state.acked = state.matched
        state.send(leader, AppendReply(state.term, state.matched, state.matched))

    def synced(state: State) -> None:
        pass

    patch.setattr(following, "_acknowledge", acknowledge)
    patch.setattr(following, "synced", synced)


def leader_counts_itself_before_its_sync(patch: Patch) -> None:
    def advance(state: State, leader: Leading) -> None:
        index = leading._reached(state, leader, _match, state.log.last_index)
        if index > state.commit_index and index >= leader.term_start:
            state.commit(index)
            leader.committed(index)

    patch.setattr(leading, "advance", advance)


def entries_are_written_before_their_term(patch: Patch) -> None:
    patch.setattr(Raft, "may_write", True)


def older_leaders_are_heard(patch: Patch) -> None:
    def on_append(state: State, sender: Peer, message: Append) -> None:
        term = max(message.term, state.term)
        entries = (term, message.prev_index, message.prev_term, message.commit, message.entries)
        if state.leader in (None, sender) and state.role is not Role.LEADER:
            original(state, sender, Append(*entries))

    original = following.on_append
    patch.setattr(following, "on_append", on_append)
    handlers = {**_handlers(), Append: on_append}
    patch.setattr(sys.modules[Raft.__module__], "_HANDLERS", handlers)


def _handlers() -> dict[type, object]:
    found: dict[type, object] = sys.modules[Raft.__module__]._HANDLERS
    return found


def checksums_are_not_checked(patch: Patch) -> None:
    patch.setattr(batch, "verify_crc", lambda *_: True)


def checksums_are_not_checked_on_reads(patch: Patch) -> None:
    patch.setattr(SegmentReader, "_check", lambda *_: None)
    patch.setattr(SegmentReader, "_check_headers", lambda *_: None)


def recovery_checks_no_checksums(patch: Patch) -> None:
    class Trusting:
        """`wire.batch` but for the one function."""

        def __getattr__(self, name: str) -> object:
            return (lambda *_: True) if name == "verify_crc" else getattr(batch, name)

    patch.setattr(scan, "batch", Trusting())


def candidate_remembers_what_matched(patch: Patch) -> None:
    def enter(state: State, hard: HardState) -> None:
        state.hard = hard

    patch.setattr(State, "enter", enter)


def sequence_numbers_are_not_checked(patch: Patch) -> None:
    patch.setattr(ProducerTable, "check", lambda *_: None)


def producer_epochs_are_not_fenced(patch: Patch) -> None:
    def check(table: ProducerTable, header: BatchHeader) -> Written | None:
        known = table._producers.get(header.producer_id)
        if known is not None and header.producer_epoch < known.epoch:
            return None
        return original(table, header)

    original = ProducerTable.check
    patch.setattr(ProducerTable, "check", check)


def producers_do_not_roll_back(patch: Patch) -> None:
    patch.setattr(ProducerTable, "rollback", lambda *_: None)


def failed_replica_is_always_due(patch: Patch) -> None:
    patch.setattr(sys.modules[Raft.__module__], "FOREVER_MS", 0)


def who_is_left_out_never_stands(patch: Patch) -> None:
    def may_stand(state: State) -> bool:
        return not state.log.hollow and any(state.me in voters for voters in state.halves)

    patch.setattr(State, "may_stand", property(may_stand))


def unheard_voters_are_ready(patch: Patch) -> None:
    def is_ready(state: State, leader: Leading, peer: Peer) -> bool:
        follower = leader.followers.get(peer)
        if follower is not None and follower.agreed_ms == progress.NEVER_MS:
            return not follower.life and follower.match >= state.members_index
        return original(state, leader, peer)

    original = changes.is_ready
    patch.setattr(changes, "is_ready", is_ready)


def emptied_disk_keeps_its_identity(patch: Patch) -> None:
    """An empty disk under the old name, and nobody is told that it was replaced."""
    patch.setattr(Host, "_next_peer", lambda host: host.peer)
    patch.setattr(Host, "_founding", lambda host, _: membership.of(host.founders).encode())


def hollow_replicas_vote(patch: Patch) -> None:
    patch.setattr(Log, "hollow", property(lambda _: False))


def who_leaves_forgets_its_vote(patch: Patch) -> None:
    def remove(host: Host) -> None:
        original(host)
        if host.is_a_comer and host.process is None:
            host.disk.unlink(JOURNAL_PATH)
            host.durable_term = 0

    original = Host.remove
    patch.setattr(Host, "remove", remove)


def log_that_begins_anew_takes_what_fits(patch: Patch) -> None:
    """Entries at once, from the first one on, none of which says who founded the group."""

    def fits(state: State, message: Append) -> bool:
        prev = message.prev_index
        same = prev <= state.log.last_index and state.log.term_at(prev) == message.prev_term
        return same or prev <= state.commit_index

    def fill(state: State) -> None:
        state.members, members = membership.of([state.me]), state.members
        original(state)
        state.members = members

    original = following._fill
    patch.setattr(following, "_fits", fits)
    patch.setattr(following, "_fill", fill)


RARE: tuple[Mutation, ...] = (
    who_is_left_out_never_stands,
    unheard_voters_are_ready,
    who_leaves_forgets_its_vote,
)
"""It takes the meeting of several faults; a transcript or a test of the product replays it."""
CORE: tuple[Mutation, ...] = (
    vote_is_said_before_it_is_on_disk,
    older_terms_are_committed_by_counting,
    any_log_is_good_enough_for_a_vote,
    leader_serves_before_its_own_term_is_committed,
    follower_acknowledges_before_its_sync,
    leader_counts_itself_before_its_sync,
    entries_are_written_before_their_term,
    older_leaders_are_heard,
    sequence_numbers_are_not_checked,
    producer_epochs_are_not_fenced,
    producers_do_not_roll_back,
    checksums_are_not_checked,
    checksums_are_not_checked_on_reads,
    recovery_checks_no_checksums,
    candidate_remembers_what_matched,
    failed_replica_is_always_due,
    emptied_disk_keeps_its_identity,
    hollow_replicas_vote,
    log_that_begins_anew_takes_what_fits,
)


class _Undoing:
    """A `Patch` that can be taken back."""

    def __init__(self) -> None:
        self._before: list[tuple[object, str, object]] = []

    def setattr(self, target: object, name: str, value: object) -> None:
        self._before.append((target, name, getattr(target, name)))
        setattr(target, name, value)

    def undo(self) -> None:
        for target, name, value in reversed(self._before):
            setattr(target, name, value)


def catching_seeds(mutate: Mutation) -> list[tuple[int, str]]:
    """The first few seeds that catch it, each with its last words."""
    patch = _Undoing()
    mutate(patch)
    found: list[tuple[int, str]] = []
    try:
        for seed in range(MOST_SEEDS):
            outcome = run_core(seed)
            if outcome.error:
                found.append((seed, outcome.error.strip().rpartition("\n")[2]))
            if len(found) == _PINNED:
                break
    finally:
        patch.undo()
    return found


def main(names: list[str]) -> int:
    """How many were not caught."""
    missed = 0
    for mutate in CORE:
        if names and mutate.__name__ not in names:
            continue
        found = catching_seeds(mutate)
        missed += not found
        seeds = tuple(seed for seed, _ in found)
        sys.stdout.write(f"    mutations.{mutate.__name__}: {seeds},\n")
        sys.stdout.write("".join(f"        # {seed}: {words[:150]}\n" for seed, words in found))
        sys.stdout.flush()
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
