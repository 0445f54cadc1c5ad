"""Who is looked at when: nobody before their time, and nobody forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from quorate_broker import seams
from quorate_broker.node.deadlines import FAR_MS, Deadlines
from quorate_broker.testing.stand import HandClock


class Sleeper:
    """A partition with a deadline that a test sets; being looked at puts it off."""

    def __init__(self, deadline_ms: int, then_ms: int = FAR_MS) -> None:
        self.deadline_ms = deadline_ms
        self.then_ms = then_ms

    def tick(self, now_ms: int) -> None:
        self.deadline_ms = self.then_ms


class Bedside:
    """The clock, and who was looked at when."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.looks: list[int] = []
        self.deadlines = Deadlines(self.clock, self.looks.append)

    def moved(self, *sleepers: Sleeper) -> None:
        for sleeper in sleepers:
            self.deadlines.moved(cast(Any, sleeper))

    def due(self, now_ms: int) -> list[Any]:
        self.clock.now_ms = now_ms
        return self.deadlines.due(now_ms)


def run(test: Callable[[Bedside], Awaitable[None]]) -> None:
    async def main() -> None:
        bedside = Bedside()
        async with asyncio.timeout(10):
            await test(bedside)
        bedside.deadlines.close()

    asyncio.run(main())


def test_those_whose_time_has_come_are_due_in_order_and_the_others_are_not() -> None:
    async def test(bedside: Bedside) -> None:
        late, early, never = Sleeper(30), Sleeper(10), Sleeper(FAR_MS)
        bedside.moved(late, early, never)
        assert bedside.due(9) == []
        assert bedside.due(30) == [early, late]
        assert bedside.due(FAR_MS) == []

    run(test)


def test_a_deadline_that_was_put_off_is_found_again_at_its_new_time() -> None:
    async def test(bedside: Bedside) -> None:
        one = Sleeper(10)
        bedside.moved(one)
        one.deadline_ms = 20
        assert bedside.due(10) == []
        assert bedside.due(20) == [one]

    run(test)


def test_a_deadline_that_came_nearer_counts_once() -> None:
    async def test(bedside: Bedside) -> None:
        one = Sleeper(100)
        bedside.moved(one)
        one.deadline_ms = 10
        bedside.moved(one)
        assert bedside.due(10) == [one]
        one.deadline_ms = 200
        bedside.moved(one)
        assert bedside.due(100) == []
        assert bedside.due(200) == [one]

    run(test)


def test_a_partition_that_was_closed_is_not_looked_at() -> None:
    async def test(bedside: Bedside) -> None:
        one = Sleeper(10)
        bedside.moved(one)
        bedside.deadlines.forget(cast(Any, one))
        assert bedside.due(10) == []

    run(test)


def test_the_timer_looks_when_the_first_deadline_has_come() -> None:
    async def main() -> list[int]:
        clock, looks = seams.SystemClock(), []
        looked = asyncio.Event()

        def look(now_ms: int) -> None:
            looks.append(now_ms - first.deadline_ms)
            looked.set()

        deadlines = Deadlines(clock, look)
        now_ms = clock.monotonic_ms()
        first, second = Sleeper(now_ms + 20), Sleeper(now_ms + 90)
        deadlines.moved(cast(Any, second))
        deadlines.moved(cast(Any, first))
        async with asyncio.timeout(10):
            await looked.wait()
        deadlines.close()
        return looks

    (late_ms,) = asyncio.run(main())
    assert late_ms >= -1  # the loop rounds
