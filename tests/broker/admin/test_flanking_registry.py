"""Flanking nodes are remembered for as long as they say that they live."""

from __future__ import annotations

import pytest

from quorate_broker.admin import flanking_registry
from quorate_broker.admin.flanking_registry import FlankingNode, FlankingRegistry


def node(node_id: int = 101, incarnation: str = "a", ready: bool = True) -> FlankingNode:
    return FlankingNode(
        node_id=node_id,
        pod=f"q-flanking-{node_id - 101}",
        incarnation=incarnation,
        ready=ready,
        version="1",
        proxy="",
    )


def test_a_node_is_forgotten_after_its_time_to_live_and_not_before() -> None:
    registry = FlankingRegistry()
    assert registry.register(node(), now_ms=1_000)
    assert registry.deadline_ms == 11_000
    assert not registry.expire(10_999)
    assert registry.nodes() == (node(),)
    assert registry.expire(11_000)
    assert registry.nodes() == ()
    assert registry.deadline_ms is None


def test_saying_the_same_again_is_no_change_but_prolongs_life() -> None:
    registry = FlankingRegistry()
    registry.register(node(), now_ms=0)
    assert not registry.register(node(), now_ms=3_000)
    assert not registry.expire(10_000)
    assert registry.register(node(ready=False), now_ms=6_000)


def test_a_late_goodbye_does_not_remove_the_successor() -> None:
    registry = FlankingRegistry()
    registry.register(node(incarnation="old"), now_ms=0)
    registry.register(node(incarnation="new"), now_ms=1)
    assert not registry.remove(101, "old")
    assert registry.nodes() == (node(incarnation="new"),)
    assert registry.remove(101, "new")
    assert not registry.remove(101, "new")


def test_nodes_are_listed_in_the_order_of_their_ids_and_cleared_together() -> None:
    registry = FlankingRegistry()
    for node_id in (103, 101, 102):
        registry.register(node(node_id), now_ms=0)
    assert [one.node_id for one in registry.nodes()] == [101, 102, 103]
    assert registry.clear()
    assert not registry.clear()


def test_the_registry_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flanking_registry, "MAX_NODES", 2)
    registry = FlankingRegistry()
    registry.register(node(101), now_ms=0)
    registry.register(node(102), now_ms=0)
    with pytest.raises(flanking_registry.RegistryFullError):
        registry.register(node(103), now_ms=0)
    registry.register(node(102), now_ms=1)
