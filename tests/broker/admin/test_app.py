"""The Admin API over a fake view: paths, fields, errors."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence

import httpx
import pytest

from quorate_broker import config
from quorate_broker.admin import app, requests, serve
from quorate_broker.admin.flanking_registry import FlankingNode
from quorate_broker.admin.view import (
    BrokerInfo,
    Counters,
    Decommission,
    DiskSpace,
    Leaving,
    Overview,
    PartitionState,
    Standing,
)
from quorate_broker.api.principal import Operation, Principal, ResourceType
from quorate_broker.cluster import commands
from quorate_broker.errors import ErrorCode, KafkaError

HOST = "127.0.0.1"


def member(node_id: int, alive: bool = True) -> BrokerInfo:
    return BrokerInfo(
        node_id=node_id,
        incarnation=f"inc-{node_id}",
        is_alive=alive,
        rpc_host=f"b-{node_id}",
        rpc_port=33145,
        rack="a",
        version="1.2.3",
        num_cores=2,
        disks=(DiskSpace("/data", 50, 100),),
        feature_level=3,
        standing=Standing(4, True, ("a",), ("b",), ("c",)) if node_id == 1 else None,
    )


STANDING = {"version": 4, "restart": True, "invalid": ["a"], "unknown": ["b"], "own": ["c"]}


HEALTHY = Overview(
    version=7,
    cluster_id="c-uuid",
    controller_id=2,
    term=5,
    transitions=3,
    members=(member(1), member(2), member(3)),
    feature_level=2,
    newest_level=3,
    settings={"num.partitions": "7", "of.the.future": "x"},
    settings_version=4,
)
CONTROLLER = PartitionState(
    namespace="redpanda",
    topic="controller",
    partition=0,
    group_id=0,
    leader_id=2,
    term=5,
    replicas=(1, 2, 3),
    in_sync=(1, 2, 3),
    internal=True,
)
LOGS = PartitionState(
    namespace="kafka",
    topic="logs",
    partition=1,
    group_id=9,
    leader_id=3,
    term=2,
    replicas=(3, 1),
    in_sync=(3,),
    high_watermark=42,
)
FLANKING = FlankingNode(
    node_id=101, pod="q-flanking-0", incarnation="x", ready=True, version="1", proxy="h:1"
)


class FakeView:
    version = "1.2.3"

    def __init__(self) -> None:
        listener = config.Listener("plain", "0.0.0.0", 9092, "none", "b-1:9092", "b-1", 9092)
        seeds = (config.Seed(1, "b-1", 33145), config.Seed(2, "b-2", 33145))
        self.settings = config.Settings(node_id=1, listeners=(listener,), seeds=seeds)
        self.ready = True
        self.now = HEALTHY
        self.states: tuple[PartitionState, ...] = (CONTROLLER, LOGS)
        self.transferred: list[tuple[int, int | None]] = []
        self.registered: list[FlankingNode] = []
        self.removed: list[tuple[int, str]] = []
        self.drained: list[tuple[int, bool]] = []
        self.changes: list[commands.ChangeSettings] = []
        self.problems: dict[str, str] = {}
        self.levels: list[int] = []
        self.leaving: dict[int, Decommission | None] = {}
        self.error: Exception | None = None
        self.waiting: list[asyncio.Future[None]] = []
        self.waited_for = asyncio.Event()
        self.forgotten = asyncio.Event()

    def overview(self) -> Overview:
        return self.now

    def partitions(self) -> Sequence[PartitionState]:
        return self.states

    def counters(self) -> Counters:
        return Counters(uptime_seconds=1.5, cpu_seconds=0.5, resident_bytes=1 << 20)

    async def changed(self, after: int) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        self.waited_for.set()
        try:
            await future
        finally:
            self.waiting.remove(future)
            self.forgotten.set()

    def become(self, overview: Overview) -> None:
        self.now = overview
        for future in self.waiting:
            future.set_result(None)

    async def transfer_leadership(self, group_id: int, target: int | None) -> None:
        if self.error is not None:
            raise self.error
        self.transferred.append((group_id, target))

    def load(self) -> tuple[int, int]:
        return 4, 3

    async def change_settings(self, command: commands.ChangeSettings) -> commands.SettingsResult:
        self.changes.append(command)
        return commands.SettingsResult(5, self.problems)

    async def raise_level(self, level: int) -> None:
        self.levels.append(level)

    async def decommission(self, node_id: int, draining: bool) -> None:
        if self.error is not None:
            raise self.error
        self.drained.append((node_id, draining))

    def decommission_status(self, node_id: int) -> Decommission | None:
        return self.leaving[node_id]

    async def register_flanking(self, node: FlankingNode) -> None:
        if self.error is not None:
            raise self.error
        self.registered.append(node)

    async def remove_flanking(self, node_id: int, incarnation: str) -> None:
        self.removed.append((node_id, incarnation))


def ask(view: FakeView, method: str, path: str, **content: object) -> httpx.Response:
    """One request, straight into the app."""

    async def one() -> httpx.Response:
        transport = httpx.ASGITransport(app.build(view), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://q") as client:
            return await client.request(method, path, **content)  # type: ignore[arg-type]

    return asyncio.run(one())


def get(view: FakeView, path: str) -> object:
    answer = ask(view, "GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_health_overview_has_all_the_fields_a_supervisor_reads() -> None:
    assert get(FakeView(), "/v1/cluster/health_overview") == {
        "is_healthy": True,
        "unhealthy_reasons": [],
        "controller_id": 2,
        "all_nodes": [1, 2, 3],
        "nodes_down": [],
        "nodes_in_recovery_mode": [],
        "leaderless_partitions": [],
        "leaderless_count": 0,
        "under_replicated_partitions": [],
        "under_replicated_count": 0,
        "high_disk_usage_nodes": [],
        "bytes_in_cloud_storage": None,
        "cluster_id": "c-uuid",
        "term": 5,
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"controller_id": -1, "term": -1}, "no_elected_controller"),
        ({"members": (member(1), member(2, alive=False))}, "nodes_down"),
        ({"unavailable_partitions": ("kafka/t/0",)}, "leaderless_partitions"),
    ],
)
def test_each_cause_alone_makes_the_cluster_unhealthy(
    change: dict[str, object], reason: str
) -> None:
    view = FakeView()
    view.now = dataclasses.replace(HEALTHY, **change)  # type: ignore[arg-type]
    health = get(view, "/v1/cluster/health_overview")
    assert isinstance(health, dict)
    assert health["is_healthy"] is False
    assert health["unhealthy_reasons"] == [reason]
    watch = get(view, "/v1/watch")
    assert isinstance(watch, dict)
    assert watch["healthy"] is False


def test_under_replication_alone_is_told_but_healthy() -> None:
    view = FakeView()
    many = tuple(f"kafka/t/{i}" for i in range(200))
    view.now = dataclasses.replace(HEALTHY, under_replicated_partitions=many)
    health = get(view, "/v1/cluster/health_overview")
    assert isinstance(health, dict)
    assert health["is_healthy"] is True
    assert health["under_replicated_count"] == 200
    assert len(health["under_replicated_partitions"]) == 128


def test_ready_speaks_of_this_node_alone() -> None:
    view = FakeView()
    view.now = dataclasses.replace(HEALTHY, members=(member(1), member(2, alive=False)))
    assert get(view, "/v1/status/ready") == {"status": "ready"}
    view.ready = False
    answer = ask(view, "GET", "/v1/status/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "booting"})


def test_brokers_agree_with_the_overview() -> None:
    view = FakeView()
    brokers = get(view, "/v1/brokers")
    assert isinstance(brokers, list)
    assert [one["node_id"] for one in brokers] == [1, 2, 3]
    assert brokers[0] == get(view, "/v1/brokers/1")
    assert brokers[0]["internal_rpc_address"] == "b-1"
    assert brokers[0]["membership_status"] == "active"
    assert brokers[0]["disk_space"] == [{"path": "/data", "free": 50, "total": 100}]
    assert brokers[0]["maintenance_status"]["draining"] is False
    assert get(view, "/v1/cluster_view") == {"version": 7, "brokers": brokers}
    assert get(view, "/v1/cluster/uuid") == {"cluster_uuid": "c-uuid"}
    uuids = get(view, "/v1/broker_uuids")
    assert uuids == [{"node_id": i, "uuid": f"inc-{i}"} for i in (1, 2, 3)]


def test_an_unknown_broker_is_a_404_with_message_and_code() -> None:
    answer = ask(FakeView(), "GET", "/v1/brokers/9")
    assert answer.status_code == 404
    assert answer.json() == {"message": "broker with id 9 not found", "code": 404}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/brokers", 405),
        ("GET", "/v1/brokers/x", 404),
        ("GET", "/v1/watch?after=x", 400),
        ("GET", "/v1/partitions/kafka/none", 404),
        ("GET", "/v1/partitions/kafka/logs/7", 404),
        ("POST", "/v1/raft/77/transfer_leadership", 404),
        ("POST", "/v1/raft/9/transfer_leadership?target=x", 400),
        ("POST", "/v1/raft/9/transfer_leadership?target=2", 400),
        ("PUT", "/v1/flanking/3", 400),
        ("DELETE", "/v1/flanking/101", 400),
    ],
)
def test_every_refusal_is_json_with_message_and_code(method: str, path: str, status: int) -> None:
    answer = ask(FakeView(), method, path)
    assert answer.status_code == status
    assert answer.json()["code"] == status
    assert answer.json()["message"]


def test_a_cluster_that_is_not_formed_has_no_uuid() -> None:
    view = FakeView()
    view.now = dataclasses.replace(HEALTHY, cluster_id="", members=())
    assert ask(view, "GET", "/v1/cluster/uuid").status_code == 404


def test_node_config_is_flat_and_has_the_node_id_and_addresses() -> None:
    values = get(FakeView(), "/v1/node_config")
    assert isinstance(values, dict)
    assert values["node_id"] == 1
    assert values["data_directory"] == "/var/lib/quorate"
    assert values["advertised_kafka_api"] == [{"name": "plain", "address": "b-1", "port": 9092}]
    assert values["seed_servers"][1] == {"host": {"address": "b-2", "port": 33145}, "node_id": 2}
    assert values["advertised_rpc_api"] == {"address": "b-1", "port": 33145}
    assert "num_partitions" not in values


def test_the_controller_is_partition_0_of_redpanda_controller() -> None:
    view = FakeView()
    state = get(view, "/v1/partitions/redpanda/controller/0")
    assert isinstance(state, dict)
    assert state["leader_id"] == view.now.controller_id
    assert state["raft_group_id"] == 0
    assert state["replicas"] == [{"node_id": i, "core": 0} for i in (1, 2, 3)]


def test_partitions_are_listed_by_topic_and_summed_up() -> None:
    view = FakeView()
    lost = dataclasses.replace(LOGS, partition=2, leader_id=-1, replicas=(2, 3), group_id=10)
    view.states = (CONTROLLER, LOGS, lost)
    topic = get(view, "/v1/partitions/kafka/logs")
    assert isinstance(topic, list)
    assert [one["partition_id"] for one in topic] == [1, 2]
    assert topic[0] == {
        "ns": "kafka",
        "topic": "logs",
        "partition_id": 1,
        "status": "done",
        "leader_id": 3,
        "raft_group_id": 9,
        "replicas": [{"node_id": 3, "core": 0}, {"node_id": 1, "core": 0}],
        "disabled": False,
        "term": 2,
        "in_sync_replicas": [3],
    }
    summary = get(view, "/v1/partitions/local_summary")
    assert summary == {"count": 2, "leaderless": 0, "under_replicated": 1}
    everywhere = get(view, "/v1/cluster/partitions")
    assert isinstance(everywhere, list)
    assert [one["topic"] for one in everywhere] == ["logs", "logs"]


def test_leadership_is_transferred_by_partition_and_by_group() -> None:
    view = FakeView()
    paths = [
        "/v1/partitions/kafka/logs/1/transfer_leadership?target=1",
        "/v1/partitions/redpanda/controller/0/transfer_leadership",
        "/v1/raft/0/transfer_leadership?target=3",
    ]
    for path in paths:
        assert ask(view, "POST", path).status_code == 200
    assert view.transferred == [(9, 1), (0, None), (0, 3)]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, 503),
        (ErrorCode.REQUEST_TIMED_OUT, 504),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 404),
        (ErrorCode.REPLICA_NOT_AVAILABLE, 400),
        (ErrorCode.UNKNOWN_SERVER_ERROR, 500),
    ],
)
def test_a_transfer_that_fails_says_so(code: ErrorCode, status: int) -> None:
    view = FakeView()
    view.error = KafkaError(code, "no")
    answer = ask(view, "POST", "/v1/raft/0/transfer_leadership")
    assert (answer.status_code, answer.json()["code"]) == (status, status)


def test_our_own_bug_is_a_500_in_the_same_shape() -> None:
    view = FakeView()
    view.error = RuntimeError("boom")
    answer = ask(view, "POST", "/v1/raft/0/transfer_leadership")
    assert answer.status_code == 500
    assert answer.json() == {"message": "internal error: RuntimeError", "code": 500}


def test_a_broker_is_decommissioned_and_that_is_taken_back() -> None:
    view = FakeView()
    assert ask(view, "PUT", "/v1/brokers/3/decommission").status_code == 200
    assert ask(view, "PUT", "/v1/brokers/3/recommission").status_code == 200
    assert view.drained == [(3, True), (3, False)]
    for code, status in (
        (ErrorCode.RESOURCE_NOT_FOUND, 404),
        (ErrorCode.INVALID_REQUEST, 400),
        (ErrorCode.NOT_CONTROLLER, 503),
    ):
        view.error = KafkaError(code, "no")
        assert ask(view, "PUT", "/v1/brokers/3/decommission").status_code == status


def test_the_progress_of_a_decommission_has_the_fields_that_redpandas_clients_read() -> None:
    view = FakeView()
    going = Leaving(namespace="kafka", topic="t", partition=1, moving_to=(4,), size_bytes=9)
    waiting = Leaving(namespace="kafka", topic="t", partition=2, moving_to=(), size_bytes=0)
    view.leaving = {
        1: Decommission(finished=False, partitions=(going, waiting), stuck=("kafka/t/2",)),
        2: Decommission(finished=True),
        3: None,
    }
    told = get(view, "/v1/brokers/1/decommission")
    assert told == {
        "finished": False,
        "replicas_left": 2,
        "allocation_failures": ["kafka/t/2"],
        "partitions": [
            {
                "ns": "kafka",
                "topic": "t",
                "partition": number,
                "moving_to": {"node_id": target, "core": 0},
                "bytes_left_to_move": size,
                "bytes_moved": 0,
                "partition_size": size,
            }
            for number, target, size in ((1, 4, 9), (2, -1, 0))
        ],
    }
    done = get(view, "/v1/brokers/2/decommission")
    assert done == {
        "finished": True,
        "replicas_left": 0,
        "allocation_failures": [],
        "partitions": [],
    }
    assert ask(view, "GET", "/v1/brokers/3/decommission").status_code == 400
    assert ask(view, "GET", "/v1/brokers/9/decommission").status_code == 404


def test_a_flanking_node_registers_is_listed_and_leaves() -> None:
    view = FakeView()
    body = {"pod": "q-flanking-0", "incarnation": "x", "ready": True, "version": "1"}
    answer = ask(view, "PUT", "/v1/flanking/101", json={**body, "proxy": "h:1"})
    assert (answer.status_code, answer.json()) == (200, {"ttl_ms": 10_000})
    assert view.registered == [FLANKING]
    view.now = dataclasses.replace(HEALTHY, flanking=(FLANKING,))
    listed = get(view, "/v1/flanking")
    watch = get(view, "/v1/watch")
    assert isinstance(watch, dict)
    assert listed == watch["flanking"] == [{"node_id": 101, **body, "proxy": "h:1"}]
    assert ask(view, "DELETE", "/v1/flanking/101?incarnation=x").status_code == 204
    assert view.removed == [(101, "x")]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"pod": 1}', b'{"pod":"a","incarnation":"b","leader":true}']
)
def test_a_malformed_registration_is_refused(body: bytes) -> None:
    view = FakeView()
    answer = ask(view, "PUT", "/v1/flanking/101", content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == 400
    assert view.registered == []


def test_a_registration_without_a_leader_is_a_503() -> None:
    view = FakeView()
    view.error = KafkaError(ErrorCode.NOT_CONTROLLER, None)
    body = {"pod": "p", "incarnation": "x"}
    assert ask(view, "PUT", "/v1/flanking/101", json=body).status_code == 503


def test_a_body_that_is_too_long_is_not_read_to_its_end() -> None:
    answer = ask(
        FakeView(), "PUT", "/v1/flanking/101", content=b"x" * (requests.MAX_BODY_BYTES + 1)
    )
    assert (answer.status_code, answer.json()["code"]) == (413, 413)


def test_metrics_tell_of_cluster_topics_and_process() -> None:
    view = FakeView()
    answer = ask(view, "GET", "/public_metrics")
    assert answer.status_code == 200
    lines = answer.text.splitlines()
    labels = '{redpanda_namespace="kafka",redpanda_partition="1",redpanda_topic="logs"}'
    for line in (
        "redpanda_cluster_brokers 3.0",
        "redpanda_cluster_topics 1.0",
        "redpanda_cluster_partitions 1.0",
        "redpanda_cluster_unavailable_partitions 0.0",
        "quorate_cluster_leader 0.0",
        "quorate_cluster_term 5.0",
        "quorate_cluster_leader_transitions_total 3.0",
        "redpanda_cpu_busy_seconds_total 0.5",
        f"redpanda_kafka_max_offset{labels} 42.0",
        'redpanda_kafka_replicas{redpanda_namespace="kafka",redpanda_topic="logs"} 2.0',
    ):
        assert line in lines


class NobodyAlters:
    def __init__(self) -> None:
        self.asked: list[tuple[str, Operation]] = []

    def allows(
        self, principal: Principal, operation: Operation, resource: ResourceType, name: str
    ) -> bool:
        self.asked.append((str(principal), operation))
        return operation is Operation.DESCRIBE


def test_the_authorizer_is_asked_about_everything_but_the_probe() -> None:
    view, authorizer = FakeView(), NobodyAlters()

    async def three() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app.build(view, authorizer))
        async with httpx.AsyncClient(transport=transport, base_url="http://q") as client:
            return [
                await client.get("/v1/status/ready"),
                await client.get("/v1/brokers"),
                await client.post("/v1/raft/0/transfer_leadership"),
            ]

    ready, brokers, transfer = asyncio.run(three())
    assert (ready.status_code, brokers.status_code, transfer.status_code) == (200, 200, 403)
    assert transfer.json()["code"] == 403
    assert view.transferred == []
    assert authorizer.asked == [
        ("User:ANONYMOUS", Operation.DESCRIBE),
        ("User:ANONYMOUS", Operation.ALTER),
    ]


async def watching(
    view: FakeView, path: str, then: Callable[[serve.HttpServer], None] | None
) -> tuple[httpx.Response, float]:
    """GET `path` over a real socket; `then` happens once the view is being waited for."""
    loop = asyncio.get_running_loop()
    async with serve.serving(app.build(view), HOST, 0) as server:
        async with asyncio.TaskGroup() as group, httpx.AsyncClient() as client:
            started = loop.time()
            asked = group.create_task(client.get(f"http://{HOST}:{server.port}{path}"))
            if then is not None:
                await view.waited_for.wait()
                then(server)
            answer = await asked
        return answer, loop.time() - started


def test_a_watch_answers_at_once_when_the_version_is_another_one() -> None:
    for after in (-1, 6, 99):
        answer, _ = asyncio.run(watching(FakeView(), f"/v1/watch?after={after}", None))
        assert answer.json() == {
            "version": 7,
            "cluster_id": "c-uuid",
            "leader": {"node_id": 2, "term": 5},
            "transitions": 3,
            "members": [
                {
                    "node_id": i,
                    "incarnation": f"inc-{i}",
                    "alive": True,
                    "membership_status": "active",
                    "rack": "a",
                    "version": "1.2.3",
                    "feature_level": 3,
                    "config": STANDING if i == 1 else None,
                }
                for i in (1, 2, 3)
            ],
            "feature_level": 2,
            "config_version": 4,
            "config": {"num.partitions": "7", "of.the.future": "x"},
            "departed": [],
            "flanking": [],
            "healthy": True,
            "unhealthy_reasons": [],
            "under_replicated": False,
        }


def test_a_watch_answers_when_something_changes() -> None:
    view = FakeView()
    lost = dataclasses.replace(HEALTHY, version=8, controller_id=-1, term=-1)
    answer, _ = asyncio.run(watching(view, "/v1/watch?after=7", lambda _: view.become(lost)))
    assert answer.json()["version"] == 8
    assert answer.json()["leader"] is None
    assert view.waiting == []


def test_a_watch_gives_up_after_its_timeout_with_the_same_version() -> None:
    view = FakeView()
    answer, seconds = asyncio.run(watching(view, "/v1/watch?after=7&timeout_ms=50", None))
    assert (answer.status_code, answer.json()["version"]) == (200, 7)
    assert 0.04 < seconds < 5
    assert view.waiting == []


def test_a_watch_is_answered_when_the_server_closes() -> None:
    view = FakeView()
    answer, seconds = asyncio.run(
        watching(view, "/v1/watch?after=7", lambda server: server.close())
    )
    assert answer.json()["version"] == 7
    assert seconds < 5


def test_a_watcher_that_hangs_up_is_forgotten() -> None:
    view = FakeView()

    async def scenario() -> None:
        async with serve.serving(app.build(view), HOST, 0) as server:
            _, writer = await asyncio.open_connection(HOST, server.port)
            writer.write(b"GET /v1/watch?after=7 HTTP/1.1\r\nHost: q\r\n\r\n")
            await view.waited_for.wait()
            writer.close()
            await writer.wait_closed()
            async with asyncio.timeout(5):
                await view.forgotten.wait()
            assert view.waiting == []

    asyncio.run(scenario())


def test_watchers_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAX_WATCHERS", 0)
    answer = ask(FakeView(), "GET", "/v1/watch?after=7")
    assert (answer.status_code, answer.json()["code"]) == (429, 429)
