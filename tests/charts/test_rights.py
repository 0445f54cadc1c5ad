"""What the operator may do: all of it on one page, each right with its reason, none without use.

To write `golden/rights.txt` anew after a wanted change: `python tests/charts/test_rights.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from quorate_bed import charts
from quorate_operator import kube, model, news
from quorate_operator.plan import children
from quorate_operator.testing.simulation import api, world

GOLDEN = Path(__file__).parent / "golden/rights.txt"
EVERYWHERE: tuple[str, ...] = ()
READING = ("--set=readNodes=true",)
NAMESPACES = ("--set=watchNamespaces={shop,stock}",)
ROLES = ("Role", "ClusterRole")
USES = {
    "get": ("get",),
    "all": ("list",),
    "apply": ("create", "patch"),
    "merge": ("patch",),
    "delete": ("delete",),
    "create": ("create",),
}
"""What a method of the talker asks of the API server: an apply may meet no object, and makes it,
unless it names the one that is there."""
SEEDS = 40
"""Lives that are looked at until all rights have been used, mostly three."""

Right = tuple[str, str]
"""`pods`, `patch`"""


@cache
def rendered(arguments: tuple[str, ...]) -> str:
    found = charts.template(charts.OPERATOR, *arguments)
    assert found.returncode == 0, found.stderr
    return found.stdout


def roles(arguments: tuple[str, ...]) -> list[dict[str, Any]]:
    return [one for one in charts.documents(rendered(arguments)) if one["kind"] in ROLES]


def lines(arguments: tuple[str, ...]) -> Iterator[str]:
    """One right per line: where, what, which verbs."""
    for role in roles(arguments):
        place = role["metadata"].get("namespace", "*")
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    named = "".join(f" {name}" for name in rule.get("resourceNames", []))
                    whole = f"{resource}.{group}".rstrip(".") + named
                    yield f"{role['kind']} in {place}: {whole}: {', '.join(rule['verbs'])}"


def text() -> str:
    parts = [
        "# All that the operator may do. Its namespace is quorate-system.",
        "",
        "## All namespaces are watched",
        *lines(EVERYWHERE),
        "",
        "## Two namespaces are watched",
        *lines(NAMESPACES),
    ]
    return "\n".join(parts) + "\n"


def granted(role: dict[str, Any]) -> set[Right]:
    return {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used_by_passes(monkeypatch: pytest.MonkeyPatch, expected: set[Right]) -> set[Right]:
    """What lives of operators in the simulation ask of the API; no more of them than needed."""
    found: set[Right] = set()

    def recorded(name: str) -> None:
        method = getattr(api.Api, name)

        async def call(one: api.Api, subject: Any, *others: Any, **named: Any) -> Any:
            kind = subject if isinstance(subject, str) else subject["kind"]
            part = named.get("part", "")
            there = part or (isinstance(subject, dict) and "uid" in subject["metadata"])
            for verb in ("patch",) if there else USES[name]:
                found.add((kube.KINDS[kind][1] + part, verb))
            return await method(one, subject, *others, **named)

        monkeypatch.setattr(api.Api, name, call)

    for name in USES:
        recorded(name)
    for seed in range(SEEDS):
        world.run(seed)
        if expected <= found:
            break
    return found


def used_by_watches() -> set[Right]:
    plurals = [model.PLURAL, *(plural for _, plural in news.WATCHED)]
    return {(plural, verb) for plural in plurals for verb in ("list", "watch")}


def used_seldom() -> set[Right]:
    """By what lives in the simulation seldom ask for; `tests/operator/test_leftovers.py` does."""
    optional = ("HorizontalPodAutoscaler", "PodMonitor")
    deleted = {(kube.KINDS[kind][1], "delete") for kind in children.REMOVABLE}
    applied = {(kube.KINDS[kind][1], verb) for kind in optional for verb in ("create", "patch")}
    return deleted | applied


def test_all_rights_are_the_golden_ones():
    assert text() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [EVERYWHERE, NAMESPACES], ids=["everywhere", "namespaces"])
def test_there_is_no_right_to_secrets_or_to_get_into_pods_or_to_more_rights(arguments):
    for role in roles(arguments):
        for resource, verb in granted(role):
            assert resource not in ("secrets", "pods/exec", "pods/attach", "nodes/proxy")
            assert verb in ("get", "list", "watch", "create", "patch", "delete"), resource
            assert "*" not in resource
        for rule in role["rules"]:
            assert "*" not in rule["apiGroups"]
            assert "rbac.authorization.k8s.io" not in rule["apiGroups"]


def test_what_can_be_deleted_is_on_a_short_list():
    assert {
        resource
        for role in roles(EVERYWHERE)
        for resource, verb in granted(role)
        if verb == "delete"
    } == {"pods", "persistentvolumeclaims", "statefulsets", "controllerrevisions"} | {
        kube.KINDS[one][1] for one in children.REMOVABLE
    }


def test_every_rule_says_what_it_is_for():
    above = ""
    for line in rendered(EVERYWHERE).splitlines():
        if line.strip().startswith("- apiGroups"):
            assert above.strip().startswith("# "), f"no reason above {line}"
        above = line


def test_every_right_is_used_and_nothing_is_used_without_a_right(monkeypatch):
    rights = set().union(*map(granted, roles(READING)))
    watched = used_by_watches()
    seldom = used_seldom()
    used = used_by_passes(monkeypatch, rights - watched - seldom)
    assert used | watched | seldom == rights


def test_every_kind_that_the_operator_speaks_of_is_in_its_rights():
    resources = {
        right[0].partition("/")[0] for role in roles(EVERYWHERE) for right in granted(role)
    }
    # Nodes are read only where racks are: `readNodes`.
    assert resources == {plural for _, plural in kube.KINDS.values()} - {"nodes"}


def write() -> None:
    GOLDEN.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    write()
