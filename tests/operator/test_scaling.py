"""Fewer brokers: drained first, then the pod, then the volume; each called off while it can be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from quorate_operator.facts import Member
from quorate_operator.plan import (
    asks_first,
    events,
    informed,
    leadership,
    scaling,
    size,
    status,
)
from quorate_operator.plan.conditions import Passed
from quorate_operator.testing.fake_admin import survey

SET = ("StatefulSet", "orders-broker")


class Story:
    """Five brokers on five volumes, and a wish for another number."""

    def __init__(self, scene, wanted: int, **spec: Any) -> None:
        self.scene = scene
        self.spec = {"replicas": wanted, **spec}
        self.running = 5
        self.draining: set[int] = set()
        self.departed: tuple[int, ...] = ()
        self.survey = survey(brokers=5)
        self.volumes = [scene.volume(n) for n in range(5)]
        self.pods = [scene.pod(f"broker-{n}") for n in range(5)]
        self.status: dict[str, Any] = {"clusterId": "id-1"}

    def left(self, *node_ids: int) -> None:
        """They are members no more."""
        assert self.survey is not None
        members = tuple(n for n in self.survey.members if n not in node_ids)
        self.survey = dataclasses.replace(self.survey, members=members)

    @property
    def wish(self):
        assert self.survey is None or self.survey.members
        ids = self.survey.members if self.survey else range(1, self.running + 1)
        members = tuple(Member(n, f"i-{n}", "1", n in self.draining) for n in ids)
        view = self.scene.view(2, 5, members=members, departed=self.departed)
        workload = {
            "metadata": {"annotations": {"quorate.dev/brokers": str(self.running)}},
            "spec": {"replicas": self.running},
        }
        wish = self.scene.wish(
            spec=self.spec,
            status=self.status,
            pods=tuple(self.pods),
            views={pod.name: view for pod in self.pods},
            volumes=tuple(self.volumes),
            children={SET: workload},
        )
        return informed(wish, self.survey)

    @property
    def steps(self) -> list[str]:
        found = scaling.look(self.wish, leadership.read(self.wish)).steps
        return [str(step) for step in found]

    @property
    def blocked(self) -> list[tuple[str, str]]:
        found = scaling.look(self.wish, leadership.read(self.wish)).blocked
        return [(one.reason.value, one.subject) for one in found]


def test_a_cluster_of_the_right_size_asks_nobody(scene):
    story = Story(scene, 5)
    assert (story.steps, story.blocked, asks_first(story.wish)) == ([], [], "")
    assert status.tell(story.wish, Passed(), "x:1").condition("Scaled") is None


def test_a_broker_goes_only_after_it_has_left_and_its_volume_last(scene):
    story = Story(scene, 3, storage={"size": "1Gi", "retention": {"whenScaled": "Delete"}})
    assert asks_first(story.wish) == "orders-broker-1"
    assert story.steps == ["decommission broker 4", "decommission broker 5"]
    assert size.effective(story.wish) == 5
    story.draining = {4, 5}
    assert story.steps == []
    assert story.blocked == [("Draining", "orders-broker-3"), ("Draining", "orders-broker-4")]
    story.left(4)
    assert size.effective(story.wish) == 5, "pods go from the highest number down"
    story.left(5)
    assert size.effective(story.wish) == 3
    assert story.steps == [], "not a volume whose pod is still there"
    story.running, story.pods = 3, story.pods[:3]
    assert story.steps == [
        "mark volume data-orders-broker-3 as drained",
        "mark volume data-orders-broker-4 as drained",
    ]
    story.volumes[3:] = [scene.volume(n, drained=True) for n in (3, 4)]
    assert story.steps == [
        "delete volume data-orders-broker-3",
        "delete volume data-orders-broker-4",
    ]
    story.volumes = story.volumes[:3]
    assert (story.steps, story.blocked, asks_first(story.wish)) == ([], [], "")


def test_volumes_are_kept_unless_asked_for(scene):
    story = Story(scene, 3)
    story.left(4, 5)
    story.running, story.pods = 3, story.pods[:3]
    assert (story.steps, asks_first(story.wish)) == ([], "")


@pytest.mark.parametrize("members", [(1, 2, 3, 4), (1, 2, 3, 4, 5)])
def test_a_volume_of_a_member_stays_whoever_took_the_pod(scene, members):
    story = Story(scene, 3, storage={"size": "1Gi", "retention": {"whenScaled": "Delete"}})
    story.running, story.pods = 3, story.pods[:3]
    story.draining = {4, 5}
    story.left(*({4, 5} - set(members)))
    marked = ["mark volume data-orders-broker-4 as drained"] if 5 not in members else []
    assert story.steps == marked


@pytest.mark.parametrize("silent", ["no survey", "no leader"])
def test_without_the_leaders_word_nobody_goes(scene, silent):
    story = Story(scene, 3)
    story.left(4, 5)
    if silent == "no survey":
        story.survey = None
        reason = ("Unanswered", "orders-broker-1")
        wish = story.wish
    else:
        wish = dataclasses.replace(
            story.wish, survey=None, observed=dataclasses.replace(story.wish.observed, views={})
        )
        reason = ("NoLeader", "")
    assert size.effective(wish) == 5
    (held,) = scaling.look(wish, leadership.read(wish)).blocked
    assert (held.reason.value, held.subject) == reason


def test_a_drain_that_cannot_be_done_is_told_in_the_brokers_words(scene):
    story = Story(scene, 3)
    story.draining = {4, 5}
    before = status.tell(story.wish, Passed(), "x:1")
    story.survey = dataclasses.replace(survey(brokers=5), stuck={5: "kafka/wide/0 needs 5"})
    assert story.blocked == [("Draining", "orders-broker-3"), ("DrainStuck", "orders-broker-4")]
    told = status.tell(story.wish, Passed(), "x:1")
    assert told.effective_replicas == 5
    assert "kafka/wide/0 needs 5" in told.blocked_by[1].message
    scaled = told.condition("Scaled")
    assert scaled is not None
    assert (scaled.status, scaled.reason) == ("False", "Draining")
    assert "DrainStuck" in [event.reason for event in events.between(before, told)]


def test_a_shrinking_that_is_called_off_takes_the_brokers_back(scene):
    story = Story(scene, 5)
    story.draining = {4, 5}
    assert story.steps == ["recommission broker 4", "recommission broker 5"]


def test_who_has_left_is_taken_back_and_a_process_that_waits_begins_anew_first(scene):
    story = Story(scene, 5)
    story.left(4, 5)
    story.departed = (4, 5)
    story.pods = story.pods[:4]
    (waiting, gone) = scaling.look(story.wish, leadership.read(story.wish)).steps
    assert (str(waiting), str(gone)) == ("take broker 4 back", "take broker 5 back")
    assert (waiting.uid, gone.uid) == ("uid-broker-3", "")
    story = Story(scene, 3)
    story.left(4)
    story.departed = (4,)
    assert story.steps == ["decommission broker 5"]


def test_a_member_that_came_in_as_its_pod_went_is_taken_off_the_list(scene):
    story = Story(scene, 3)
    story.left(4)
    story.running, story.pods = 3, story.pods[:3]
    assert story.steps == ["decommission broker 5"]


def test_no_broker_is_started_over_a_volume_that_is_on_its_way_out(scene):
    story = Story(scene, 5)
    story.running, story.pods = 3, story.pods[:3]
    story.left(4, 5)
    story.volumes[3] = scene.volume(3, drained=True)
    assert size.effective(story.wish) == 3
    assert story.steps == ["unmark volume data-orders-broker-3 as drained"]
    story.volumes[3] = scene.volume(3)
    story.volumes[4] = scene.volume(4, terminating=True)
    assert size.effective(story.wish) == 4
    assert story.blocked == [("VolumeLeaving", "data-orders-broker-4")]


def test_a_change_of_size_waits_until_the_brokers_have_formed(scene):
    story = Story(scene, 7)
    story.status, story.survey, story.volumes = {}, None, []
    story.pods = story.pods[:1]
    assert story.blocked == [("NotFormed", "")]
    assert size.effective(story.wish) == 5


def test_a_hibernating_cluster_keeps_its_number(scene):
    story = Story(scene, 3, hibernate=True)
    story.pods, story.survey = [], None
    assert size.effective(story.wish) == 5
    told = status.tell(story.wish, Passed(), "x:1")
    ready = told.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "Hibernated")
