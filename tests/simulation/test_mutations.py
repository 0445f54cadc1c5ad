"""The simulator can fail: each safety rule, switched off, is caught by a pinned seed.

A few are pinned and tried first. A change of the code may move what they meet; then the next ones
are tried, up to 1,000, and it is time to pin those that catch it now:
`python -m quorate_broker.testing.simulation.mutations` tells them.
"""

import itertools

import pytest

from quorate_broker.testing.simulation import mutations
from quorate_broker.testing.simulation.batch import run_core
from quorate_broker.testing.simulation.mutations import Mutation

PINNED: dict[Mutation, tuple[int, ...]] = {
    mutations.vote_is_said_before_it_is_on_disk: (42, 107, 222, 295),
    mutations.older_terms_are_committed_by_counting: (1, 2, 3, 6),
    mutations.any_log_is_good_enough_for_a_vote: (1, 14, 17, 30),
    mutations.leader_serves_before_its_own_term_is_committed: (0, 1, 2, 3),
    mutations.follower_acknowledges_before_its_sync: (11, 22, 41, 46),
    mutations.leader_counts_itself_before_its_sync: (0, 2, 3, 4),
    mutations.entries_are_written_before_their_term: (230, 296, 394, 578),
    mutations.older_leaders_are_heard: (28, 47, 101, 231),
    mutations.sequence_numbers_are_not_checked: (0, 1, 3, 14),
    mutations.producer_epochs_are_not_fenced: (19, 35, 38, 40),
    mutations.producers_do_not_roll_back: (1, 9, 14, 40),
    mutations.checksums_are_not_checked: (3, 11, 41, 69),
    mutations.checksums_are_not_checked_on_reads: (11, 20, 38, 41),
    mutations.recovery_checks_no_checksums: (129, 186, 433, 458),
    mutations.candidate_remembers_what_matched: (22, 53, 104, 112),
    mutations.failed_replica_is_always_due: (0, 1, 2, 3),
    mutations.emptied_disk_keeps_its_identity: (2, 3, 13, 15),
    mutations.hollow_replicas_vote: (0, 2, 3, 4),
    mutations.log_that_begins_anew_takes_what_fits: (4, 147, 174, 505),
}


@pytest.mark.parametrize("mutate", mutations.CORE, ids=[each.__name__ for each in mutations.CORE])
def test_mutation_is_caught(mutate: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = itertools.chain(PINNED[mutate], range(mutations.MOST_SEEDS))
    mutate(monkeypatch)
    assert any(run_core(seed).error for seed in seeds)
