"""What is told about a cluster, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from quorate_operator.facts import Member
from quorate_operator.plan import events, status
from quorate_operator.plan.actions import MarkLeader
from quorate_operator.plan.conditions import Passed
from quorate_operator.status import BrokerClusterStatus

IMAGE = "quorate-broker:0.1.0"
KNOWN = {"clusterId": "id-1"}


def told(wish, passed: Passed | None = None) -> BrokerClusterStatus:
    return status.tell(wish, passed or Passed(), IMAGE)


def conditions(found: BrokerClusterStatus) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in found.conditions}


def serving(scene, **other: Any):
    return scene.wish(**{"status": KNOWN, "views": scene.views(*[scene.view(2, 5)] * 3), **other})


def test_a_serving_cluster_says_who_leads(scene):
    found = told(serving(scene))
    assert found.leader is not None
    assert found.leader.model_dump() == {
        "node_id": 2,
        "pod": "orders-broker-1",
        "epoch": 5,
        "since": "2026-01-02T03:04:05Z",
    }
    assert found.leader_transitions == 5
    assert found.ready_text == "3/3"
    assert [(node.node_id, node.leader) for node in found.nodes] == [
        (1, False),
        (2, True),
        (3, False),
    ]
    assert conditions(found) == {
        "ConfigInSync": ("True", "InSync"),
        "FullyReplicated": ("True", "Healthy"),
        "Insecure": ("True", "NoAuthentication"),
        "ListenersReady": ("True", "Known"),
        "QuorumAvailable": ("True", "LeaderElected"),
        "Ready": ("True", "Serving"),
        "Reconciling": ("False", "Settled"),
        "Stalled": ("False", "Free"),
        "StorageReady": ("True", "Bound"),
        "UpToDate": ("True", "Current"),
    }
    assert found.listeners[0].bootstrap_servers == "orders-bootstrap.shop.svc:9092"
    assert found.selector == "quorate.dev/cluster=orders,quorate.dev/role=broker"
    assert found.version == "0.1.0"


def test_saying_it_again_changes_nothing(scene):
    first = told(serving(scene))
    wish = serving(scene, status=first.dump())
    assert told(wish).dump() == first.dump()


def test_a_silent_follower_is_not_ready_but_the_cluster_is(scene):
    view = scene.view(2, 5, healthy=False, unhealthy_reasons=("node 3 is down",))
    found = told(serving(scene, views=scene.views(view, view)))
    assert conditions(found)["Ready"] == ("True", "Serving")
    assert conditions(found)["FullyReplicated"] == ("False", "Unhealthy")
    assert found.ready_text == "2/3"
    assert [node.ready for node in found.nodes] == [True, True, False]


@pytest.mark.parametrize(
    ("answers", "pods", "reason", "sentence"),
    [
        (
            3,
            3,
            "Electing",
            "A majority of the brokers answers and is electing a leader.",
        ),
        (
            1,
            3,
            "NoQuorum",
            "Too few brokers answer: without a majority nobody can lead."
            " Silent: orders-broker-1, orders-broker-2.",
        ),
        (
            0,
            0,
            "NoBrokerAnswers",
            "No broker answers, so nobody leads."
            " Silent: orders-broker-0, orders-broker-1, orders-broker-2.",
        ),
    ],
)
def test_without_a_leader_the_reason_is_a_sentence(scene, leader, answers, pods, reason, sentence):
    found = told(
        scene.wish(
            status={**KNOWN, "leader": leader(2, 5)},
            views=scene.views(*[scene.view(None)] * answers),
            pods=tuple(scene.pod(f"broker-{n}") for n in range(pods)),
        )
    )
    assert found.leader is None
    assert "leader" not in found.dump()
    assert not any(node.leader for node in found.nodes)
    for kind in ("Ready", "QuorumAvailable"):
        condition = found.condition(kind)
        assert condition is not None
        assert (condition.status, condition.reason) == ("False", reason)
        assert condition.message == sentence
    assert found.previous_leader is not None
    assert found.previous_leader.epoch == 5


def test_a_pod_in_trouble_is_named_with_its_trouble(scene):
    pods = (scene.pod("broker-0", ready=False, trouble="ImagePullBackOff"),)
    ready = told(scene.wish(pods=pods)).condition("Ready")
    assert ready is not None
    assert ready.reason == "Provisioning"
    assert "orders-broker-0 (ImagePullBackOff)" in ready.message


def test_a_failover_keeps_who_led_before(scene, leader):
    found = told(
        scene.wish(
            status={**KNOWN, "leader": leader(1, 4), "leaderTransitions": 4},
            views=scene.views(*[scene.view(2, 5)] * 3),
        )
    )
    assert found.leader is not None
    assert found.previous_leader is not None
    assert (found.leader.epoch, found.previous_leader.epoch) == (5, 4)
    assert found.leader_transitions == 5


def test_the_same_lead_seen_again_keeps_its_beginning(scene, leader):
    found = told(
        scene.wish(
            status={**KNOWN, "previousLeader": leader(2, 5)},
            views=scene.views(*[scene.view(2, 5)] * 3),
        )
    )
    assert found.leader is not None
    assert found.leader.since == "2026-01-01T00:00:00Z"
    assert found.previous_leader is None


def test_transitions_never_go_back(scene):
    views = scene.views(*[scene.view(2, 5, transitions=3)] * 3)
    wish = scene.wish(status={**KNOWN, "leaderTransitions": 8}, views=views)
    assert told(wish).leader_transitions == 8


def test_flanking_nodes_have_their_own_ids_and_vanish_with_their_pods(scene):
    view = scene.view(2, 5, flanking=(Member(101, "f-1", "0.1.0"), Member(150, "gone", "0.1.0")))
    pods = (
        *(scene.pod(f"broker-{n}") for n in range(3)),
        scene.pod("flanking-0"),
        scene.pod("flanking-1", ready=False),
        scene.pod("flanking-2", terminating=True),
    )
    found = told(
        serving(
            scene, spec={"flanking": {"replicas": 2}}, pods=pods, views=scene.views(*[view] * 3)
        )
    )
    flanking = [node for node in found.nodes if node.role == "flanking"]
    assert [(node.node_id, node.state, node.leader) for node in flanking] == [
        (101, "active", False),
        (102, "starting", False),
    ]
    assert flanking[0].incarnation == "f-1"
    assert found.flanking is not None
    assert (found.flanking.replicas, found.flanking.ready) == (2, 1)


def test_a_broker_is_starting_until_it_answered_once_and_down_afterwards(scene):
    before = told(scene.wish())
    assert [node.state for node in before.nodes] == ["starting"] * 3
    up = told(serving(scene))
    later = told(scene.wish(status=up.dump(), views=scene.views(scene.view(None))))
    assert [node.state for node in later.nodes] == ["active", "down", "down"]


@pytest.mark.parametrize(
    ("passed", "kind", "expected"),
    [
        (Passed(refused=("cannot x: no",)), "Stalled", ("True", "Refused")),
        (Passed(failed=("cannot x: later",)), "Reconciling", ("True", "Retrying")),
        (Passed(actions=(MarkLeader("p", "u", True),)), "Reconciling", ("True", "Applying")),
    ],
)
def test_what_was_done_shows_in_the_conditions(scene, passed, kind, expected):
    assert conditions(told(serving(scene), passed))[kind] == expected


def test_missing_pods_keep_it_reconciling(scene):
    pods = (scene.pod("broker-0"), scene.pod("broker-1"))
    found = told(serving(scene, pods=pods)).condition("Reconciling")
    assert found is not None
    assert (found.status, found.message) == ("True", "Waiting for pods: orders-broker.")


def test_brokers_of_an_older_template_are_named(scene):
    pods = (
        scene.pod("broker-0", revision="old"),
        scene.pod("broker-1", revision="new"),
        scene.pod("broker-2", revision="old"),
    )
    template = {"spec": {"containers": [{"image": "quorate-broker:0.2.0"}]}}
    workload = {
        "metadata": {"resourceVersion": "7"},
        "spec": {"replicas": 3, "template": template},
        "status": {"updateRevision": "new"},
    }
    found = told(
        serving(scene, pods=pods, children={("StatefulSet", "orders-broker"): workload})
    ).condition("UpToDate")
    assert found is not None
    assert found.status == "False"
    assert (found.status, found.reason) == ("False", "Unanswered")
    assert found.message == (
        "orders-broker-0 is to be restarted, but orders-broker-1 does not answer what has to be"
        " known first."
    )


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ({"type": "Supervised"}, "AwaitingApproval"),
        ({"windows": [{"start": "04:00", "minutes": 30}]}, "OutsideWindow"),
    ],
)
def test_a_roll_that_waits_for_a_person_or_a_window_is_nothing_to_wait_for(scene, strategy, reason):
    pods = tuple(scene.pod(f"broker-{n}", revision="old") for n in range(3))
    workload = {
        "metadata": {"resourceVersion": "7"},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [{"image": "x:2"}]}}},
        "status": {"updateRevision": "new"},
    }
    children = {("StatefulSet", "orders-broker"): workload}
    wish = serving(scene, pods=pods, children=children, spec={"updateStrategy": strategy})
    assert conditions(told(wish))["Reconciling"] == ("False", reason)


def test_a_cluster_that_wakes_is_no_outage(scene):
    asleep = told(serving(scene, spec={"hibernate": True}, pods=(), views={}))
    assert conditions(asleep)["Ready"] == ("False", "Hibernated")
    wakes = told(scene.wish(status=asleep.dump(), views={}))
    assert conditions(wakes)["Ready"] == ("False", "Waking")
    still = told(scene.wish(status=wakes.dump(), views=scene.views(scene.view(None))))
    assert conditions(still)["Ready"] == ("False", "Waking")
    assert conditions(told(serving(scene, status=still.dump())))["Ready"] == ("True", "Serving")


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [("2Gi", ("True", "Bound")), ("1Gi", ("False", "Growing")), ("", ("False", "Growing"))],
)
def test_a_volume_that_is_still_growing_is_told(scene, capacity, expected):
    volumes = (scene.volume(0, size="2Gi", capacity=capacity),)
    assert conditions(told(serving(scene, volumes=volumes)))["StorageReady"] == expected


def test_an_even_number_of_brokers_is_a_warning(scene):
    found = conditions(told(scene.wish(spec={"replicas": 2})))
    assert found["EvenBrokers"] == ("True", "EvenBrokerCount")


def test_paused_says_so(scene):
    found = conditions(told(serving(scene, spec={"paused": True})))
    assert found["Paused"] == ("True", "Paused")
    assert found["Reconciling"] == ("False", "Paused")
    assert found["Ready"] == ("True", "Serving")


def test_a_transition_time_moves_only_with_its_status(scene):
    old = told(serving(scene))
    aged = old.dump()
    for condition in aged["conditions"]:
        condition["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    lost = told(scene.wish(status=aged, views=scene.views(*[scene.view(None)] * 3)))
    times = {one.type: one.last_transition_time for one in lost.conditions}
    assert times["Ready"] == "2026-01-02T03:04:05Z"
    assert times["Stalled"] == "2020-01-01T00:00:00Z"


def test_the_first_word_is_provisioning_and_never_unknown(scene):
    found = status.first(scene.wish())
    assert conditions(found) == {"Ready": ("False", "Provisioning")}


def test_an_unreadable_spec_keeps_what_was_said(scene):
    before = told(serving(scene))
    found = status.invalid(before, "2026-01-02T03:04:05Z", 2, "replicas: not a number")
    assert conditions(found)["Ready"] == ("True", "Serving")
    assert conditions(found)["Stalled"] == ("True", "InvalidSpec")
    again = status.invalid(found, "2026-02-02T03:04:05Z", 2, "replicas: not a number")
    assert again.dump() == found.dump()


def test_a_change_of_leader_is_an_event_and_a_steady_one_is_none(scene):
    steady = told(serving(scene))
    moved = told(scene.wish(status=steady.dump(), views=scene.views(*[scene.view(3, 6)] * 3)))
    lost = told(scene.wish(status=steady.dump(), views={}))
    back = told(serving(scene, status=lost.dump()))
    assert list(events.between(steady, steady)) == []
    assert [event.reason for event in events.between(steady, moved)] == ["LeaderElected"]
    assert [event.reason for event in events.between(steady, lost)] == ["LeaderLost"]
    assert [event.reason for event in events.between(lost, back)] == []
