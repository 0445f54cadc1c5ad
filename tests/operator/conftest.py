"""A cluster to reason about (`quorate_operator.testing.scene`), and a leader as status holds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quorate_operator.testing.scene import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def leader() -> Callable[..., dict[str, Any]]:
    """A leader as status holds it."""

    def make(node_id: int, epoch: int) -> dict[str, Any]:
        return {
            "nodeId": node_id,
            "pod": f"orders-broker-{node_id - 1}",
            "epoch": epoch,
            "since": "2026-01-01T00:00:00Z",
        }

    return make
