"""Brokers' Admin API without brokers: says what it is told to, and keeps what it was asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from quorate_operator.admin import AdminError, ConfigRefused
from quorate_operator.facts import Claim, Partition, Survey


def survey(leader: int = 2, term: int = 5, brokers: int = 3) -> Survey:
    """A cluster that is whole, with one partition on all its brokers."""
    ids = tuple(range(1, brokers + 1))
    return Survey(
        leader=Claim(leader, term),
        members=ids,
        nodes_down=(),
        partitions=(Partition("kafka/orders/0", leader, ids, ids),),
        stuck={},
    )


@dataclasses.dataclass
class FakeAdmin:
    says: Survey | None = None
    refuses: str = ""
    """Calls fail with these words."""
    bad: dict[str, str] = dataclasses.field(default_factory=dict)
    """Settings that are refused, each with these words."""
    asked: list[str] = dataclasses.field(default_factory=list)

    async def survey(self, host: str) -> Survey | None:
        self.asked.append(f"survey {host.partition('.')[0]}")
        return self.says

    async def transfer(self, host: str, to: int) -> None:
        self._note(f"transfer {host.partition('.')[0]} to {to}")

    async def decommission(self, host: str, node_id: int, *, leave: bool) -> None:
        self._note(f"{'decommission' if leave else 'recommission'} {node_id}")

    async def configure(self, host: str, put: Mapping[str, str], drop: tuple[str, ...]) -> None:
        self._note(f"configure {dict(put)} without {list(drop)}")
        problems = {name: why for name, why in self.bad.items() if name in put}
        if problems:
            raise ConfigRefused(problems)

    async def raise_level(self, host: str, level: int) -> None:
        self._note(f"raise the level to {level}")

    def _note(self, text: str) -> None:
        self.asked.append(text)
        if self.refuses:
            raise AdminError(self.refuses)
