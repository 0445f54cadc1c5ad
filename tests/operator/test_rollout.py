"""Which broker is restarted next, and what holds a restart back, case by case."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest

from quorate_operator.facts import Claim, Partition
from quorate_operator.model_lifecycle import Window
from quorate_operator.plan import asks_first, events, informed, rollout, status, windows
from quorate_operator.plan.blocked import SENTENCES, Reason
from quorate_operator.plan.conditions import Passed
from quorate_operator.testing import story as telling
from quorate_operator.testing.fake_admin import survey

FORMED = {"clusterId": "id-1"}
SET = ("StatefulSet", "orders-broker")
NEW = "quorate-broker:0.2.0"


def workload(**annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "resourceVersion": "70",
            "generation": 2,
            "annotations": {f"quorate.dev/{name}": value for name, value in annotations.items()},
        },
        "spec": {
            "replicas": 3,
            "template": {
                "metadata": {"annotations": {"quorate.dev/config-hash": "h"}},
                "spec": {"containers": [{"image": NEW, "resources": {"limits": {"cpu": "1"}}}]},
            },
        },
        "status": {"updateRevision": "new", "observedGeneration": 2},
    }


class Story(telling.Story):
    """Some of them are old."""

    def __init__(self, scene, old: tuple[int, ...] = (0, 1, 2), **other: Any) -> None:
        super().__init__(scene, ["old" if n in old else "new" for n in range(3)])
        self.workload = workload()
        self.told: dict[str, Any] = {}
        self.other = other

    def silence(self, number: int) -> None:
        self.change(number, ready=False)
        del self.views[f"orders-broker-{number}"]

    @property
    def wish(self):
        cluster = self.scene.cluster(self.spec, **FORMED, **self.told)
        cluster["metadata"]["annotations"] = self.annotations
        wish = self.scene.wish(
            cluster=cluster,
            pods=tuple(self.pods),
            views=self.views,
            children={SET: self.workload},
            **self.other,
        )
        return informed(wish, self.survey)


def permit(number: int) -> str:
    return f"orders-broker-{number}/uid-broker-{number}/69"


def test_a_current_cluster_is_restarted_nowhere_and_nobody_is_asked(scene):
    story = Story(scene, old=())
    assert (story.steps, story.look.remaining) == ([], ())
    assert asks_first(story.wish) == ""


def test_the_permit_comes_first_and_then_the_restart_of_exactly_that_pod(scene):
    story = Story(scene)
    assert asks_first(story.wish) == "orders-broker-1"
    (step,) = story.look.steps
    assert str(step) == "take the permit for pod orders-broker-0"
    assert step.resource_version == "70"
    story.workload = workload(permit=step.permit)
    (step,) = story.look.steps
    assert str(step) == "restart pod orders-broker-0 (ImageChanged)"
    assert (step.uid, step.resource_version) == ("uid-broker-0", "v-broker-0")


def test_the_leader_is_last_and_hands_the_lead_over_first(scene):
    story = Story(scene, old=(1, 2))
    assert story.steps == ["take the permit for pod orders-broker-2"]
    story = Story(scene, old=(1,))
    assert story.steps == ["transfer the lead from pod orders-broker-1 to broker 1"]
    story.spec = {"updateStrategy": {"leader": "Restart"}}
    assert story.steps == ["take the permit for pod orders-broker-1"]


def test_the_lead_goes_to_a_broker_that_is_not_restarted_for_this_any_more(scene):
    story = Story(scene, old=(0, 1))
    story.workload = workload(permit=permit(1))
    assert story.steps == ["transfer the lead from pod orders-broker-1 to broker 3"]


def test_outdated_pods_whose_containers_do_not_run_are_restarted_at_once(scene):
    story = Story(scene)
    for number in (0, 1, 2):
        story.silence(number)
    for number in (1, 2):
        story.change(number, idle=True, trouble="CrashLoopBackOff")
    assert story.steps == [
        "restart pod orders-broker-1 (ImageChanged)",
        "restart pod orders-broker-2 (ImageChanged)",
    ]


def test_of_those_that_may_come_back_into_the_quorum_one_is_restarted_after_the_other(scene):
    story = Story(scene)
    for number in (0, 1, 2):
        story.silence(number)
    assert story.steps == ["take the permit for pod orders-broker-0"]
    story.workload = workload(permit=permit(0))
    assert story.steps == ["restart pod orders-broker-0 (ImageChanged)"]
    story.change(0, uid="uid-after", revision="new")
    assert story.blocked == [("BrokerDown", "orders-broker-0")]
    assert story.steps == []
    story.views["orders-broker-0"] = scene.view(None)
    assert story.steps == ["take the permit for pod orders-broker-1"]


def test_one_that_fails_as_before_holds_up_the_next_until_its_container_stops(scene):
    story = Story(scene)
    for number in (0, 1, 2):
        story.silence(number)
    story.workload = workload(permit=permit(0))
    story.pods[0] = scene.pod("broker-0", uid="uid-after", revision="new", ready=False)
    assert story.blocked == [("BrokerDown", "orders-broker-0")]
    story.change(0, idle=True, trouble="CrashLoopBackOff")
    assert story.steps == ["take the permit for pod orders-broker-1"]


def test_a_permit_that_a_serving_broker_holds_is_taken_back_before_another_may_go(scene):
    story = Story(scene)
    story.workload = workload(permit=permit(0))
    story.silence(2)
    assert story.steps == ["spare pod orders-broker-0"]


def test_what_is_not_ready_but_takes_part_goes_through_the_gate(scene):
    story = Story(scene, old=(0,))
    story.change(0, ready=False)
    assert story.steps == ["take the permit for pod orders-broker-0"]


def test_a_broker_without_a_volume_is_never_down_enough_to_be_deleted_unasked(scene):
    story = Story(scene, old=(0,))
    story.spec = {"storage": {"size": "1Gi", "type": "ephemeral"}}
    story.silence(0)
    story.change(2, ready=False)
    assert story.blocked == [("BrokerDown", "orders-broker-2")]


PATH, IDS = "kafka/orders/0", (1, 2, 3)
SURVEYS = {
    "the leader does not answer": None,
    "another one answers as leader": dataclasses.replace(survey(), leader=Claim(3, 6)),
    "a broker is down to the brokers": dataclasses.replace(survey(), nodes_down=(3,)),
    "a partition has no leader": dataclasses.replace(
        survey(), partitions=(Partition(PATH, -1, IDS, IDS),)
    ),
    "a replica lags": dataclasses.replace(survey(), partitions=(Partition(PATH, 2, IDS, (1, 2)),)),
}


def change(story: Story, what: str) -> None:
    if what in SURVEYS:
        story.survey = SURVEYS[what]
        return
    match what:
        case "another pod is not ready":
            story.change(2, ready=False)
        case "another pod is leaving":
            story.change(2, terminating=True)
        case "another pod is gone":
            del story.pods[2]
        case "another pod is silent":
            del story.views["orders-broker-2"]
        case "nobody leads":
            story.views = story.scene.views(*[story.scene.view(None)] * 3)


@pytest.mark.parametrize(
    ("what", "reason", "subject"),
    [
        ("another pod is not ready", "BrokerDown", "orders-broker-2"),
        ("another pod is leaving", "BrokerDown", "orders-broker-2"),
        ("another pod is gone", "BrokerDown", "orders-broker-2"),
        ("another pod is silent", "BrokerDown", "orders-broker-2"),
        ("nobody leads", "NoLeader", ""),
        ("the leader does not answer", "Unanswered", "orders-broker-1"),
        ("another one answers as leader", "Unanswered", "orders-broker-1"),
        ("a broker is down to the brokers", "BrokerDown", "orders-broker-2"),
        ("a partition has no leader", "Leaderless", "kafka/orders/0"),
        ("a replica lags", "UnderReplicated", "kafka/orders/0"),
    ],
)
@pytest.mark.parametrize("granted", [False, True])
def test_a_restart_waits_and_the_reason_is_the_same_everywhere(
    scene, what, reason, subject, granted
):
    story = Story(scene, old=(0,))
    if granted:
        story.workload = workload(permit=permit(0))
    before = status.tell(story.wish, Passed(), NEW)
    change(story, what)
    assert story.steps == []
    assert story.blocked == [(reason, subject)]
    told = status.tell(story.wish, Passed(), NEW)
    (held,) = told.blocked_by
    assert (held.reason, held.subject) == (reason, subject)
    up_to_date = told.condition("UpToDate")
    assert up_to_date is not None
    assert (up_to_date.status, up_to_date.reason) == ("False", reason)
    assert held.message in up_to_date.message
    assert reason in [event.reason for event in events.between(before, told)]


@pytest.mark.parametrize(
    "partition",
    [
        Partition("kafka/single/0", 1, (1,), (1,)),
        Partition("kafka/lost/0", -1, (3,), ()),
        Partition("kafka/elsewhere/0", 2, (2, 3), (2,)),
        Partition("kafka/its-own-lag/0", 2, (1, 2, 3), (2, 3)),
    ],
)
def test_what_the_restart_makes_no_worse_does_not_hold_it_up(scene, partition):
    story = Story(scene, old=(0,))
    story.survey = dataclasses.replace(survey(), partitions=(partition,))
    assert story.steps == ["take the permit for pod orders-broker-0"]
    single = partition.path == "kafka/single/0"
    assert story.look.risks == ((partition.path,) if single else ())


def test_a_permit_that_is_held_by_another_pod_is_used_up_first(scene):
    story = Story(scene)
    story.workload = workload(permit=permit(2))
    assert story.steps == ["restart pod orders-broker-2 (ImageChanged)"]


def test_a_pod_that_needs_no_restart_any_more_is_spared_before_another_one_may_go(scene):
    story = Story(scene, old=(2,))
    story.workload = workload(permit=permit(0))
    assert story.steps == ["spare pod orders-broker-0"]
    story.change(0, spared="69")
    assert story.steps == ["take the permit for pod orders-broker-2"]


def test_a_permit_of_a_pod_that_is_gone_holds_nobody_up(scene):
    story = Story(scene, old=(2,))
    story.workload = workload(permit="orders-broker-0/uid-before/60")
    assert story.steps == ["take the permit for pod orders-broker-2"]


def test_nothing_is_decided_before_kubernetes_has_seen_the_last_change(scene):
    story = Story(scene)
    story.workload["status"]["observedGeneration"] = 1
    assert story.look.remaining == ()


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, "ImageChanged"),
        ({"image": NEW}, "ConfigChanged"),
        ({"image": NEW, "config_hash": "h", "restart": "x"}, "RestartRequested"),
        ({"image": NEW, "config_hash": "h"}, "ResourcesChanged"),
        (
            {"image": NEW, "config_hash": "h", "resources": '{"limits": {"cpu": "1"}}'},
            "TemplateChanged",
        ),
    ],
)
def test_a_restart_has_a_reason_from_a_closed_list(scene, facts, why):
    story = Story(scene, old=(0,))
    story.change(0, **facts)
    assert story.look.remaining == (("orders-broker-0", rollout.Why(why)),)


@pytest.mark.parametrize("spec", [{"updateStrategy": {"type": "OnDelete"}}, {"hibernate": True}])
def test_who_wants_no_restarts_gets_none(scene, spec):
    story = Story(scene)
    story.spec = spec
    assert story.steps == []
    assert asks_first(story.wish) == ""
    found = status.tell(story.wish, Passed(), NEW).condition("UpToDate")
    assert found is not None
    assert found.reason == "RestartNeeded"


def test_supervised_restarts_wait_until_their_revision_is_approved(scene):
    story = Story(scene, old=(0,))
    story.spec = {"updateStrategy": {"type": "Supervised"}}
    assert story.blocked == [("AwaitingApproval", "new")]
    story.annotations = {"quorate.dev/approved": "older"}
    assert story.blocked == [("AwaitingApproval", "new")]
    story.annotations = {"quorate.dev/approved": "new"}
    assert story.steps == ["take the permit for pod orders-broker-0"]


def test_restarts_that_can_wait_happen_in_a_maintenance_window(scene):
    story = Story(scene, old=(0,))  # the scene's clock says Friday, 03:04:05
    story.spec = {"updateStrategy": {"windows": [{"start": "04:00", "minutes": 30}]}}
    assert story.blocked == [("OutsideWindow", "daily 04:00 +30min UTC")]
    story.spec = {"updateStrategy": {"windows": [{"start": "03:00", "minutes": 30}]}}
    assert story.steps == ["take the permit for pod orders-broker-0"]


@pytest.mark.parametrize(
    ("window", "moment", "opened"),
    [
        ({"start": "22:00", "minutes": 240}, (2, 23, 0), True),
        ({"start": "22:00", "minutes": 240}, (3, 1, 59), True),
        ({"start": "22:00", "minutes": 240}, (3, 2, 0), False),
        ({"start": "22:00", "minutes": 240, "days": ["Fri"]}, (3, 1, 59), True),
        ({"start": "22:00", "minutes": 240, "days": ["Sat"]}, (3, 1, 59), False),
        ({"start": "00:00", "minutes": 1440}, (2, 23, 59), True),
    ],
)
def test_a_window_may_reach_over_midnight_and_belongs_to_its_first_day(window, moment, opened):
    day, hour, minute = moment  # the 2nd of January 2026 is a Friday
    now = datetime.datetime(2026, 1, day, hour, minute, tzinfo=datetime.UTC)
    assert windows.is_open([Window.model_validate(window)], now) is opened


def test_one_broker_alone_is_restarted_without_anybody_to_take_over(scene):
    story = Story(scene, old=(0,))
    story.pods = story.pods[:1]
    story.views = scene.views(scene.view(1, 5))
    story.spec = {"replicas": 1}
    story.workload["spec"]["replicas"] = 1
    story.survey = survey(1, 5, brokers=1)
    assert story.steps == ["take the permit for pod orders-broker-0"]


def test_a_leader_that_is_to_be_alone_hands_over_to_a_member_that_has_not_left_yet(scene):
    story = Story(scene, old=(0,))
    story.views = scene.views(*[scene.view(1, 5)] * 3)
    story.pods = story.pods[:1]
    story.spec = {"replicas": 1}
    story.workload["spec"]["replicas"] = 1
    story.survey = survey(1, 5, brokers=2)
    assert story.steps == ["transfer the lead from pod orders-broker-0 to broker 2"]


def test_a_restart_that_is_held_up_for_too_long_needs_a_person(scene):
    story = Story(scene, old=(0,))
    story.change(2, ready=False)
    rolling = status.tell(story.wish, Passed(), NEW).dump()["rollout"]
    assert (rolling["current"], rolling["blockedBy"]) == ("orders-broker-0", ["BrokerDown"])
    story.told = {"rollout": rolling | {"currentSince": "2026-01-02T02:54:00Z"}}
    assert [reason for reason, _ in story.blocked] == ["BrokerDown", "RestartTimeout"]
    stalled = status.tell(story.wish, Passed(), NEW).condition("Stalled")
    assert stalled is not None
    assert (stalled.status, stalled.reason) == ("True", "RestartTimeout")
    story.spec = {"updateStrategy": {"timeoutPerNode": "1h"}}
    assert [reason for reason, _ in story.blocked] == ["BrokerDown"]
    story.spec = {"updateStrategy": {"windows": [{"start": "04:00", "minutes": 30}]}}
    assert "RestartTimeout" not in [reason for reason, _ in story.blocked], "it waits on purpose"


def test_the_status_says_which_broker_needs_a_restart_and_why(scene):
    story = Story(scene, old=(0,))
    told = status.tell(story.wish, Passed(), NEW)
    assert [(one.needs_restart, one.restart_reason) for one in told.nodes] == [
        (True, "ImageChanged"),
        (False, None),
        (False, None),
    ]
    assert told.rollout is not None
    assert (told.rollout.reason, told.nodes[0].revision) == ("ImageChanged", "old")
    assert told.summary == "changing"


def test_every_reason_has_its_sentence():
    assert set(SENTENCES) == set(Reason)
