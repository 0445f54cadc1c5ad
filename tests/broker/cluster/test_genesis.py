"""Empty disks become one cluster, in any order of starting, and never two."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate_broker.cluster import genesis
from quorate_broker.cluster.genesis import Answer, Genesis, Phase
from quorate_broker.cluster.records import Member

SEEDS = (1, 2, 3)


def empty(node_id: int, seeds: tuple[int, ...] = SEEDS, incarnation: str | None = None) -> Answer:
    return Answer(node_id, incarnation or f"disk-{node_id}", Phase.EMPTY, None, seeds)


def holding(node_id: int, found: Genesis, phase: Phase = Phase.PREPARED) -> Answer:
    return Answer(node_id, f"disk-{node_id}", phase, found, SEEDS)


FOUND = Genesis("c1", tuple(Member(i, f"disk-{i}") for i in SEEDS))


def test_the_lowest_id_proposes_once_all_seeds_have_answered_empty() -> None:
    step = genesis.step(empty(1), [empty(2), empty(3)], "")
    assert step == genesis.Propose(FOUND.voters)


def test_nobody_proposes_while_a_seed_is_silent() -> None:
    assert isinstance(genesis.step(empty(1), [empty(2)], ""), genesis.Wait)


def test_only_the_lowest_id_proposes() -> None:
    assert isinstance(genesis.step(empty(2), [empty(1), empty(3)], ""), genesis.Wait)


def test_a_seed_list_that_differs_stops_the_start() -> None:
    step = genesis.step(empty(1), [empty(2, (1, 2)), empty(3)], "")
    assert isinstance(step, genesis.Wait)
    assert "another seed list" in step.reason


def test_an_empty_seed_list_never_forms_a_cluster() -> None:
    assert isinstance(genesis.step(empty(1, ()), [], ""), genesis.Wait)


def test_a_single_seed_forms_a_cluster_of_itself() -> None:
    step = genesis.step(empty(1, (1,)), [], "")
    assert step == genesis.Propose((Member(1, "disk-1"),))


def test_an_empty_seed_adopts_a_genesis_that_names_its_disk() -> None:
    assert genesis.step(empty(3), [holding(1, FOUND)], "") == genesis.Adopt(FOUND)


def test_an_empty_seed_with_another_disk_asks_to_join_once_the_cluster_is_formed() -> None:
    me = empty(3, incarnation="new-disk")
    step = genesis.step(me, [holding(1, FOUND)], "")
    assert isinstance(step, genesis.Wait)
    assert "may ask to join" in step.reason
    formed = holding(1, FOUND, Phase.FORMED)
    assert genesis.step(me, [formed, holding(2, FOUND)], "") == genesis.AskToJoin(FOUND, (1,))


def test_a_broker_that_is_no_seed_joins_and_never_begins() -> None:
    me = empty(4)
    assert isinstance(genesis.step(me, [empty(1), empty(2), empty(3)], ""), genesis.Wait)
    lowest = empty(1, (2, 3))
    assert isinstance(genesis.step(lowest, [empty(2, (2, 3)), empty(3, (2, 3))], ""), genesis.Wait)
    formed = [holding(i, FOUND, Phase.FORMED) for i in (1, 2)]
    assert genesis.step(me, formed, "c1") == genesis.AskToJoin(FOUND, (1, 2))
    assert isinstance(genesis.step(me, formed, "c2"), genesis.Wait)


def test_an_empty_disk_that_is_told_a_cluster_only_joins_that_one() -> None:
    assert isinstance(genesis.step(empty(1), [empty(2), empty(3)], "c1"), genesis.Wait)
    assert genesis.step(empty(3), [holding(1, FOUND)], "c1") == genesis.Adopt(FOUND)
    other = genesis.step(empty(3), [holding(1, FOUND)], "c2")
    assert isinstance(other, genesis.Wait)
    assert "belong to cluster c1" in other.reason


def test_two_lost_disks_of_three_make_no_second_cluster() -> None:
    survivor = holding(3, FOUND, Phase.FORMED)
    lost = [empty(1, incarnation="new-1"), empty(2, incarnation="new-2")]
    assert genesis.step(lost[0], [lost[1], survivor], "") == genesis.AskToJoin(FOUND, (3,))
    assert genesis.step(lost[1], [lost[0], survivor], "") == genesis.AskToJoin(FOUND, (3,))


def test_nobody_votes_before_every_seed_has_synced_the_genesis() -> None:
    me = holding(1, FOUND)
    assert isinstance(genesis.step(me, [holding(2, FOUND), empty(3)], ""), genesis.Wait)
    assert isinstance(genesis.step(me, [holding(2, FOUND)], ""), genesis.Wait)
    assert genesis.step(me, [holding(2, FOUND), holding(3, FOUND)], "") == genesis.Form()


def test_a_formed_seed_is_word_enough_that_all_have_synced() -> None:
    step = genesis.step(holding(1, FOUND), [holding(2, FOUND, Phase.FORMED)], "")
    assert step == genesis.Form()


@settings(max_examples=200)
@given(st.data())
def test_any_schedule_of_steps_and_silences_forms_at_most_one_cluster(data: st.DataObject) -> None:
    nodes = {i: empty(i) for i in SEEDS}
    clusters = itertools.count()
    made: set[str] = set()

    def take(node_id: int, heard: set[int]) -> None:
        me = nodes[node_id]
        match genesis.step(me, [nodes[i] for i in sorted(heard - {node_id})], ""):
            case genesis.Propose(voters):
                found = Genesis(f"c{next(clusters)}", voters)
                made.add(found.cluster_id)
                nodes[node_id] = _with(me, Phase.PREPARED, found)
            case genesis.Adopt(found):
                nodes[node_id] = _with(me, Phase.PREPARED, found)
            case genesis.Form():
                nodes[node_id] = _with(me, Phase.FORMED, me.genesis)
                assert all(other.genesis is not None for other in nodes.values())

    for _ in range(data.draw(st.integers(0, 12))):
        take(data.draw(st.sampled_from(SEEDS)), data.draw(st.sets(st.sampled_from(SEEDS))))
    for node_id in SEEDS * 4:
        take(node_id, set(SEEDS))
    assert {node.phase for node in nodes.values()} == {Phase.FORMED}
    assert len(made) == 1
    assert len({node.genesis for node in nodes.values()}) == 1


def _with(me: Answer, phase: Phase, found: Genesis | None) -> Answer:
    return Answer(me.node_id, me.incarnation, phase, found, me.seeds)
