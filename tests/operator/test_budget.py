"""How many clusters may be on a rollout at once."""

from __future__ import annotations

from quorate_operator.budget import Budget
from quorate_operator.names import Key


def test_places_are_held_over_a_change_of_operators_and_given_back(scene):
    orders, stock = Key("shop", "orders"), Key("shop", "stock")
    budget = Budget(1)
    rolling = scene.cluster(rollout={"startedAt": "2026-01-01T00:00:00Z"})
    budget.begin_with([rolling, scene.cluster() | {"metadata": {"name": "x", "namespace": "y"}}])
    assert budget.holds(orders)
    assert budget.take(stock) == "shop/orders"
    assert budget.take(orders) == ""
    budget.give_back(orders)
    assert budget.take(stock) == ""
    assert Budget(2).take(orders) == ""
