"""What the commands show, as plain values first: `-o json` prints them, tables are made of them.

Pure. The reasons for waiting are the operator's own words, unchanged.
"""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quorate_operator.plan import summary

Json = dict[str, Any]
GOOD_WHEN_FALSE = ("Reconciling", "Stalled")
WARNINGS = ("Insecure", "EvenBrokers", "Paused")


def conditions(cluster: Json) -> dict[str, Json]:
    return {one["type"]: one for one in cluster.get("status", {}).get("conditions", [])}


def word(cluster: Json) -> str:
    """The operator's own; out of the conditions where an older operator tells none."""
    found = conditions(cluster)
    asleep = found.get("Ready", {}).get("reason") == "Hibernated"
    states = {kind: one["status"] for kind, one in found.items()}
    return str(cluster.get("status", {}).get("summary") or summary.word(states, asleep=asleep))


COLOURS = {
    "healthy": "green",
    "changing": "cyan",
    "degraded": "yellow",
    "stalled": "red",
    "down": "red",
    "asleep": "blue",
}


def overview(clusters: list[Json]) -> list[Json]:
    return [
        {
            "name": one["metadata"]["name"],
            "namespace": one["metadata"]["namespace"],
            "state": word(one),
            "brokers": one.get("status", {}).get("readyText", ""),
            "leader": (one.get("status", {}).get("leader") or {}).get("pod", ""),
            "version": one.get("status", {}).get("version", ""),
        }
        for one in clusters
    ]


def overview_table(rows: list[Json]) -> RenderableType:
    table = Table("NAMESPACE", "NAME", "STATE", "BROKERS", "LEADER", "VERSION", box=box.SIMPLE)
    for row in rows:
        state = Text(row["state"], style=COLOURS.get(row["state"], ""))
        table.add_row(
            row["namespace"], row["name"], state, row["brokers"], row["leader"], row["version"]
        )
    return table


def status(cluster: Json) -> Json:
    told = cluster.get("status", {})
    kept = (
        "clusterId",
        "leader",
        "readyText",
        "updatedText",
        "nodes",
        "rollout",
        "storage",
        "blockedBy",
    )
    return {
        **overview([cluster])[0],
        **{name: told[name] for name in kept if name in told},
        "conditions": told.get("conditions", []),
        "listeners": told.get("listeners", []),
    }


def status_table(cluster: Json) -> RenderableType:
    told = cluster.get("status", {})
    nodes = Table(
        "NODE", "POD", "ROLE", "STATE", "READY", "LEADER", "RACK", "RESTART", box=box.SIMPLE
    )
    for node in told.get("nodes", []):
        ready = Text("yes", "green") if node["ready"] else Text("no", "red")
        lead = "leads" if node.get("leader") else ""
        nodes.add_row(
            str(node["nodeId"]),
            node["pod"],
            node["role"],
            node["state"],
            ready,
            lead,
            node.get("rack", ""),
            node.get("restartReason", ""),
        )
    verdicts = Table("CONDITION", "STATUS", "REASON", "MESSAGE", box=box.SIMPLE)
    for kind, one in conditions(cluster).items():
        verdicts.add_row(
            kind, Text(one["status"], _colour(kind, one)), one["reason"], one["message"]
        )
    return Group(overview_table(overview([cluster])), nodes, verdicts)


def _colour(kind: str, condition: Json) -> str:
    if kind in WARNINGS:
        return "yellow"
    good = "False" if kind in GOOD_WHEN_FALSE else "True"
    return "green" if condition["status"] == good else "red"


def explanation(cluster: Json) -> Json:
    """What is being done, what waits, and for what: as the operator last told it."""
    told, found = cluster.get("status", {}), conditions(cluster)
    reconciling, stalled = found.get("Reconciling", {}), found.get("Stalled", {})
    return {
        "state": word(cluster),
        "doing": reconciling.get("message", "The operator has not looked at it yet."),
        "seen": told.get("observedGeneration") == cluster["metadata"].get("generation"),
        "restarts": told.get("rollout"),
        "size": {
            "wanted": cluster["spec"].get("replicas"),
            "now": told.get("effectiveReplicas"),
        },
        "waits": told.get("blockedBy", []),
        "needs a person": stalled["message"] if stalled.get("status") == "True" else None,
    }


def explanation_text(name: str, found: Json) -> RenderableType:
    lines = [Text(f"{name} is {found['state']}.", style="bold")]
    lines.append(Text(found["doing"]))
    if not found["seen"]:
        lines.append(Text("Its last change has not been seen by the operator yet.", "yellow"))
    rollout = found["restarts"]
    if rollout:
        for one in rollout.get("remaining", []):
            turn = " <- its turn" if one["pod"] == rollout.get("current") else ""
            lines.append(Text(f"  to be restarted: {one['pod']} ({one['reason']}){turn}"))
        lines += [
            Text(f"  accepted risk: {risk} has one replica and is away meanwhile", "yellow")
            for risk in rollout.get("acceptedRisks", [])
        ]
    size = found["size"]
    if size["now"] not in (None, size["wanted"]):
        lines.append(Text(f"  brokers: {size['now']} on the way to {size['wanted']}"))
    for one in found["waits"]:
        lines.append(Text(f"  waits: {one['reason']}: {one['message']}", "yellow"))
    if found["needs a person"]:
        lines.append(Text(f"  needs you: {found['needs a person']}", "red"))
    return Group(*lines)


def topics(partitions: list[Json]) -> list[Json]:
    """Out of a broker's partitions: one line for each topic, the worst of its partitions."""
    found: dict[str, list[Json]] = {}
    for one in partitions:
        if one["ns"] == "kafka":
            found.setdefault(one["topic"], []).append(one)
    return [
        {
            "topic": name,
            "partitions": len(several),
            "replicas": max(len(one["replicas"]) for one in several),
            "leaderless": sum(one["leader_id"] < 0 for one in several),
            "behind": sum(len(one["in_sync_replicas"]) < len(one["replicas"]) for one in several),
        }
        for name, several in sorted(found.items())
    ]


def topics_table(rows: list[Json]) -> RenderableType:
    table = Table("TOPIC", "PARTITIONS", "REPLICAS", "LEADERLESS", "BEHIND", box=box.SIMPLE)
    for row in rows:
        cells = [str(row[name]) for name in ("partitions", "replicas")]
        bad = [
            Text(str(row[name]), "red" if row[name] else "green")
            for name in ("leaderless", "behind")
        ]
        table.add_row(row["topic"], *cells, *bad)
    return table
