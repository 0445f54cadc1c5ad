"""The brokers as one operator reaches them: `workers.Sources` and `admin.Admin` over the model.

News come late, and now and then a broker does not answer; an order may be lost on the way there or
on the way back.

Read next: `brokers.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

from quorate_operator.admin import AdminError
from quorate_operator.facts import Survey, View
from quorate_operator.testing.simulation.api import Life
from quorate_operator.testing.simulation.brokers import NOBODY, Brokers

SILENT_S: Final = 5.0
"""A broker that hangs is given up after so long at the latest; one that is gone, at once."""


class Addresses:
    """Names to the addresses of pods."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def know(self, host: str, address: str) -> None:
        self.known[host] = address

    def forget(self, host: str) -> None:
        self.known.pop(host, None)


class Hearing:
    """`brokers.Brokers`: a long poll for each broker."""

    def __init__(self, brokers: Brokers, life: Life) -> None:
        self.addresses = Addresses()
        self._brokers = brokers
        self._life = life

    def doubt(self, host: str) -> None:
        """Silence is noticed in time here."""

    async def follow(self, host: str, tell: Callable[[View | None], None]) -> None:
        node_id = _node_id(host)
        last: View | None = None
        first = True
        while True:
            await asyncio.sleep(self._life.random.uniform(0.005, 0.2))
            view = self._brokers.view(node_id)
            if self._life.happens(self._life.trouble.silence):
                view = None
            if view is None and last is not None:
                await asyncio.sleep(self._life.random.uniform(0, SILENT_S))
            if first or view != last:
                tell(view)
            first, last = False, view
            if view is None:
                await asyncio.sleep(0.5)
            else:
                await self._brokers.news(node_id, view)


class ModelAdmin:
    """`admin.Admin`."""

    def __init__(self, brokers: Brokers, life: Life, ordered: Callable[[str], None]) -> None:
        self._brokers = brokers
        self._life = life
        self._ordered = ordered

    async def survey(self, host: str) -> Survey | None:
        if not await self._reached(host) or self._brokers.leader == NOBODY:
            return None
        found = self._brokers.survey()
        self._life.answered(found)
        await self._life.pass_time()
        return found

    async def transfer(self, host: str, to: int) -> None:
        await self._reach(host)
        self._brokers.transfer(to)
        await self._done(f"transfer to {to}")

    async def decommission(self, host: str, node_id: int, *, leave: bool) -> None:
        await self._reach(host)
        self._brokers.decommission(node_id, leave=leave)
        await self._done(f"{'de' if leave else 're'}commission {node_id}")

    async def configure(self, host: str, put: Mapping[str, str], drop: tuple[str, ...]) -> None:
        await self._reach(host)
        self._brokers.settings.change(put, drop)
        await self._done(f"configure {dict(put)} without {list(drop)}")

    async def raise_level(self, host: str, level: int) -> None:
        raise AssertionError("the model has no feature levels, and tells none")

    async def _reach(self, host: str) -> None:
        if not await self._reached(host) or self._brokers.leader == NOBODY:
            raise AdminError("no answer")

    async def _done(self, text: str) -> None:
        self._ordered(text)
        await self._life.effect()
        await self._life.pass_time()
        if self._life.happens(self._life.trouble.silence):
            raise AdminError("the answer was lost")

    async def _reached(self, host: str) -> bool:
        await self._life.pass_time()
        if self._life.happens(self._life.trouble.silence):
            return False
        return self._brokers.answers(_node_id(host))


def _node_id(host: str) -> int:
    return int(host.partition(".")[0].rpartition("-")[2]) + 1


@dataclasses.dataclass(frozen=True, slots=True)
class Lines:
    """`process.Brokers`: each process of an operator has its own connections."""

    brokers: Brokers
    ordered: Callable[[str], None]

    def connect(self, life: Life) -> tuple[Hearing, ModelAdmin]:
        return Hearing(self.brokers, life), ModelAdmin(self.brokers, life, self.ordered)
