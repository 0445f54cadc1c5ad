"""Settings of running brokers, the feature level, and what is not as the spec says."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from quorate_operator import config_file, origin, render
from quorate_operator.admin import AdminError, ConfigRefused, HttpAdmin
from quorate_operator.brokers import Brokers, parse
from quorate_operator.facts import DefaultImage, Member, Standing
from quorate_operator.names import ASKED_ANNOTATION, RENDERED_BY_ANNOTATION
from quorate_operator.plan import (
    config,
    events,
    informed,
    leadership,
    levels,
    plan,
    rollout,
    status,
)
from quorate_operator.plan import template as templates
from quorate_operator.plan.actions import Configure, RaiseLevel
from quorate_operator.plan.conditions import Passed
from quorate_operator.plan.subject import subject
from quorate_operator.testing.fake_admin import survey
from quorate_operator.testing.fake_broker import FakeBroker, answer
from quorate_operator.testing.live import as_live

FORMED = {"clusterId": "id-1"}
SET = ("StatefulSet", "orders-broker")
IMAGE = "quorate-broker:0.1.0"


def workload(image: str = IMAGE) -> dict[str, Any]:
    return {
        "metadata": {"resourceVersion": "70", "generation": 2, "annotations": {}},
        "spec": {
            "replicas": 3,
            "template": {
                "metadata": {"annotations": {}},
                "spec": {"containers": [{"image": image, "resources": {}}]},
            },
        },
        "status": {"updateRevision": "new", "observedGeneration": 2},
    }


class Story:
    """Three brokers, led by broker 2, that share their settings at feature level 3."""

    def __init__(self, scene) -> None:
        self.scene = scene
        self.spec: dict[str, Any] = {"config": {"num.partitions": "7"}}
        self.config = {"num.partitions": "7"}
        self.version = 4
        self.level = 3
        self.draining: set[int] = set()
        self.standings: dict[int, Standing | None] = {n: Standing(4, False) for n in (1, 2, 3)}
        self.versions = dict.fromkeys((1, 2, 3), "0.1.0")
        self.levels = dict.fromkeys((1, 2, 3), 3)
        self.images = dict.fromkeys((1, 2, 3), IMAGE)
        self.revisions = dict.fromkeys((1, 2, 3), "new")
        self.status: dict[str, Any] = dict(FORMED)
        self.workload = workload()

    @property
    def wish(self):
        members = tuple(
            Member(
                n,
                f"inc-{n}",
                self.versions[n],
                n in self.draining,
                self.levels[n],
                self.standings[n],
            )
            for n in self.levels
        )
        view = self.scene.view(
            2,
            5,
            members=members,
            feature_level=self.level,
            config=self.config,
            config_version=self.version,
        )
        pods = tuple(
            self.scene.pod(f"broker-{n - 1}", revision=self.revisions[n], image=self.images[n])
            for n in (1, 2, 3)
        )
        wish = self.scene.wish(
            spec=self.spec,
            status=self.status,
            pods=pods,
            views=self.scene.views(view, view, view),
            children={SET: self.workload},
        )
        return informed(wish, survey())

    @property
    def lead(self):
        return leadership.read(self.wish)

    @property
    def config_steps(self) -> list[Configure]:
        return list(config.steps(self.wish, self.lead))

    def told(self, passed: Passed | None = None):
        return status.tell(self.wish, passed or Passed(), IMAGE)

    def condition(self, kind: str, passed: Passed | None = None) -> tuple[str, str] | None:
        found = self.told(passed).condition(kind)
        return (found.status, found.reason) if found else None


@pytest.fixture
def story(scene) -> Story:
    return Story(scene)


# ---------------------------------------------------------------------------------- settings


def test_nothing_is_put_where_the_brokers_have_what_the_spec_says(story):
    assert story.config_steps == []
    assert story.condition("ConfigInSync") == ("True", "InSync")


def test_what_differs_is_put_and_what_is_gone_from_the_spec_is_dropped(story):
    story.spec = {"config": {"num.partitions": "9", "max.connections": "5"}}
    story.config = {"num.partitions": "7", "fetch.max.bytes": "4096"}
    (step,) = story.config_steps
    assert step == Configure({"num.partitions": "9", "max.connections": "5"}, ("fetch.max.bytes",))
    assert str(step) == "configure num.partitions, max.connections, fetch.max.bytes"
    assert story.condition("ConfigInSync") == ("False", "Applying")


def test_what_a_broker_logs_is_its_files_and_is_heeded_from_there(story):
    story.spec = {"config": {"num.partitions": "7"}, "logging": {"level": "debug"}}
    assert story.config_steps == []
    assert story.condition("ConfigInSync") == ("True", "InSync")


def test_nothing_is_put_before_the_brokers_share_their_settings(story):
    story.version, story.config, story.level = 0, {}, 2
    assert story.config_steps == []
    assert story.condition("ConfigInSync") == ("False", "NotYetShared")


def test_a_change_of_settings_restarts_nobody_until_a_broker_says_that_it_has_to(story):
    story.spec = {"config": {"num.partitions": "9"}}
    assert rollout.look(story.wish, story.lead).remaining == ()
    story.config = {"num.partitions": "9"}
    story.standings[3] = Standing(4, True)
    found = rollout.look(story.wish, story.lead)
    assert found.remaining == (("orders-broker-2", rollout.Why.CONFIG),)
    assert [str(step) for step in found.steps] == ["take the permit for pod orders-broker-2"]
    assert story.condition("ConfigInSync") == ("False", "RestartNeeded")
    assert story.condition("UpToDate") == ("False", "Rolling")


def test_a_restart_for_settings_is_approved_for_that_version_of_them_only(story):
    story.spec |= {"updateStrategy": {"type": "Supervised"}}
    story.standings[3] = Standing(4, True)
    (blocked,) = rollout.look(story.wish, story.lead).blocked
    assert (blocked.reason.value, blocked.subject) == ("AwaitingApproval", "new.4")
    assert story.told().rollout.revision == "new.4"


def test_who_has_not_heard_of_the_last_change_is_named(story):
    story.standings[1] = Standing(3, False)
    found = story.told().condition("ConfigInSync")
    assert (found.status, found.reason) == ("False", "Applying")
    assert "orders-broker-0" in found.message


def test_what_the_brokers_refuse_is_told_in_their_words_everywhere(story):
    passed = Passed(refused=("x",), config_refused={"num.partition": "unknown setting"})
    told = story.told(passed)
    found = told.condition("ConfigInSync")
    assert (found.status, found.reason) == ("False", "ConfigRefused")
    assert "num.partition (unknown setting)" in found.message
    (held,) = told.blocked_by
    assert (held.reason, held.subject) == ("ConfigRefused", "num.partition")


def test_settings_alone_do_not_change_the_pods(story):
    image = DefaultImage("quorate-broker", "0.1.0")

    def pods() -> list[Any]:
        manifests = render.render(subject(story.wish, image))
        sets = [one for one in manifests if one["kind"] == "StatefulSet"]
        return [one["spec"]["template"] for one in sets]

    before = pods()
    story.spec = {"config": {"num.partitions": "9", "raft.election.timeout.ms": "2000"}}
    assert pods() == before
    text = config_file.brokers(story.wish.spec, story.wish.names, "", 3)
    assert '"num.partitions" = 9' in text, "they seed the settings of a new cluster"


# ------------------------------------------------------------------------------------- levels


def raised(story: Story, rolling: bool = False) -> list[int]:
    return [one.level for one in levels.steps(story.wish, story.lead, rolling=rolling)]


def test_the_level_goes_up_when_every_broker_knows_it_and_nothing_rolls(story):
    story.level = 2
    assert raised(story) == [3]
    assert raised(story, rolling=True) == []
    story.levels[1] = 2
    assert raised(story) == []
    story.levels[1] = 3
    story.spec = {"metadataVersion": 2}
    assert raised(story) == []
    story.spec = {"metadataVersion": 3}
    assert raised(story) == [3]


def test_a_level_that_is_reached_is_left_alone_and_told(story):
    assert raised(story) == []
    assert story.told().metadata_version == 3
    assert RaiseLevel(3) not in plan(story.wish, ())


def test_what_an_image_knows_is_remembered_from_the_brokers_that_ran_it(story):
    story.images[1], story.levels[1] = "quorate-broker:older", 2
    seen = {one.image: one.feature_level for one in story.told().images}
    assert seen == {IMAGE: 3, "quorate-broker:older": 2}


def test_no_broker_is_rolled_to_an_image_that_cannot_read_the_metadata(story):
    story.status |= {"images": [{"image": "quorate-broker:older", "featureLevel": 2}]}
    story.workload = workload("quorate-broker:older")
    story.revisions = dict.fromkeys((1, 2, 3), "old")
    found = rollout.look(story.wish, story.lead)
    assert found.steps == ()
    (blocked,) = found.blocked
    assert (blocked.reason.value, blocked.subject) == ("VersionTooOld", "quorate-broker:older")
    assert "the cluster is at 3 for good" in blocked.sentence
    story.level = 2
    assert len(rollout.look(story.wish, story.lead).steps) == 1


# ---------------------------------------------------------------------------------- drift


@pytest.mark.parametrize("draining", [False, True])
def test_a_broker_that_is_not_in_the_spec_is_named_until_it_is_gone(story, draining):
    before = story.told()
    story.levels[9] = 3
    story.versions[9], story.standings[9] = "0.1.0", None
    story.draining = {9} if draining else set()
    told = story.told()
    found = told.condition("Drift")
    assert (found.status, found.reason) == ("True", "UnknownBroker")
    assert "broker 9" in found.message
    (event,) = events.between(before, told)
    assert (event.type, event.reason, event.note) == ("Warning", "UnknownBroker", found.message)
    assert list(events.between(told, told)) == []


def test_a_broker_of_another_version_is_named_unless_a_roll_explains_it(story):
    story.versions[3] = "0.0.9"
    found = story.told().condition("Drift")
    assert (found.reason, "broker 3 runs version 0.0.9" in found.message) == ("VersionSkew", True)
    story.revisions[3] = "old"
    assert story.told().condition("Drift") is None


@pytest.mark.parametrize("field", ["own", "unknown", "invalid"])
def test_a_broker_with_other_settings_is_named(story, field):
    story.standings[3] = dataclasses.replace(Standing(4, False), **{field: ("max.connections",)})
    found = story.told().condition("Drift")
    assert found.reason == "ConfigSkew"
    assert "orders-broker-2" in found.message
    assert "max.connections" in found.message


def test_a_cluster_as_the_spec_says_has_no_such_condition(story):
    assert story.told().condition("Drift") is None


# --------------------------------------------------------------------- another operator version


def sets(story: Story) -> list[dict[str, Any]]:
    found = render.render(subject(story.wish, DefaultImage("quorate-broker", "0.1.0")))
    return [one for one in found if one["kind"] == "StatefulSet"]


def test_a_new_operator_leaves_the_pods_alone(story, monkeypatch):
    """It would write them otherwise, and does so with the next change that was asked for."""
    live = as_live(sets(story))
    assert list(templates.kept(sets(story), live)) == sets(story), "the same operator goes on"
    monkeypatch.setattr(origin, "VERSION", "9.9.9")
    render.render.cache_clear()
    try:
        new = sets(story)
        for one in new:
            assert one["metadata"]["annotations"][RENDERED_BY_ANNOTATION] == "9.9.9"
            one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 99
        assert list(templates.kept(new, live)) == []
        new[0]["spec"]["replicas"] = 5
        (kept,) = templates.kept(new, live)
        assert kept["spec"]["replicas"] == 5
        assert kept["spec"]["template"] == live["StatefulSet", "orders-broker"]["spec"]["template"]
        new[0]["metadata"]["annotations"][ASKED_ANNOTATION] = "other"
        assert new[0] in list(templates.kept(new, live))
    finally:
        render.render.cache_clear()


LISTENER = {"name": "lb", "port": 9094, "type": "loadbalancer", "authentication": {"type": "none"}}
PEERS = {"networkPolicyPeers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
INTERNAL = {"name": "internal", "port": 9092, "authentication": {"type": "none"}}
BUSY = {"autoscaling": {"minReplicas": 1, "maxReplicas": 3, "targetCpuUtilization": 50}}
MARKED = {"metadata": {"labels": {"a": "b"}}}


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 5},
        {"paused": True},
        {"hibernate": True},
        {"metadataVersion": 3},
        {"updateStrategy": {"type": "OnDelete"}},
        {"config": {"num.partitions": "9"}},
        {"logging": {"level": "debug", "format": "json"}},
        {"networkPolicy": "None"},
        {"metrics": {"podMonitor": True}},
        {"storage": {"size": "2Gi"}},
        {"flanking": {"replicas": 3}},
        {"flanking": BUSY},
        {"listeners": [INTERNAL, {**LISTENER, "annotations": {"a": "b"}}]},
        {"listeners": [{**INTERNAL, **PEERS}, {**LISTENER, **PEERS}]},
        *({"template": {name: MARKED}} for name in ("service", "podDisruptionBudget")),
        *({"template": {name: MARKED}} for name in ("serviceAccount", "persistentVolumeClaim")),
    ],
    ids=str,
)
def test_what_changes_no_pod_restarts_none_and_lets_a_template_stay(story, change):
    story.spec = before = {"listeners": [INTERNAL, LISTENER]}
    old = sets(story)
    story.spec = before | change
    for one, other in zip(old, sets(story), strict=True):
        assert one["spec"]["template"] == other["spec"]["template"]
        marks = [each["metadata"]["annotations"][ASKED_ANNOTATION] for each in (one, other)]
        assert marks[0] == marks[1], change


# -------------------------------------------------------------------------------- over HTTP


def test_what_brokers_tell_of_settings_and_levels_is_read_and_need_not_be_told():
    body = answer(2, 5)
    assert parse(body).config_version == 0
    body |= {"feature_level": 3, "config": {"a": "1"}, "config_version": 4}
    body["members"][0] |= {
        "feature_level": 3,
        "config": {"version": 4, "restart": True, "invalid": [], "unknown": ["x"], "own": []},
    }
    view = parse(body)
    assert (view.feature_level, view.config, view.config_version) == (3, {"a": "1"}, 4)
    assert view.members[0].config == Standing(4, True, (), ("x",), ())
    assert view.members[1].config is None


def over_http(answers: dict[str, tuple[int, Any]], ask: Any) -> tuple[list[str], Exception | None]:
    async def run() -> tuple[list[str], Exception | None]:
        broker = FakeBroker("127.0.0.1")
        broker.answers = answers
        async with broker.serve(), Brokers(port=broker.port) as brokers:
            brokers.addresses.know("b", "127.0.0.1")
            try:
                await ask(HttpAdmin(brokers))
            except AdminError as error:
                return broker.called, error
            return broker.called, None

    return asyncio.run(run())


def test_settings_that_are_refused_do_not_hold_up_the_others():
    bad = {"num.partition": "unknown setting"}
    calls: list[dict[str, Any]] = []

    class Refusing(dict[str, tuple[int, Any]]):
        def get(self, call: str, default: Any = None) -> Any:
            calls.append({"call": call})
            return (400, bad) if len(calls) == 1 else (200, {"config_version": 5})

    put = {"num.partition": "7", "max.connections": "5"}
    called, error = over_http(Refusing(), lambda admin: admin.configure("b", put, ()))
    assert called == ["PUT /v1/cluster_config"] * 2
    assert isinstance(error, ConfigRefused)
    assert error.problems == bad


def test_a_refusal_of_another_kind_is_the_brokers_sentence():
    answers = {"PUT /v1/cluster_config": (503, {"message": "no leader", "code": 503})}
    _, error = over_http(answers, lambda admin: admin.configure("b", {"a": "1"}, ()))
    assert str(error) == "no leader"
    assert not isinstance(error, ConfigRefused)


def test_the_level_is_raised_by_making_its_features_active():
    rows = [("old", "active", 2), ("new", "available", 3), ("far", "available", 4)]
    features = [{"name": n, "state": s, "level": level} for n, s, level in rows]
    answers = {
        "GET /v1/features": (200, {"features": features}),
        "PUT /v1/features/new": (200, {}),
    }
    called, error = over_http(answers, lambda admin: admin.raise_level("b", 3))
    assert (called, error) == (["GET /v1/features", "PUT /v1/features/new"], None)
