"""`kubectl quorate`, before a kubectl that says what it is told to."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Sequence
from typing import Any

import pytest
import typer.testing

from quorate_operator.cli import app, talk
from quorate_operator.cli.talk import CommandFailed, Kubectl
from quorate_operator.plan.blocked import Blocked, Reason

NODES = [
    {"nodeId": n, "pod": f"orders-broker-{n - 1}", "role": "broker", "state": "active",
     "ready": n != 3, "leader": n == 2}
    for n in (1, 2, 3)
]  # fmt: skip
HELD = Blocked(Reason.UNDER_REPLICATED, "kafka/orders/0")
CLUSTER: dict[str, Any] = {
    "metadata": {"name": "orders", "namespace": "shop", "generation": 4},
    "spec": {"replicas": 5},
    "status": {
        "observedGeneration": 4,
        "readyText": "2/3",
        "version": "0.1.0",
        "effectiveReplicas": 3,
        "leader": {"nodeId": 2, "pod": "orders-broker-1", "epoch": 7},
        "nodes": NODES,
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Serving", "message": "Served."},
            {"type": "Reconciling", "status": "True", "reason": "Rolling",
             "message": "Brokers are restarted one by one."},
            {"type": "Insecure", "status": "True", "reason": "NoAuthentication", "message": "!"},
        ],
        "rollout": {
            "revision": "orders-broker-6d8",
            "current": "orders-broker-0",
            "remaining": [{"pod": "orders-broker-0", "reason": "ImageChanged"}],
            "acceptedRisks": ["kafka/single/0"],
        },
        "blockedBy": [
            {"reason": HELD.reason.value, "subject": HELD.subject, "message": HELD.sentence}
        ],
    },
}  # fmt: skip


class Fake:
    """Answers by what the words contain, and keeps them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, str] = {
            "get brokerclusters.quorate.dev orders": json.dumps(CLUSTER),
            "get brokerclusters.quorate.dev --output": json.dumps({"items": [CLUSTER]}),
        }
        self.fails: tuple[str, ...] = ()

    def __call__(self, words: Sequence[str]) -> str:
        text = " ".join(words)
        self.asked.append(text)
        if any(one in text for one in self.fails):
            raise CommandFailed("Error from server (Forbidden)")
        for part, answer in self.answers.items():
            if part in text:
                return answer
        return json.dumps({"items": []}) if "--output=json" in text else ""


@pytest.fixture
def fake(monkeypatch) -> Fake:
    found = Fake()
    monkeypatch.setattr(app, "Kubectl", lambda *where: Kubectl(*where, runs=found))
    return found


def invoke(*words: str) -> str:
    result = typer.testing.CliRunner().invoke(
        app.APP, list(words), env={"COLUMNS": "200"}, catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_status_lists_clusters_or_shows_one(fake):
    every = invoke("status")
    assert "orders" in every
    assert "changing" in every
    one = invoke("status", "orders")
    assert "orders-broker-2" in one
    assert "Brokers are restarted one by one." in one


def test_everything_that_is_shown_can_be_had_as_json(fake):
    assert json.loads(invoke("status", "-o", "json"))[0]["leader"] == "orders-broker-1"
    assert json.loads(invoke("status", "orders", "-o", "json"))["nodes"] == NODES
    found = json.loads(invoke("explain", "orders", "-o", "json"))
    assert found["waits"] == CLUSTER["status"]["blockedBy"]
    assert found["size"] == {"wanted": 5, "now": 3}


def test_explain_says_what_waits_in_the_operators_own_words(fake):
    said = invoke("explain", "orders")
    assert f"waits: UnderReplicated: {HELD.sentence}" in said
    assert "to be restarted: orders-broker-0 (ImageChanged) <- its turn" in said
    assert "accepted risk: kafka/single/0" in said
    assert "3 on the way to 5" in said


def test_rolling_is_one_annotation(fake):
    invoke("roll", "orders", "-n", "shop")
    assert fake.asked[-1].startswith(
        "--namespace=shop annotate brokerclusters.quorate.dev orders quorate.dev/restart=20"
    )


def test_approving_names_the_revision_that_was_seen(fake):
    invoke("roll", "orders", "--approve")
    assert "quorate.dev/approved=orders-broker-6d8 --overwrite" in fake.asked[-1]
    fake.answers["get brokerclusters.quorate.dev orders"] = json.dumps(CLUSTER | {"status": {}})
    with pytest.raises(CommandFailed, match="nothing waits"):
        invoke("roll", "orders", "--approve")


def test_approving_is_a_command_of_its_own_too(fake):
    assert "orders-broker-6d8 is approved" in invoke("approve", "orders")


@pytest.mark.parametrize(
    ("command", "patch"),
    [
        ("hibernate", {"hibernate": True}),
        ("wake", {"hibernate": False}),
        ("pause", {"paused": True}),
        ("resume", {"paused": False}),
    ],
)
def test_sleeping_and_pausing_are_one_field_each(fake, command, patch):
    invoke(command, "orders")
    wanted = json.dumps({"spec": patch})
    assert fake.asked[-1] == (
        f"patch brokerclusters.quorate.dev orders --type=merge --patch={wanted}"
    )


def test_a_volume_is_given_up_by_its_own_uid(fake):
    claim = {"metadata": {"name": "data-orders-broker-2", "uid": "uid-7"}}
    fake.answers["get persistentvolumeclaims"] = json.dumps({"items": [claim]})
    invoke("unbind", "orders", "--node", "3")
    assert "quorate.dev/unbind=uid-7" in fake.asked[-1]
    for other in ("1", "9"):
        with pytest.raises(CommandFailed, match=f"no broker {other} with a volume"):
            invoke("unbind", "orders", "--node", other)


def test_topics_are_told_by_the_leader_with_what_is_wrong(fake):
    def partition(topic: str, leader: int, in_sync: list[int]) -> dict[str, Any]:
        replicas = [{"node_id": n} for n in (1, 2, 3)]
        return {"ns": "kafka", "topic": topic, "leader_id": leader, "replicas": replicas,
                "in_sync_replicas": in_sync}  # fmt: skip

    fake.answers["/v1/partitions"] = json.dumps(
        [
            partition("b", 1, [1, 2, 3]),
            partition("a", -1, []),
            partition("a", 2, [2, 3]),
            {"ns": "redpanda", "topic": "controller"},
        ]
    )
    assert json.loads(invoke("topics", "orders", "-o", "json")) == [
        {"topic": "a", "partitions": 2, "replicas": 3, "leaderless": 1, "behind": 2},
        {"topic": "b", "partitions": 1, "replicas": 3, "leaderless": 0, "behind": 0},
    ]
    assert "pods/orders-broker-1:9644" in fake.asked[-1]
    assert "LEADERLESS" in invoke("topics", "orders")


def test_status_can_be_watched_until_interrupted(fake, monkeypatch):
    looks = iter([None, None])

    def pause(_: float) -> None:
        if next(looks, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr(app, "pause", pause)
    assert "orders" in invoke("status", "--watch")
    assert len(fake.asked) == 3
    with pytest.raises(CommandFailed, match="leave -o json out"):
        invoke("status", "--watch", "-o", "json")


def test_every_command_has_an_example(fake):
    for command in app.APP.registered_commands:
        assert command.epilog
        assert command.epilog.startswith("Example: kubectl quorate ")


def test_the_lead_is_handed_over_by_the_leader_itself(fake):
    assert "hands the lead over to broker 3" in invoke("transfer-leader", "orders", "--to", "3")
    assert (
        "create --raw=/api/v1/namespaces/shop/pods/orders-broker-1:9644/proxy"
        "/v1/raft/0/transfer_leadership?target=3 --filename=/dev/null"
    ) in fake.asked[-1]
    asked = len(fake.asked)
    assert "leads already" in invoke("transfer-leader", "orders", "--to", "2")
    assert len(fake.asked) == asked + 1


def test_logs_of_one_node_or_of_all(fake):
    fake.answers["logs"] = "something\n"
    assert invoke("logs", "orders", "--node", "3", "--tail", "5") == "something\n"
    assert fake.asked[-1] == "logs orders-broker-2 --tail=5 --prefix --ignore-errors"
    invoke("logs", "orders")
    assert "--selector=quorate.dev/cluster=orders" in fake.asked[-1]
    with pytest.raises(CommandFailed, match="no node 9"):
        invoke("logs", "orders", "--node", "9")


def test_a_bundle_holds_what_can_be_had_and_why_the_rest_cannot(fake, tmp_path):
    pod = {
        "metadata": {"name": "orders-broker-0", "managedFields": [{}]},
        "spec": {"containers": [{"name": "broker", "env": [{"name": "PASSWORD", "value": "x"}]}]},
    }
    fake.answers["get pods"] = json.dumps({"items": [pod]})
    fake.answers["--raw="] = json.dumps({"is_healthy": True})
    fake.fails = ("get configmaps", "--previous", "orders-broker-2:9644")
    target = tmp_path / "found.tar.gz"
    invoke("bundle", "orders", "--file", str(target))
    with tarfile.open(target) as archive:
        names = set(archive.getnames())
        pods = archive.extractfile("orders-bundle/pods.json")
        assert pods is not None
        text = pods.read().decode()
    assert "PASSWORD" not in text
    assert "managedFields" not in text
    assert {
        "orders-bundle/brokercluster.json",
        "orders-bundle/configmaps.error",
        "orders-bundle/events.txt",
        "orders-bundle/logs/orders-broker-0.txt",
        "orders-bundle/admin/orders-broker-0/v1-cluster-health_overview.json",
        "orders-bundle/admin/orders-broker-2/v1-brokers.error",
    } <= names
    assert not any("secrets" in words for words in fake.asked)


def test_what_went_wrong_is_one_sentence(fake, monkeypatch, capsys):
    fake.fails = ("get",)
    monkeypatch.setattr("sys.argv", ["kubectl-quorate", "status"])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == 1
    assert capsys.readouterr().err == "Error from server (Forbidden)\n"


def test_kubectls_own_words_are_passed_on(monkeypatch):
    def done(words, **_):
        return subprocess.CompletedProcess(words, len(words) > 2, "out", "no such thing\n")

    monkeypatch.setattr(subprocess, "run", done)
    assert talk.run(["get"]) == "out"
    with pytest.raises(CommandFailed, match=r"^no such thing$"):
        talk.run(["get", "x"])


def test_names_of_clusters_are_completed(fake):
    assert list(app._names("or")) == ["orders"]
    assert list(app._names("x")) == []
    fake.fails = ("get",)
    assert list(app._names("or")) == []


@pytest.mark.parametrize(
    ("conditions", "word"),
    [
        ({}, "down"),
        ({"Ready": "True"}, "healthy"),
        ({"Ready": "True", "Reconciling": "True"}, "changing"),
        ({"Ready": "True", "FullyReplicated": "False"}, "degraded"),
        ({"Ready": "True", "UpToDate": "False"}, "degraded"),
        ({"Ready": "False", "Reconciling": "True"}, "down"),
        ({"Ready": "True", "Stalled": "True"}, "stalled"),
        ({"Ready": "True", "StorageReady": "False"}, "degraded"),
    ],
)
def test_the_word_for_people_comes_from_the_conditions(conditions, word):
    several = [{"type": kind, "status": status} for kind, status in conditions.items()]
    assert app.views.word({"status": {"conditions": several}}) == word
    assert app.views.word({"status": {"conditions": several, "summary": "asleep"}}) == "asleep"
