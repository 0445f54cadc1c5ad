"""The cluster's settings, its feature level and the restart probes, over a fake view."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from quorate_broker import config
from quorate_broker.admin import app, probes
from quorate_broker.admin.view import BrokerInfo, Overview, PartitionState, Standing
from quorate_broker.cluster import commands


class FakeView:
    """As far as these paths look."""

    def __init__(self) -> None:
        self.settings = config.Settings(node_id=1)
        self.changes: list[commands.ChangeSettings] = []
        self.problems: dict[str, str] = {}
        self.levels: list[int] = []
        self.loaded = (4, 3)
        self.level = 2
        self.known = 3
        self.states: tuple[PartitionState, ...] = ()

    def overview(self) -> Overview:
        standings = (Standing(4, True, ("a",), ("b",)), None)
        return Overview(
            version=7,
            cluster_id="c",
            controller_id=1,
            term=5,
            transitions=3,
            members=tuple(
                BrokerInfo(
                    node_id=number,
                    incarnation=f"inc-{number}",
                    is_alive=True,
                    rpc_host="h",
                    rpc_port=1,
                    feature_level=self.known,
                    standing=standing,
                )
                for number, standing in enumerate(standings, 1)
            ),
            feature_level=self.level,
            newest_level=3,
            settings={"num.partitions": "7", "of.the.future": "x"},
            settings_version=4,
        )

    def partitions(self) -> tuple[PartitionState, ...]:
        return self.states

    def load(self) -> tuple[int, int]:
        return self.loaded

    async def change_settings(self, command: commands.ChangeSettings) -> commands.SettingsResult:
        self.changes.append(command)
        return commands.SettingsResult(5, self.problems)

    async def raise_level(self, level: int) -> None:
        self.levels.append(level)


def ask(view: FakeView, method: str, path: str, **content: Any) -> httpx.Response:
    async def one() -> httpx.Response:
        transport = httpx.ASGITransport(app.build(view), raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://q") as client:
            return await client.request(method, path, **content)

    return asyncio.run(one())


def get(path: str, view: FakeView | None = None) -> Any:
    answer = ask(view or FakeView(), "GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_values_are_typed_and_have_the_defaults_unless_told_otherwise() -> None:
    found = get("/v1/cluster_config")
    assert found["num.partitions"] == 7
    assert found["auto.create.topics.enable"] is True
    assert found["of.the.future"] == "x"
    assert "rpc.port" not in found, "that is a node's own"
    assert get("/v1/cluster_config?include_defaults=false") == {
        "num.partitions": 7,
        "of.the.future": "x",
    }


def test_one_value_is_found_by_kafkas_name_and_by_the_admin_apis() -> None:
    for name in ("num.partitions", "default_topic_partitions"):
        assert get(f"/v1/cluster_config?key={name}") == {"num.partitions": 7}
    assert ask(FakeView(), "GET", "/v1/cluster_config?key=nothing").status_code == 404


def test_a_change_goes_to_the_leader_as_texts_under_kafkas_names() -> None:
    view = FakeView()
    body = {
        "upsert": {
            "default_topic_partitions": 9,
            "log.cleaner.enable": False,
            "max.connections": None,
        },
        "remove": ["fetch_max_bytes"],
    }
    answer = ask(view, "PUT", "/v1/cluster_config", json=body)
    assert (answer.status_code, answer.json()) == (200, {"config_version": 5})
    (change,) = view.changes
    assert change.put == {"num.partitions": "9", "log.cleaner.enable": "false"}
    assert set(change.drop) == {"fetch.max.bytes", "max.connections"}
    assert not change.validate_only


def test_what_speaks_against_a_change_is_told_by_name_with_400() -> None:
    view = FakeView()
    view.problems = {"num.partitions": "must be an integer, not 'x'"}
    body = {"upsert": {"num.partitions": "x"}}
    answer = ask(view, "PUT", "/v1/cluster_config?dry_run=true", json=body)
    assert answer.status_code == 400
    assert answer.json() == view.problems
    assert view.changes[0].validate_only


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"upsert": 1}', b'{"put": {}}'])
def test_a_change_of_another_shape_is_refused(body: bytes) -> None:
    view = FakeView()
    assert ask(view, "PUT", "/v1/cluster_config", content=body).status_code == 400
    assert view.changes == []


def test_the_schema_says_what_needs_a_restart() -> None:
    found = get("/v1/cluster_config/schema")["properties"]
    assert found.keys() == {
        name for name, row in config.SETTINGS.items() if row.scope is not config.Scope.NODE
    }
    assert found["raft.election.timeout.ms"]["needs_restart"] is True
    partitions = found["num.partitions"]
    assert partitions["needs_restart"] is False
    assert partitions["type"] == "integer"
    assert partitions["aliases"] == ["default_topic_partitions"]
    assert "compact" in found["log.cleanup.policy"]["enum_values"]
    for one in found.values():
        assert one.keys() >= {"type", "description", "nullable", "visibility", "is_secret"}


def test_the_status_tells_of_each_broker_which_version_it_runs_and_what_it_cannot() -> None:
    assert get("/v1/cluster_config/status") == [
        {"node_id": 1, "restart": True, "config_version": 4, "invalid": ["a"], "unknown": ["b"]},
        {"node_id": 2, "restart": False, "config_version": -1, "invalid": [], "unknown": []},
    ]


def test_features_are_active_available_or_not() -> None:
    view = FakeView()
    found = get("/v1/features", view)
    assert (found["cluster_version"], found["node_latest_version"]) == (2, 3)
    states = {one["name"]: one["state"] for one in found["features"]}
    assert states == {"membership_changes": "active", "cluster_settings": "available"}
    view.known = 2
    assert get("/v1/features", view)["features"][1]["state"] == "unavailable"
    view.level = 3
    assert get("/v1/features", view)["features"][1]["state"] == "active"


def test_a_feature_is_made_active_and_never_taken_back() -> None:
    view = FakeView()
    path = "/v1/features/cluster_settings"
    assert ask(view, "PUT", path, json={"state": "active"}).status_code == 200
    assert view.levels == [3]
    assert ask(view, "PUT", path, json={"state": "disabled"}).status_code == 400
    assert ask(view, "PUT", "/v1/features/none", json={"state": "active"}).status_code == 404


def state(replicas: tuple[int, ...], in_sync: tuple[int, ...], leader: int = 2) -> PartitionState:
    return PartitionState(
        namespace="kafka",
        topic="t",
        partition=0,
        group_id=1,
        leader_id=leader,
        replicas=replicas,
        in_sync=in_sync,
    )


@pytest.mark.parametrize(
    ("one", "at_risk"),
    [
        (state((1, 2, 3), (1, 2, 3)), set()),
        (state((1, 2, 3), (2, 3)), set()),
        (state((1, 2, 3), (1, 2)), {"unavailable", "full_acks_produce_unavailable"}),
        (state((2, 3), (2,)), set()),
        (state((1,), (1,), leader=1), {"rf1_offline"}),
        (state((1, 2), (1, 2)), {"unavailable", "full_acks_produce_unavailable"}),
        (
            state((1, 2, 3), (1,), leader=1),
            {"unavailable", "full_acks_produce_unavailable", "acks1_data_loss"},
        ),
    ],
)
def test_the_risks_of_a_restart_are_those_of_partitions_that_need_this_broker(
    one: PartitionState, at_risk: set[str]
) -> None:
    found = probes.risks([one], me=1)
    assert {name for name, paths in found.items() if paths} == at_risk
    view = FakeView()
    view.states = (one,)
    assert get("/v1/broker/pre_restart_probe", view) == {"risks": found}
    assert not any(get("/v1/broker/pre_restart_probe?limit=0", view)["risks"].values())


def test_the_load_that_was_taken_up_again_is_told_in_percent() -> None:
    view = FakeView()
    assert get("/v1/broker/post_restart_probe", view) == {"load_reclaimed_pc": 75}
    view.loaded = (0, 0)
    assert get("/v1/broker/post_restart_probe", view) == {"load_reclaimed_pc": 100}
