"""Who leads, as a table: what brokers say, what was known, what may be told."""

from __future__ import annotations

from typing import Any

import pytest

from quorate_operator.facts import Claim
from quorate_operator.plan import leadership

KNOWN = {"clusterId": "id-1"}


def known(leader: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {**KNOWN, "leader": leader, **other}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param([(1, 5), (1, 5), (1, 5)], Claim(1, 5), id="all agree"),
        pytest.param([(1, 5), (2, 6), (2, 6)], Claim(2, 6), id="the newest term wins"),
        pytest.param([(2, 6), (1, 5), (1, 5)], Claim(2, 6), id="even if one alone knows of it"),
        pytest.param([(None, 0), (2, 6), (2, 6)], Claim(2, 6), id="one has not heard yet"),
        pytest.param([(None, 0)] * 3, None, id="nobody leads"),
        pytest.param([], None, id="nobody answers"),
        pytest.param([(-1, 5)] * 3, None, id="-1 is no leader"),
        pytest.param([(0, 5)] * 3, None, id="0 is no leader"),
        pytest.param([(101, 5)] * 3, None, id="a flanking node never leads"),
        pytest.param([(1, 5), (2, 5), (2, 5)], None, id="two in one term: neither is believed"),
    ],
)
def test_the_newest_claim_of_a_broker_is_the_leader(scene, told, expected):
    views = scene.views(*(scene.view(node, term) for node, term in told))
    assert leadership.read(scene.wish(status=KNOWN, views=views)).claim == expected


@pytest.mark.parametrize(
    ("before", "told", "expected"),
    [
        pytest.param((2, 7), (1, 6), None, id="an older term is not believed"),
        pytest.param((2, 7), (2, 7), Claim(2, 7), id="the same lead goes on"),
        pytest.param((2, 7), (1, 7), None, id="another node in the same term is not believed"),
        pytest.param((2, 7), (1, 8), Claim(1, 8), id="a newer term is"),
    ],
)
def test_the_fence_never_lets_the_term_go_back(scene, leader, before, told, expected):
    views = scene.views(scene.view(*told))
    status = known(leader(*before))
    assert leadership.read(scene.wish(status=status, views=views)).claim == expected


def test_the_fence_holds_while_nobody_leads(scene, leader):
    status = {**KNOWN, "previousLeader": leader(2, 7)}
    read = leadership.read(scene.wish(status=status, views=scene.views(scene.view(1, 6))))
    assert read.claim is None
    assert read.stale


def test_a_broker_of_another_cluster_has_no_say(scene):
    views = scene.views(scene.view(1, 5), scene.view(2, 99, cluster_id="id-2"))
    assert leadership.read(scene.wish(status=KNOWN, views=views)).claim == Claim(1, 5)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["id-1", "id-1", "id-1"], "id-1"),
        (["id-1", "id-1"], "id-1"),
        (["id-1"], ""),
        (["id-1", "id-2", "id-3"], ""),
        (["", "", "id-1"], ""),
        ([], ""),
    ],
)
def test_the_cluster_id_is_taken_from_a_majority(scene, ids, expected):
    views = scene.views(*(scene.view(1, 1, cluster_id=one) for one in ids))
    assert leadership.read(scene.wish(views=views)).cluster_id == expected


def test_the_cluster_id_is_never_taken_twice(scene):
    views = scene.views(*(scene.view(1, 1, cluster_id="id-2") for _ in range(3)))
    read = leadership.read(scene.wish(status=KNOWN, views=views))
    assert (read.cluster_id, read.claim) == ("id-1", None)


def test_the_cluster_id_outlives_a_lost_status_in_the_config_map(scene):
    config = {"metadata": {"annotations": {"quorate.dev/cluster-id": "id-9"}}}
    wish = scene.wish(children={("ConfigMap", "orders-config"): config})
    assert leadership.read(wish).cluster_id == "id-9"


def test_the_leaders_own_answer_is_preferred(scene):
    views = scene.views(
        scene.view(2, 5, transitions=9), scene.view(2, 5, transitions=4), scene.view(2, 5)
    )
    view = leadership.read(scene.wish(status=KNOWN, views=views)).view
    assert view is not None
    assert view.transitions == 4
