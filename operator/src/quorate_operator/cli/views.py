"""What the commands show, as plain values first: `-o json` prints them, tables are made of them.

Pure. The reasons for waiting are the operator's own words, unchanged.
"""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]
GOOD_WHEN_FALSE = ("Reconciling", "Stalled")
WARNINGS = ("Insecure", "EvenBrokers", "Paused")


def conditions(cluster: Json) -> dict[str, Json]:
    return {one["type"]: one for one in cluster.get("status", {}).get("conditions", [])}


def word(cluster: Json) -> str:
    """One word for people, out of the conditions; there is none in the status."""
    found = {kind: one["status"] for kind, one in conditions(cluster).items()}
    if found.get("Stalled") == "True":
        return "stalled"
    if found.get("Ready") != "True":
        return "down"
    if found.get("Reconciling") == "True":
        return "changing"
    if found.get("FullyReplicated") == "False" or found.get("UpToDate") == "False":
        return "degraded"
    return "healthy"


COLOURS = {
    "healthy": "green",
    "changing": "cyan",
    "degraded": "yellow",
    "stalled": "red",
    "down": "red",
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
        state = Text(row["state"], style=COLOURS[row["state"]])
        table.add_row(
            row["namespace"], row["name"], state, row["brokers"], row["leader"], row["version"]
        )
    return table


def status(cluster: Json) -> Json:
    told = cluster.get("status", {})
    kept = ("clusterId", "leader", "readyText", "updatedText", "nodes", "rollout", "blockedBy")
    return {
        **overview([cluster])[0],
        **{name: told[name] for name in kept if name in told},
        "conditions": told.get("conditions", []),
        "listeners": told.get("listeners", []),
    }


def status_table(cluster: Json) -> RenderableType:
    told = cluster.get("status", {})
    nodes = Table("NODE", "POD", "ROLE", "STATE", "READY", "LEADER", box=box.SIMPLE)
    for node in told.get("nodes", []):
        ready = Text("yes", "green") if node["ready"] else Text("no", "red")
        lead = "leads" if node.get("leader") else ""
        nodes.add_row(str(node["nodeId"]), node["pod"], node["role"], node["state"], ready, lead)
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
