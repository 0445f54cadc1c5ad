"""What clients were told, and what must follow from it (invariants A, B, C and F).

- A: what was acknowledged is read at the offset that was said.
- B: one value per partition and offset, for every reader; a reader meets no hole.
- C: an idempotent producer's values are there once, and in the order in which they were sent.
- F: committed offsets of a group never go back by themselves.
"""

from __future__ import annotations

from collections import defaultdict

from quorate_broker.testing.simulation.checkers import must

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class History:
    """The memory of a run."""

    def __init__(self) -> None:
        self.acked: dict[Place, bytes] = {}
        self.values: dict[Place, bytes] = {}
        """What anybody read, or was told to lie there."""
        self.sent: set[bytes] = set()
        self.reads = 0
        self.committed: dict[tuple[str, int], int] = {}
        """By group and partition."""

    def was_sent(self, value: bytes) -> None:
        self.sent.add(value)

    def was_acked(self, place: Place, value: bytes) -> None:
        self._is(place, value)
        self.acked[place] = value

    def was_read(self, place: Place, value: bytes) -> None:
        must(value in self.sent, f"B: {value!r} at {place} was never sent")
        self._is(place, value)
        self.reads += 1

    def _is(self, place: Place, value: bytes) -> None:
        known = self.values.setdefault(place, value)
        must(known == value, f"B: at {place} lies {known!r}, and {value!r}")

    def was_committed(self, group: str, partition: int, offset: int) -> None:
        key = (group, partition)
        self.committed[key] = max(offset, self.committed.get(key, -1))

    def commits(self) -> dict[tuple[str, int], int]:
        """As of now; for `was_fetched`."""
        return dict(self.committed)

    def was_fetched(
        self, group: str, partition: int, offset: int, before: dict[tuple[str, int], int]
    ) -> None:
        """A group's offset was asked for after `before` had been acknowledged."""
        least = before.get((group, partition), -1)
        must(offset >= least, f"F: {group} is at {offset} of {partition}, {least} was committed")

    def judge(self, topic: str, found: dict[int, dict[int, bytes]]) -> None:
        """At the end: `found` is everything that the partitions hold."""
        for place, value in self.acked.items():
            if place[0] != topic:
                continue
            there = found[place[1]].get(place[2])
            must(there == value, f"A: {value!r} was acknowledged at {place}, there is {there!r}")
        for partition, values in found.items():
            self._judge_order(partition, values)

    def _judge_order(self, partition: int, values: dict[int, bytes]) -> None:
        last: dict[bytes, int] = defaultdict(lambda: -1)
        for offset in sorted(values):
            name, _, number = values[offset].partition(b":")[0].rpartition(b"-")
            if not name.startswith(b"idem"):
                continue
            must(
                int(number) > last[name],
                f"C: {values[offset]!r} at {partition}/{offset} behind number {last[name]}",
            )
            last[name] = int(number)
