"""Volumes that are given up for an empty one, that keep a broker from running, that are kept."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest

from quorate_operator import render
from quorate_operator.facts import DefaultImage, Partition
from quorate_operator.plan import (
    asks_first,
    identity,
    informed,
    plan,
    size,
    status,
)
from quorate_operator.plan.conditions import Passed
from quorate_operator.plan.subject import subject
from quorate_operator.testing import story as telling
from quorate_operator.testing.fake_admin import survey
from quorate_operator.testing.live import as_live

GUIDED = {"size": "1Gi", "class": "fast", "replace": "Guided"}
IMAGE = "quorate-broker:0.1.0"
SET = ("StatefulSet", "orders-broker")


class Story(telling.Story):
    """They are on three volumes of 1Gi and the class `fast`."""

    def __init__(self, scene, **storage: Any) -> None:
        super().__init__(scene, ["new"] * 3)
        self.spec = {"storage": GUIDED | storage}
        self.volumes = [scene.volume(n) for n in range(3)]
        self.permit = ""

    @property
    def wish(self):
        cluster = self.scene.cluster(self.spec, clusterId="id-1")
        cluster["metadata"]["annotations"] = self.annotations
        workload = {
            "metadata": {
                "uid": "uid-set",
                "resourceVersion": "70",
                "annotations": {"quorate.dev/permit": self.permit},
            },
            "spec": {
                "replicas": 3,
                "template": {"spec": {"containers": [{"image": IMAGE}]}},
            },
            "status": {"updateRevision": "new"},
        }
        return informed(
            self.scene.wish(
                cluster=cluster,
                pods=tuple(self.pods),
                volumes=tuple(self.volumes),
                views=self.views,
                children={SET: workload},
            ),
            self.survey,
        )

    @property
    def storage_ready(self):
        return status.tell(self.wish, Passed(), "x:1").condition("StorageReady")


def test_volumes_of_another_class_are_replaced_one_by_one_the_leaders_last(scene):
    story = Story(scene)
    story.volumes = [scene.volume(n, storage_class="slow") for n in range(3)]
    assert asks_first(story.wish) == "orders-broker-1"
    assert story.steps == ["take the permit for pod orders-broker-0"]
    assert story.storage_ready.reason == "Replacing"
    story.permit = "orders-broker-0/uid-broker-0/69"
    (step,) = story.look.steps
    assert str(step) == "restart pod orders-broker-0 with a new volume (VolumeReplaced)"
    assert (step.claim_uid, step.claim_version) == ("uid-data-0", "v-data-0")
    assert not step.force
    story.permit = ""
    story.volumes[0] = scene.volume(0, uid="uid-new")
    assert story.steps == ["take the permit for pod orders-broker-2"]
    story.volumes[2] = scene.volume(2, uid="uid-new")
    assert story.steps == ["transfer the lead from pod orders-broker-1 to broker 1"]
    story.volumes[1] = scene.volume(1, uid="uid-new")
    assert story.look.remaining == ()
    assert story.storage_ready.status == "True"


def test_the_next_volume_waits_until_the_broker_before_is_filled_again(scene):
    story = Story(scene)
    story.volumes[1:] = [scene.volume(n, storage_class="slow") for n in (1, 2)]
    story.survey = dataclasses.replace(
        survey(), partitions=(Partition("kafka/orders/0", 2, (1, 2, 3), (2, 3)),)
    )
    assert story.blocked == [("UnderReplicated", "kafka/orders/0")]
    assert story.steps == []


def test_a_volume_that_alone_holds_something_is_not_given_up(scene):
    story = Story(scene)
    story.volumes[0] = scene.volume(0, size="2Gi")
    story.survey = dataclasses.replace(
        survey(), partitions=(Partition("kafka/single/0", 1, (1,), (1,)),)
    )
    assert story.blocked == [("OnlyCopy", "kafka/single/0")]
    told = status.tell(story.wish, Passed(), "x:1").condition("Stalled")
    assert (told.status, told.reason) == ("True", "OnlyCopy")


def test_the_volume_of_a_broker_that_is_to_leave_is_not_replaced_before(scene):
    story = Story(scene, **{"class": "slow"})
    story.spec["replicas"] = 2
    assert [pod for pod, _ in story.look.remaining] == ["orders-broker-0", "orders-broker-1"]
    told = status.tell(story.wish, Passed(), IMAGE).dump()
    assert told["storage"]["replacing"] == ["data-orders-broker-0", "data-orders-broker-1"]


def test_without_the_leaders_word_no_volume_is_given_up(scene):
    story = Story(scene)
    story.volumes[0] = scene.volume(0, size="2Gi")
    story.survey = None
    assert story.blocked == [("Unanswered", "orders-broker-1")]


def test_the_volume_of_a_broker_that_is_down_goes_through_the_gate_too(scene):
    story = Story(scene)
    story.volumes[0] = scene.volume(0, size="2Gi")
    story.change(0, ready=False, idle=True, trouble="CrashLoopBackOff")
    story.change(2, ready=False)
    del story.views["orders-broker-0"]
    assert story.blocked == [("BrokerDown", "orders-broker-2")]


@pytest.mark.parametrize("replace", ["Never", "Guided"])
def test_a_volume_that_was_grown_by_hand_stays_unless_replacing_is_asked_for(scene, replace):
    story = Story(scene, replace=replace)
    story.volumes[0] = scene.volume(0, size="2Gi")
    assert bool(story.look.remaining) == (replace == "Guided")
    story.volumes[0] = scene.volume(0, size="512Mi")
    grown = [str(step) for step in plan(story.wish, render.render(subject_of(story.wish)))]
    assert "grow volume data-orders-broker-0 to 1Gi" in grown


def subject_of(wish):
    return subject(wish, DefaultImage("quorate-broker", "0.1.0"))


def test_a_claim_that_somebody_deleted_goes_with_its_pod_and_its_pod_goes_through_the_gate(scene):
    story = Story(scene, replace="Never")
    story.volumes[2] = scene.volume(2, terminating=True)
    assert story.look.remaining == (("orders-broker-2", "VolumeReplaced"),)
    assert story.steps == ["take the permit for pod orders-broker-2"]


def test_claims_of_another_kind_need_the_set_to_be_made_anew_but_not_while_a_pod_may_go(scene):
    story = Story(scene)
    live = as_live(render.render(subject_of(story.wish)))
    claims = live[SET]["spec"]["volumeClaimTemplates"]
    assert recreated(story, live) == []
    claims[0]["spec"]["storageClassName"] = "slow"
    assert recreated(story, live) == ["make StatefulSet orders-broker anew for other volumes"]
    live[SET]["metadata"]["annotations"]["quorate.dev/permit"] = "orders-broker-0/uid-broker-0/69"
    assert recreated(story, live) == []
    story.spec["storage"]["replace"] = "Never"
    live[SET]["metadata"]["annotations"].pop("quorate.dev/permit")
    assert recreated(story, live) == []


def test_a_permit_whose_pod_may_not_go_gives_way_to_a_set_that_is_to_be_made_anew(scene):
    story = Story(scene)
    story.volumes = [scene.volume(n, storage_class="slow") for n in range(3)]
    live = as_live(render.render(subject_of(story.wish)))
    live[SET]["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] = "slow"
    live[SET]["status"] = {"updateRevision": "new"}
    live[SET]["metadata"]["annotations"]["quorate.dev/permit"] = "orders-broker-0/uid-broker-0/69"
    goes = "restart pod orders-broker-0 with a new volume (VolumeReplaced)"
    assert [one for one in planned(story, live) if "orders-broker-0" in one] == [goes]
    story.survey = dataclasses.replace(
        survey(), partitions=(Partition("kafka/orders/0", 1, (1,), (1,)),)
    )
    assert [one for one in planned(story, live) if "orders-broker-0" in one] == [
        "spare pod orders-broker-0"
    ]
    story.change(0, spared="69")
    assert recreated(story, live) == ["make StatefulSet orders-broker anew for other volumes"]


def recreated(story: Story, live: dict[tuple[str, str], Any]) -> list[str]:
    found = planned(story, live)
    if story.spec["storage"]["replace"] == "Guided":
        assert not any(one.startswith("apply StatefulSet orders-broker") for one in found)
    return [one for one in found if "make StatefulSet" in one]


def planned(story: Story, live: dict[tuple[str, str], Any]) -> list[str]:
    observed = dataclasses.replace(story.wish.observed, children=live)
    wish = dataclasses.replace(story.wish, observed=observed)
    return [str(one) for one in plan(wish, render.render(subject_of(wish)))]


LONG_AGO = datetime.timedelta(minutes=10)


def stranded(scene, **storage: Any) -> Story:
    """Broker 3 can run nowhere for ten minutes."""
    story = Story(scene, replace="Never", **storage)
    since = scene.now - LONG_AGO
    story.change(2, ready=False, idle=True, trouble="Unschedulable", stranded_since=since)
    del story.views["orders-broker-2"]
    return story


def test_a_broker_that_cannot_run_where_its_volume_is_is_told_and_left_alone(scene):
    story = stranded(scene)
    assert story.look.remaining == ()
    told = status.tell(story.wish, Passed(), "x:1")
    assert [one.reason for one in told.blocked_by] == ["VolumeStuck"]
    assert story.storage_ready.reason == "VolumeStuck"
    story.change(2, stranded_since=scene.now - datetime.timedelta(seconds=30))
    assert status.tell(story.wish, Passed(), "x:1").blocked_by == []


@pytest.mark.parametrize("by", ["annotation", "time"])
def test_its_volume_is_given_up_when_that_is_asked_for(scene, by):
    story = stranded(scene, **({"unbindAfter": "5m"} if by == "time" else {}))
    if by == "annotation":
        story.annotations = {"quorate.dev/unbind": "another,uid-data-2"}
    assert story.steps == ["take the permit for pod orders-broker-2"]
    story.permit = "orders-broker-2/uid-broker-2/69"
    (step,) = story.look.steps
    assert str(step) == "restart pod orders-broker-2 with a new volume (VolumeReplaced)"
    assert not step.force
    story.change(2, terminating=True)
    (step,) = story.look.steps
    assert step.force, "its Kubernetes node would never say that it has stopped"
    story.survey = dataclasses.replace(survey(), nodes_down=(1, 3))
    assert story.blocked == [("BrokerDown", "orders-broker-0")]


def test_not_before_its_time_and_not_by_the_uid_of_another_volume(scene):
    story = stranded(scene, unbindAfter="11m")
    story.annotations = {"quorate.dev/unbind": "uid-data-0"}
    assert story.look.remaining == ()


def test_each_volume_is_noted_as_its_brokers_once_that_one_says_so_itself(scene):
    story = Story(scene)
    story.volumes = [scene.volume(n, cluster_id="") for n in range(3)]
    del story.views["orders-broker-2"]
    found = [str(one) for one in plan(story.wish, render.render(subject_of(story.wish)))]
    assert [one for one in found if one.startswith("note")] == [
        "note cluster id-1 on volume data-orders-broker-0",
        "note cluster id-1 on volume data-orders-broker-1",
    ]


def test_a_cluster_made_anew_takes_up_its_volumes_by_the_cluster_id(scene):
    volumes = tuple(scene.volume(n) for n in range(5))
    wish = scene.wish(spec={"replicas": 3}, pods=(), volumes=volumes)
    assert identity.recorded(wish) == "id-1"
    assert size.effective(wish) == 5, "fewer than there were may be too few for a majority"
    assert subject_of(wish).cluster_id == "id-1"
    drained = tuple(dataclasses.replace(one, drained=one.ordinal > 2) for one in volumes)
    assert size.effective(scene.wish(spec={"replicas": 3}, pods=(), volumes=drained)) == 3


def test_volumes_of_two_clusters_make_nobody_believe_either(scene):
    volumes = (scene.volume(0), scene.volume(1, cluster_id="id-2"))
    assert identity.recorded(scene.wish(pods=(), volumes=volumes)) == ""


def test_brokers_with_the_volumes_of_another_cluster_are_named(scene):
    story = Story(scene)
    story.views["orders-broker-2"] = scene.view(None, cluster_id="id-2")
    told = story.storage_ready
    assert (told.status, told.reason) == ("False", "ForeignVolumes")
    assert "orders-broker-2 (cluster id-2)" in told.message


def test_the_status_lists_what_grows_and_what_nobody_uses(scene):
    story = Story(scene)
    story.volumes[1] = scene.volume(1, capacity="512Mi")
    story.volumes.append(scene.volume(7))
    told = status.tell(story.wish, Passed(), "x:1").storage
    assert told is not None
    assert (told.volumes, told.resizing, told.orphaned) == (
        4,
        ["data-orders-broker-1"],
        ["data-orders-broker-7"],
    )
