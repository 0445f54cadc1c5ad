"""What the lists find that no event told of, and how little is asked where nothing happens."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator

from quorate_operator import kube, model, news
from quorate_operator.brokers import Addresses
from quorate_operator.budget import Budget
from quorate_operator.health import Pulse, Thing
from quorate_operator.kube import Kube, KubeError
from quorate_operator.names import CLUSTER_LABEL, Key
from quorate_operator.news import WATCHED
from quorate_operator.reconcile import Result
from quorate_operator.resync import RESYNC_S, Resync
from quorate_operator.testing.fake_kubernetes import FakeKubernetes
from quorate_operator.testing.objects import Objects
from quorate_operator.testing.simulation import loop
from quorate_operator.workers import Limits, Workers

HOUR_S = 3600


class World:
    """Clusters in virtual time that are at rest; what is asked about them is counted."""

    def __init__(self, clusters: int) -> None:
        self.store = Objects()
        self.pulse = Pulse(loop.VirtualClock())
        self.asked: collections.Counter[str] = collections.Counter()
        self.refused = ""
        self.passes: collections.Counter[Key] = collections.Counter()
        self.addresses = Addresses()
        for number in range(clusters):
            name = f"c{number}"
            self.store.put(model.PLURAL, {"metadata": {"name": name, "namespace": "shop"}})
            for _, plural in WATCHED:
                self.child(plural, name)

    def child(self, plural: str, cluster: str) -> None:
        labels = {CLUSTER_LABEL: cluster}
        metadata = {"name": cluster, "namespace": "shop", "labels": labels}
        self.store.put(plural, {"metadata": metadata})

    @property
    def versions(self) -> dict[Thing, str]:
        """As watches deliver them."""
        return {
            news.thing(key[0], one["metadata"]): one["metadata"]["resourceVersion"]
            for key, one in self.store.objects.items()
        }

    # As `Lister`.

    async def all(self, kind, namespace, selector=""):
        return self.store.some(kube.KINDS[kind][1], namespace or "", selector)

    async def metadata(self, kind, namespace, selector):
        self.asked[kind] += 1
        if kind == self.refused:
            raise KubeError(403, "no right to")
        return [one["metadata"] for one in await self.all(kind, namespace, selector)]

    # As `Passes`, and as `Sources`.

    async def pods(self, _):
        return ()

    async def reconcile(self, key, _):
        self.passes[key] += 1
        return Result(exists=True)

    async def follow(self, host, tell):
        raise AssertionError("there are no pods")

    def doubt(self, host):
        raise AssertionError("there are no pods")


@contextlib.asynccontextmanager
async def resting(clusters: int) -> AsyncIterator[World]:
    """They have all been looked at, and what kopf lists at first has been delivered."""
    world, limits = World(clusters), Limits(jitter=0.0, listen_s=0.0)
    async with asyncio.TaskGroup() as group:
        workers = Workers(group, world, world, loop.VirtualClock(), limits)
        resync = Resync(world, (), workers, world.pulse, Budget())
        listed = asyncio.Event()
        running = group.create_task(resync.run(listed))
        await listed.wait()
        for thing, version in world.versions.items():
            if world.pulse.heard(thing, version):
                workers.wake(Key("shop", thing.name))
        await loop.pass_time(60)
        world.asked.clear()
        yield world
        running.cancel()
        workers.stop()


def test_an_hour_in_which_nothing_happens_costs_a_few_lists_for_all_and_two_looks_at_each():
    async def story():
        async with resting(50) as world:
            assert set(world.passes.values()) == {1}
            await loop.pass_time(HOUR_S)
            assert set(world.passes.values()) == {3}
            assert len(world.asked) == 1 + len(WATCHED)
            assert set(world.asked.values()) == {HOUR_S / RESYNC_S}

    loop.run(story())


def test_what_no_watch_delivered_wakes_its_cluster_and_no_other():
    async def story():
        async with resting(3) as world:
            world.child("services", "c1")
            await loop.pass_time(RESYNC_S)
            counts = {key.name: count for key, count in world.passes.items()}
            assert counts == {"c0": 1, "c1": 2, "c2": 1}

    loop.run(story())


def test_a_cluster_that_no_event_told_of_is_looked_after():
    async def story():
        async with resting(0) as world:
            metadata = {"name": "late", "namespace": "shop"}
            world.store.put(model.PLURAL, {"metadata": metadata})
            await loop.pass_time(RESYNC_S)
            assert world.passes == {Key("shop", "late"): 1}

    loop.run(story())


def test_a_kind_that_cannot_be_listed_does_not_hide_the_others():
    async def story():
        async with resting(1) as world:
            world.refused = "Pod"
            world.child("statefulsets", "c0")
            await loop.pass_time(RESYNC_S)
            assert world.passes == {Key("shop", "c0"): 2}

    loop.run(story())


def test_news_are_what_neither_a_watch_nor_a_list_has_shown():
    async def story():
        pulse = Pulse(loop.VirtualClock())
        pod = Thing("pods", "shop", "orders-broker-0", "orders")
        assert pulse.heard(pod, "1")
        assert not pulse.heard(pod, "1"), "kopf lists all again after a gap"
        assert pulse.listed("pods", {pod: "2"}) == [pod]
        assert not pulse.heard(pod, "2"), "the list has woken its cluster already"
        assert pulse.heard(pod, "3")
        assert pulse.heard(pod, ""), "that it is gone"
        assert pulse.heard(pod, "3"), "and that it came back"

    loop.run(story())


def test_what_was_deleted_and_nobody_told_of_it_wakes_its_cluster():
    async def story():
        async with resting(3) as world:
            del world.store.objects["services", "shop", "c1"]
            world.child("pods", "c2")
            del world.store.objects["pods", "shop", "c2"]
            assert world.pulse.heard(Thing("pods", "shop", "c2", "c2"), "")
            await loop.pass_time(RESYNC_S)
            counts = {key.name: count for key, count in world.passes.items()}
            assert counts == {"c0": 1, "c1": 2, "c2": 1}

    loop.run(story())


def test_what_two_lists_do_not_show_is_gone_what_one_does_not_show_may_have_come_since():
    pod = Thing("pods", "shop", "orders-broker-0", "orders")
    late = Thing("pods", "shop", "orders-broker-1", "orders")

    async def story():
        pulse = Pulse(loop.VirtualClock())
        pulse.heard(pod, "1")
        assert pulse.listed("pods", {pod: "1"}) == []
        pulse.heard(late, "2")
        assert pulse.listed("pods", {}) == [pod, late], "a list from before the second one came"
        assert pulse.listed("pods", {late: "2"}) == [pod], "the first is gone indeed"
        assert pulse.listed("pods", {late: "2"}) == []
        pulse.heard(late, "")
        assert pulse.listed("pods", {}) == [], "a watch has told of it"

    loop.run(story())


def test_metadata_comes_page_by_page_and_without_what_managers_own(monkeypatch):
    monkeypatch.setattr(kube, "PAGE", 2)

    async def story():
        fake = FakeKubernetes()
        for number in range(5):
            labels = {CLUSTER_LABEL: "orders"} if number else {}
            metadata = {"name": f"pod-{number}", "namespace": "shop", "labels": labels}
            fake.put("pods", {"metadata": {**metadata, "managedFields": [{}]}, "spec": {}})
        async with fake.serve() as configuration:
            talker = Kube(configuration)
            assert await talker.metadata("Service", None, CLUSTER_LABEL) == []
            found = await talker.metadata("Pod", None, CLUSTER_LABEL)
            await talker.aclose()
        assert [one["name"] for one in found] == ["pod-1", "pod-2", "pod-3", "pod-4"]
        assert not any("managedFields" in one for one in found)

    asyncio.run(story())
