"""Real broker processes: one cluster per test, in the test's own folder."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from quorate_broker.testing import processes


@pytest.fixture
def three(tmp_path: pathlib.Path) -> Iterator[processes.Cluster]:
    """Three brokers that serve."""
    with processes.cluster(tmp_path) as made:
        yield made


@pytest.fixture
def make_cluster(tmp_path: pathlib.Path) -> Callable[..., processes.Cluster]:
    """For tests that start nodes by themselves; they stop them, too."""
    return lambda **options: processes.Cluster(tmp_path, **options)
