"""Whole passes against a Kubernetes API over real HTTP: what is written, and that nothing is."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quorate_operator.facts import DefaultImage, View
from quorate_operator.kube import Kube, KubeError
from quorate_operator.names import Key
from quorate_operator.reconcile import Reconciler, Result
from quorate_operator.seams import SystemClock
from quorate_operator.testing.fake_admin import FakeAdmin, survey
from quorate_operator.testing.fake_kubernetes import FakeKubernetes

KEY = Key("shop", "orders")
BC = ("brokerclusters", "shop", "orders")


class Stage:
    """A reconciler before a fake API server, with brokers that say what they are told to."""

    def __init__(
        self, scene, fake: FakeKubernetes, reconciler: Reconciler, admin: FakeAdmin
    ) -> None:
        self.admin = admin
        self.scene = scene
        self.fake = fake
        self.reconciler = reconciler
        self.says: list[View] = []

    async def run(self) -> Result:
        views = {
            self.fake.objects["pods", "shop", pod]["metadata"]["uid"]: view
            for pod, view in self.scene.views(*self.says).items()
            if ("pods", "shop", pod) in self.fake.objects
        }
        return await self.reconciler.reconcile(KEY, views)

    def edit(self, **fields: Any) -> None:
        """As the API server takes a change of the spec."""
        cluster = self.fake.objects[BC]
        cluster["spec"] |= fields
        cluster["metadata"]["generation"] += 1
        self.fake.store.touched(BC)

    async def converge(self) -> None:
        await self.run()
        self.fake.run_controllers()
        self.says = [self.scene.view(2, 5)] * 3
        for _ in range(4):
            await self.run()
        self.fake.writes.clear()

    @property
    def status(self) -> dict[str, Any]:
        return self.fake.objects[BC]["status"]

    def condition(self, kind: str) -> dict[str, Any]:
        return next(one for one in self.status["conditions"] if one["type"] == kind)


@contextlib.asynccontextmanager
async def stage(scene) -> AsyncIterator[Stage]:
    class Clock:
        def monotonic(self) -> float:
            return 0.0

        def now(self):
            return scene.now

    fake = FakeKubernetes()
    cluster = scene.cluster()
    del cluster["status"]
    fake.put("brokerclusters", cluster)
    async with fake.serve() as configuration:
        kube = Kube(configuration)
        try:
            image = DefaultImage("quorate-broker", "0.1.0")
            admin = FakeAdmin()
            yield Stage(scene, fake, Reconciler(kube, admin, image, Clock()), admin)
        finally:
            await kube.aclose()


def test_the_first_pass_says_provisioning_and_makes_every_child(scene):
    async def story():
        async with stage(scene) as on:
            result = await on.run()
            assert result.busy
            (kept,) = [one for one in on.fake.writes if "controllerrevisions" in one]
            assert on.fake.writes == [
                "apply brokerclusters/orders/status",
                kept,
                "apply serviceaccounts/orders-nodes",
                "apply configmaps/orders-config",
                "apply services/orders-brokers",
                "apply services/orders-bootstrap",
                "apply services/orders-admin",
                "apply services/orders-proxy",
                "apply networkpolicies/orders-broker",
                "apply networkpolicies/orders-flanking",
                "apply poddisruptionbudgets/orders-broker",
                "apply statefulsets/orders-broker",
                "apply statefulsets/orders-flanking",
                "apply brokerclusters/orders/status",
            ]
            assert on.condition("Ready")["reason"] == "Provisioning"

    asyncio.run(story())


def test_a_converged_cluster_is_written_to_no_more(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            assert on.condition("Ready")["status"] == "True"
            for _ in range(5):
                result = await on.run()
                assert not result.busy
            assert on.fake.writes == []

    asyncio.run(story())


def test_a_pod_that_cannot_run_is_looked_at_again_soon_though_nothing_more_is_heard(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            since = scene.now.isoformat()
            unscheduled = {"type": "PodScheduled", "status": "False", "lastTransitionTime": since}
            pod = on.fake.objects["pods", "shop", "orders-broker-2"]
            pod["status"]["conditions"] = [unscheduled]
            for _ in range(3):  # what is new about it has been said
                result = await on.run()
            assert result.blocked == frozenset(), "patience is not over yet"
            assert result.busy

    asyncio.run(story())


def test_a_node_without_the_label_of_its_rack_is_asked_for_again_soon_nobody_watches_it(scene):
    async def story():
        async with stage(scene) as on:
            on.edit(rack={"topologyKey": "row"})
            await on.converge()
            for number in range(3):
                on.fake.objects["pods", "shop", f"orders-broker-{number}"]["spec"]["nodeName"] = "n"
            results = [await on.run() for _ in range(3)]
            assert results[-1].busy
            assert on.condition("RacksKnown")["status"] == "False"
            on.fake.put(
                "nodes", {"metadata": {"name": "n", "namespace": "", "labels": {"row": "1"}}}
            )
            results = [await on.run() for _ in range(3)]
            assert not results[-1].busy

    asyncio.run(story())


def test_the_cluster_id_goes_into_the_configuration_once_known(scene):
    async def story():
        async with stage(scene) as on:
            await on.run()
            config = on.fake.objects["configmaps", "shop", "orders-config"]
            assert '"cluster.id" = ""' in config["data"]["quorate.toml"]
            await on.converge()
            assert '"cluster.id" = "id-1"' in config["data"]["quorate.toml"]
            workload = on.fake.objects["statefulsets", "shop", "orders-broker"]
            assert workload["metadata"]["generation"] == 1

    asyncio.run(story())


def test_the_label_moves_with_the_lead(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            on.says = [scene.view(3, 6)] * 3
            await on.run()
            assert on.fake.writes == [
                "merge pods/orders-broker-1",
                "merge pods/orders-broker-2",
                "apply brokerclusters/orders/status",
                *[write for write in on.fake.writes if write.startswith("create events/")],
            ]
            labels = on.fake.objects["pods", "shop", "orders-broker-2"]["metadata"]["labels"]
            assert labels["quorate.dev/leader"] == "true"
            assert on.status["leader"]["epoch"] == 6

    asyncio.run(story())


def test_a_field_taken_by_somebody_is_taken_back_and_told(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            path = ("spec", "replicas")
            on.fake.own("statefulsets", "shop", "orders-broker", path, 1)
            await on.run()
            workload = on.fake.objects["statefulsets", "shop", "orders-broker"]
            assert workload["spec"]["replicas"] == 3
            notes = [
                item["note"] for (kind, _, _), item in on.fake.objects.items() if kind == "events"
            ]
            assert (
                "Taking back fields of StatefulSet orders-broker:"
                " .spec.replicas (set by somebody)." in notes
            )

    asyncio.run(story())


def test_one_refused_child_stops_no_other_and_is_told_in_words(scene):
    async def story():
        async with stage(scene) as on:
            on.fake.refuse["apply services/orders-proxy"] = (403, "quota is used up")
            result = await on.run()
            assert result.failed
            assert "apply statefulsets/orders-broker" in on.fake.writes
            stalled = on.condition("Stalled")
            assert stalled["status"] == "True"
            assert stalled["message"] == (
                "cannot apply Service orders-proxy (missing): quota is used up"
            )
            on.fake.refuse.clear()
            await on.converge()
            assert on.condition("Stalled")["status"] == "False"

    asyncio.run(story())


def test_a_number_that_nobody_has_taken_over_is_not_let_go_of(scene):
    """Kubernetes would make it one pod."""

    async def story():
        async with stage(scene) as on:
            await on.converge()
            autoscaling = {"minReplicas": 2, "maxReplicas": 8, "targetCpuUtilization": 70}
            requests = {"requests": {"cpu": "100m"}}
            on.edit(flanking={"autoscaling": autoscaling, "resources": requests})
            lending = "apply statefulsets/orders-flanking"
            on.fake.refuse[lending] = (503, "later")
            assert (await on.run()).failed
            assert on.fake.writes.count(lending) == 1, "and the set is not applied without it"
            on.fake.refuse.clear()
            await on.run()
            assert on.fake.writes.count(lending) == 3

    asyncio.run(story())


def test_a_failure_that_may_pass_is_no_stall(scene):
    async def story():
        async with stage(scene) as on:
            on.fake.refuse["apply services/orders-proxy"] = (503, "later")
            assert (await on.run()).failed
            assert on.condition("Stalled")["status"] == "False"
            assert on.condition("Reconciling")["reason"] == "Retrying"

    asyncio.run(story())


def test_a_spec_that_cannot_be_read_is_told_and_changes_nothing(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            on.fake.objects[BC]["spec"]["replicas"] = "many"
            result = await on.run()
            assert result.outcome == "invalid"
            told = "apply brokerclusters/orders/status"
            assert [one for one in on.fake.writes if "events/" not in one] == [told]
            assert on.condition("Stalled")["reason"] == "InvalidSpec"
            assert "replicas" in on.condition("Stalled")["message"]
            assert on.condition("Ready")["status"] == "True"

    asyncio.run(story())


def test_a_cluster_that_is_gone_or_going_is_left_alone(scene):
    async def story():
        async with stage(scene) as on:
            on.fake.objects[BC]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            assert (await on.run()).exists
            del on.fake.objects[BC]
            assert not (await on.run()).exists
            assert on.fake.writes == []

    asyncio.run(story())


def test_a_namespace_that_is_being_deleted_is_no_trouble(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            on.fake.leaving.add("shop")
            del on.fake.objects["services", "shop", "orders-proxy"]
            result = await on.run()
            assert (result.failed, result.outcome) == (False, "gone")
            assert on.condition("Stalled")["status"] == "False"

    asyncio.run(story())


def test_scaling_flanking_nodes_writes_their_own_set_alone(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            on.edit(flanking={"replicas": 3})
            await on.run()
            on.fake.run_controllers()
            await on.run()
            (kept, gone) = [one for one in on.fake.writes if "controllerrevisions" in one]
            assert (kept.partition(" ")[0], gone.partition(" ")[0]) == ("apply", "delete")
            assert {write for write in on.fake.writes if "status" not in write} == {
                "apply statefulsets/orders-flanking",
                kept,
                gone,
            }
            assert on.status["flanking"] == {"replicas": 3, "ready": 3}

    asyncio.run(story())


def test_a_change_of_the_image_restarts_each_broker_once_and_the_leader_last(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            on.edit(version="0.2.0")
            on.admin.says = survey()
            await on.run()
            on.fake.revision = "r2"
            on.fake.run_controllers()
            for _ in range(20):
                await on.run()
                on.fake.run_controllers()
                if "transfer orders-broker-1 to 1" in on.admin.asked:
                    on.says = [scene.view(1, 6)] * 3
                    on.admin.says = survey(1, 6)
            gone = [one for one in on.fake.writes if one.startswith("delete pods")]
            assert gone == [f"delete pods/orders-broker-{n}" for n in (0, 2, 1)]
            told = [
                (item["reason"], item["note"])
                for (kind, _, _), item in on.fake.objects.items()
                if kind == "events" and item["action"] == "Restart"
            ]
            assert told == [("ImageChanged", f"Restarting orders-broker-{n}.") for n in (0, 2, 1)]
            assert on.condition("UpToDate")["status"] == "True"
            on.fake.writes.clear()
            await on.run()
            assert on.fake.writes == []

    asyncio.run(story())


def test_a_restart_that_somebody_asks_for_is_done_once(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            on.fake.objects[BC]["metadata"]["annotations"] = {"quorate.dev/restart": "today"}
            await on.run()
            assert on.fake.writes[0] == "apply statefulsets/orders-broker"
            await on.run()
            on.fake.writes.clear()
            await on.run()
            assert on.fake.writes == []

    asyncio.run(story())


def test_a_spec_that_cannot_be_read_leaves_the_last_one_that_could_in_force(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            spec = on.fake.objects[BC]["spec"]
            spec["listeners"], spec["replicas"] = "none", 5
            del on.fake.objects["services", "shop", "orders-proxy"]
            result = await on.run()
            assert result.outcome == "invalid"
            assert "apply services/orders-proxy" in on.fake.writes
            assert on.fake.objects["statefulsets", "shop", "orders-broker"]["spec"]["replicas"] == 3
            stalled = on.condition("Stalled")
            assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
            assert "listeners" in stalled["message"]
            assert on.condition("Ready")["status"] == "True"
            await on.run()
            on.fake.writes.clear()
            await on.run()
            assert on.fake.writes == []

    asyncio.run(story())


def test_a_paused_cluster_says_what_is_put_off(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            on.edit(paused=True, version="0.2.0")
            await on.run()
            assert [one for one in on.fake.writes if "brokerclusters" not in one] == []
            message = on.condition("Paused")["message"]
            assert "apply StatefulSet orders-broker (changed)" in message

    asyncio.run(story())


def test_a_cluster_that_hibernates_keeps_its_volumes_and_its_number_and_wakes_as_it_was(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            on.edit(hibernate=True)
            await on.run()
            on.fake.run_controllers()
            on.says = []
            await on.run()
            workload = on.fake.objects["statefulsets", "shop", "orders-broker"]
            assert workload["spec"]["replicas"] == 0
            assert on.condition("Ready")["reason"] == "Hibernated"
            assert (on.status["summary"], on.status["effectiveReplicas"]) == ("asleep", 3)
            assert [one for one in on.fake.writes if "persistentvolumeclaims" in one] == []
            on.edit(hibernate=False)
            await on.converge()
            assert workload["spec"]["replicas"] == 3
            assert on.status["summary"] == "healthy"

    asyncio.run(story())


def test_no_budget_for_disruptions_is_left_where_none_is_wanted(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            budget = on.fake.objects["poddisruptionbudgets", "shop", "orders-broker"]
            assert budget["spec"]["maxUnavailable"] == 1
            on.says = [scene.view(2, 5, under_replicated=True)] * 3
            await on.run()
            assert budget["spec"]["maxUnavailable"] == 0
            assert on.condition("FullyReplicated")["reason"] == "UnderReplicated"
            on.edit(disruption={"pdb": "None"})
            await on.run()
            assert "delete poddisruptionbudgets/orders-broker" in on.fake.writes

    asyncio.run(story())


def test_while_another_cluster_is_on_a_rollout_this_one_waits_and_says_for_which(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            assert on.reconciler.budget.take(Key("shop", "stock")) == ""
            on.edit(version="0.2.0")
            on.admin.says = survey()
            await on.run()
            on.fake.revision = "r2"
            on.fake.run_controllers()
            await on.run()
            (held,) = on.status["blockedBy"]
            assert (held["reason"], held["subject"]) == ("RolloutBudget", "shop/stock")
            assert on.condition("UpToDate")["reason"] == "RolloutBudget"
            assert on.condition("Stalled")["status"] == "False"
            on.reconciler.budget.give_back(Key("shop", "stock"))
            await on.run()
            assert on.status["rollout"]["startedAt"]
            assert on.reconciler.budget.take(Key("shop", "stock")) == "shop/orders"

    asyncio.run(story())


def test_a_broker_that_has_left_and_is_wanted_again_begins_anew_and_is_let_in(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            others = on.says[0].members[:2]
            on.says = [scene.view(2, 5, members=others, departed=(3,))] * 2
            await on.run()
            assert [one for one in on.fake.writes if one.startswith("delete")] == [
                "delete pods/orders-broker-2"
            ]
            assert on.admin.asked[-1] == "recommission 3"
            told = [one for (kind, *_), one in on.fake.objects.items() if kind == "events"]
            assert ("Readmitted", "Restart") in [(one["reason"], one["action"]) for one in told]

    asyncio.run(story())


def test_a_broker_is_restarted_before_its_volume_goes_and_each_as_it_was_seen(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            claims = [volume(f"data-orders-broker-{n}", "fast") for n in range(3)]
            for claim in claims:
                on.fake.put("persistentvolumeclaims", claim)
            on.edit(storage={"size": "1Gi", "class": "slow", "replace": "Guided"})
            on.admin.says = survey()
            for _ in range(3):
                await on.run()
                on.fake.run_controllers()
            deleted = [one for one in on.fake.writes if one.startswith("delete")]
            assert deleted[0] == "delete statefulsets/orders-broker"
            for _ in range(5):
                await on.run()
                on.fake.run_controllers()
                deleted = [
                    one
                    for one in on.fake.writes
                    if one.startswith("delete") and "revisions" not in one
                ]
            assert deleted[1:3] == [
                "delete pods/orders-broker-0",
                "delete persistentvolumeclaims/data-orders-broker-0",
            ]

    asyncio.run(story())


def volume(name: str, storage_class: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"quorate.dev/cluster": "orders"},
        },
        "spec": {
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": storage_class,
            "volumeName": "pv",
        },
        "status": {"capacity": {"storage": "1Gi"}},
    }


def test_status_is_written_only_onto_what_was_seen(scene):
    async def story():
        async with stage(scene) as on:
            await on.converge()
            on.says = [scene.view(3, 6)] * 3
            original = on.reconciler._observe

            async def late(*arguments):
                observed = await original(*arguments)
                observed = dataclasses.replace(observed, cluster=copy.deepcopy(observed.cluster))
                on.fake.objects[BC]["status"]["leader"]["epoch"] = 9
                on.fake.store.touched(BC)
                return observed

            on.reconciler._observe = late
            with pytest.raises(KubeError, match="modified"):
                await on.run()
            assert on.status["leader"]["epoch"] == 9

    asyncio.run(story())


def test_a_pass_that_is_cancelled_as_a_request_fails_ends_and_does_not_go_on(scene):
    """TaskGroup in Python 3.11 raises the request's error then, and forgets the cancellation."""

    class Kube:
        async def get(self, *_):
            asking.set()
            await asyncio.Event().wait()

        async def all(self, *_):
            try:
                await asyncio.Event().wait()
            finally:
                raise KubeError(0, "the connection was closed")

    async def story():
        reconciler = Reconciler(Kube(), FakeAdmin(), DefaultImage("x", "1"), SystemClock())
        async with asyncio.TaskGroup() as group:
            working = group.create_task(reconciler.reconcile(KEY, {}))
            await asking.wait()
            working.cancel()
            await asyncio.wait([working])
            assert working.cancelled()

    asking = asyncio.Event()
    asyncio.run(story())
