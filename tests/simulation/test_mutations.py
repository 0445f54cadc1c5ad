"""The simulator can fail: each safety rule, switched off, is caught by a pinned seed.

When a change of the code moves the seeds, find new ones: for each mutation the first seed at which
this test passes. The last two are bugs that the simulator found while Raft was written.
"""

from collections.abc import Callable

import pytest

from quorate_broker.partition.producers import ProducerTable
from quorate_broker.raft import election, following, leading, quorum
from quorate_broker.raft.core import Raft
from quorate_broker.raft.leading import Leading
from quorate_broker.raft.messages import AppendReply, HardState, Peer
from quorate_broker.raft.state import State
from quorate_broker.testing.simulation.run import simulate
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader

Patch = pytest.MonkeyPatch


def vote_is_said_before_it_is_on_disk(patch: Patch) -> None:
    def release(state: State) -> list[tuple[Peer, object]]:
        state.durable, durable = state.hard, state.durable
        released = original(state)
        state.durable = durable
        return released

    original = State.release
    patch.setattr(State, "release", release)


def older_terms_are_committed_by_counting(patch: Patch) -> None:
    def advance(state: State, leader: Leading) -> None:
        matches = [follower.match for follower in leader.followers.values()]
        index = quorum.reached([*matches, state.log.synced_index])
        if index > state.commit_index:
            state.commit(index)
            leader.committed(index)

    patch.setattr(leading, "advance", advance)


def any_log_is_good_enough_for_a_vote(patch: Patch) -> None:
    patch.setattr(election, "_is_up_to_date", lambda *_: True)


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
        matches = [follower.match for follower in leader.followers.values()]
        index = quorum.reached([*matches, state.log.last_index])
        if index > state.commit_index and index >= leader.term_start:
            state.commit(index)
            leader.committed(index)

    patch.setattr(leading, "advance", advance)


def entries_are_written_before_their_term(patch: Patch) -> None:
    patch.setattr(Raft, "may_write", True)


def checksums_are_not_checked(patch: Patch) -> None:
    patch.setattr(batch, "verify_crc", lambda *_: True)


def candidate_remembers_what_matched(patch: Patch) -> None:
    def enter(state: State, hard: HardState) -> None:
        state.hard = hard

    patch.setattr(State, "enter", enter)


def sequence_numbers_are_not_checked(patch: Patch) -> None:
    def check(table: ProducerTable, header: BatchHeader) -> None:
        return None

    patch.setattr(ProducerTable, "check", check)


def producers_do_not_roll_back(patch: Patch) -> None:
    patch.setattr(ProducerTable, "rollback", lambda *_: None)


def failed_replica_is_always_due(patch: Patch) -> None:
    patch.setattr("quorate_broker.raft.core.FOREVER_MS", 0)


MUTATIONS: list[tuple[Callable[[Patch], None], int]] = [
    (vote_is_said_before_it_is_on_disk, 21),
    (older_terms_are_committed_by_counting, 0),
    (any_log_is_good_enough_for_a_vote, 5),
    (follower_acknowledges_before_its_sync, 3),
    (leader_counts_itself_before_its_sync, 2),
    (entries_are_written_before_their_term, 652),
    (sequence_numbers_are_not_checked, 0),
    (producers_do_not_roll_back, 50),
    (checksums_are_not_checked, 3),
    (candidate_remembers_what_matched, 5),
    (failed_replica_is_always_due, 3),
]


@pytest.mark.parametrize(
    ("mutate", "seed"), MUTATIONS, ids=[mutate.__name__ for mutate, _ in MUTATIONS]
)
def test_mutation_is_caught(mutate: Callable[[Patch], None], seed: int, monkeypatch: Patch) -> None:
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        simulate(seed)
