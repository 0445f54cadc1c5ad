"""The operator's own edges: its settings, its health, how it signs in, quantities."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import gc
import typing

import aiohttp.test_utils
import kopf
import pytest
from kubernetes.aio import client

from quorate_operator import access, handlers, health, news
from quorate_operator.__main__ import main
from quorate_operator.kube import Conflict, Kube, KubeError, Only
from quorate_operator.names import Key
from quorate_operator.plan import quantity
from quorate_operator.settings import SettingsError, load
from quorate_operator.testing.fake_kubernetes import FakeKubernetes

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


class Hands:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime.datetime:
        return NOW


def test_the_settings_have_defaults_that_work_everywhere():
    settings = load({})
    assert settings.namespaces == ()
    assert (settings.image.repository, settings.http_port) == ("quorate-broker", 8080)


def test_namespaces_are_a_list():
    assert load({"QUORATE_OPERATOR_NAMESPACES": "a, b,"}).namespaces == ("a", "b")


@pytest.mark.parametrize(
    "environ",
    [
        {"QUORATE_OPERATOR_HTTP_PORT": "x"},
        {"QUORATE_OPERATOR_LOG_LEVEL": "loud"},
        {"QUORATE_OPERATOR_ROLLOUTS": "0"},
    ],
)
def test_a_bad_setting_is_named(environ):
    with pytest.raises(SettingsError, match=next(iter(environ))):
        load(environ)


def test_readiness_follows_the_api_and_liveness_only_ourselves():
    async def story():
        clock = Hands()
        pulse = health.Pulse(clock)
        async with (
            aiohttp.test_utils.TestServer(health.build(pulse)) as server,
            aiohttp.test_utils.TestClient(server) as http,
        ):

            async def states() -> tuple[int, int]:
                live, ready = await http.get("/livez"), await http.get("/readyz")
                return live.status, ready.status

            assert await states() == (200, 503)
            pulse.succeeded()
            assert await states() == (200, 200)
            clock.at = 400
            pulse.tried()
            assert await states() == (503, 503), "the loop has not turned"
            pulse.beat()
            assert await states() == (200, 503)
            clock.at = 800
            pulse.beat()
            assert await states() == (503, 503)
            pulse.standby = True
            assert await states() == (200, 200), "the standby has nothing to resync"
            metrics = await (await http.get("/metrics")).text()
            assert "quorate_operator_writes_total" in metrics

    asyncio.run(story())


def test_kopf_signs_in_with_the_token_of_the_moment():
    found = client.Configuration(host="https://api")
    found.ssl_ca_cert = "/ca"
    tokens = iter(["one", "two"])

    def refresh(configuration: client.Configuration) -> None:
        configuration.api_key["BearerToken"] = f"bearer {next(tokens)}"

    found.refresh_api_key_hook = refresh
    first = access.connection(found, NOW)
    second = access.connection(found, NOW)
    assert (first.token, second.token) == ("one", "two")
    assert (first.scheme, first.server, first.ca_path) == ("Bearer", "https://api", "/ca")
    assert first.expiration == NOW + access.TOKEN_LIFE


def nobody_hears() -> news.News:
    return news.News(health.Pulse(Hands()), lambda _: None)


def test_kopf_only_watches():
    registry = handlers.registry(nobody_hears(), lambda: None)
    assert len(list(registry._watching.get_all_handlers())) == 1 + len(news.WATCHED)
    for other in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert list(other.get_all_handlers()) == []


def test_what_was_imported_is_frozen_and_counts_as_no_garbage(monkeypatch):
    frozen: list[int] = []

    def run(story) -> None:
        story.close()
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(asyncio, "run", run)
    try:
        main()
    finally:
        gc.unfreeze()
    assert frozen[0] > 10_000


def test_no_task_of_kopfs_waits_long_for_more_about_an_object():
    assert handlers.settings().queueing.idle_timeout == 1


def test_kopf_remembers_nothing_of_the_objects_that_it_watches():
    memories = handlers.Forgetful()
    assert isinstance(memories, typing.get_type_hints(kopf.operator)["memories"])

    async def story():
        body = {"metadata": {"uid": "u", "name": "orders", "namespace": "shop"}}
        assert await memories.recall(body) is not await memories.recall(body)
        assert list(memories.iter_all_memories()) == []

    asyncio.run(story())


def test_an_event_wakes_the_cluster_that_it_belongs_to_if_it_is_news():
    woken: list[Key] = []
    registry = handlers.registry(news.News(health.Pulse(Hands()), woken.append), lambda: None)
    by_id = {handler.id: handler for handler in registry._watching.get_all_handlers()}

    def deliver(plural: str, kind: str | None, name: str, version: str, cluster: str = "") -> int:
        labels = {"quorate.dev/cluster": cluster} if cluster else {}
        metadata = {"namespace": "shop", "name": name, "labels": labels, "resourceVersion": version}
        handler = by_id[plural]
        event = {"type": kind, "object": {"metadata": metadata}}
        asyncio.run(handler.fn(event=event, param=handler.param, namespace="shop", name=name))
        return len(woken)

    assert deliver("brokerclusters", None, "orders", "7") == 1
    assert deliver("pods", "MODIFIED", "orders-broker-0", "8", cluster="orders") == 2
    assert deliver("pods", None, "orders-broker-0", "8", cluster="orders") == 2, "no news"
    assert deliver("pods", "DELETED", "orders-broker-0", "9", cluster="orders") == 3
    assert deliver("services", "ADDED", "x", "10", cluster="others") == 4
    assert woken == [Key("shop", "orders")] * 3 + [Key("shop", "others")]


def test_errors_of_the_api_are_told_apart():
    async def story():
        fake = FakeKubernetes()
        manifest = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "x", "namespace": "shop"},
            "spec": {"a": 1},
        }
        async with fake.serve() as configuration:
            kube = Kube(configuration)
            await kube.apply(manifest, "me", force=False)
            fake.own("services", "shop", "x", ("spec", "a"), 2)
            with pytest.raises(Conflict) as conflict:
                await kube.apply(manifest, "me", force=False)
            assert [str(owner) for owner in conflict.value.owners] == [".spec.a (set by somebody)"]
            fake.refuse["apply services/x"] = (422, "spec.a: too odd")
            with pytest.raises(KubeError, match="too odd") as refused:
                await kube.apply(manifest, "me", force=False)
            assert refused.value.final
            assert await kube.get("Service", "shop", "y") is None
            await kube.aclose()
        nobody = Kube(client.Configuration(host=configuration.host))
        with pytest.raises(KubeError, match="no answer") as silent:
            await nobody.all("Service", "shop")
        assert not silent.value.final
        await nobody.aclose()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1Gi", "1024Mi", True),
        ("1", "1000m", True),
        ("1G", "1Gi", False),
        ("0.5", "500m", True),
        ("x", "x", False),
    ],
)
def test_quantities_are_amounts_and_not_spellings(one, other, same):
    assert quantity.same(one, other) is same


def test_only_what_was_seen_is_deleted():
    async def story():
        fake = FakeKubernetes()
        pod = fake.put("pods", {"metadata": {"name": "x", "namespace": "shop"}})["metadata"]
        seen = Only(pod["uid"], pod["resourceVersion"])
        async with fake.serve() as configuration:
            kube = Kube(configuration)
            for other in ({"uid": "another"}, {"version": "1000"}):
                with pytest.raises(KubeError) as refused:
                    await kube.delete("Pod", "shop", "x", only=dataclasses.replace(seen, **other))
                assert refused.value.status == 409
            await kube.delete("Pod", "shop", "x", only=seen)
            assert fake.objects == {}
            await kube.aclose()

    asyncio.run(story())


def test_who_is_not_the_active_operator_reads_and_writes_nothing():
    async def story():
        fake = FakeKubernetes()
        async with fake.serve() as configuration:
            kube = Kube(configuration, may_write=lambda: False)
            assert await kube.all("Pod", "shop") == []
            with pytest.raises(KubeError, match="not the active one"):
                await kube.merge("Pod", "shop", "x", {"metadata": {}})
            assert fake.writes == []
            await kube.aclose()

    asyncio.run(story())


def test_a_watch_that_says_nothing_is_noticed_by_what_a_list_shows():
    clock = Hands()
    pulse = health.Pulse(clock)
    pod = health.Thing("pods", "shop", "orders-broker-0", "orders")

    def at(now: float, listed: str, heard: str = "") -> str:
        clock.at = now
        pulse.beat()
        pulse.tried()
        if heard:
            pulse.heard(pod, heard)
        pulse.listed("pods", {pod: listed})
        return pulse.trouble

    assert at(0, "1", heard="1") == ""
    assert at(60, "2") == ""
    assert at(120, "3", heard="2") == "", "late, but it comes"
    assert at(180, "4") == ""
    assert at(240, "5") == ""
    assert at(300, "5") == "the watch of pods does not deliver what a list shows"
    assert at(301, "5", heard="5") == ""
    clock.at = 600
    pulse.beat()
    pulse.tried()
    pulse.listed("pods", {pod: "6"})
    clock.at = 900
    pulse.beat()
    pulse.tried()
    assert pulse.trouble == "", "one list alone may have been older than the news"
    pulse.listed("pods", {pod: "6"})
    assert pulse.trouble == "the watch of pods does not deliver what a list shows"
    pulse.listed("pods", {})
    assert pulse.trouble == "", "what is gone is heard of no more"
