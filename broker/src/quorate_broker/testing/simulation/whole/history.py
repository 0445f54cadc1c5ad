"""What clients were told, and what must follow from it (invariants A, B, C and F).

- A: what was acknowledged is read at the offset that was said, but for what was deleted (records
  below the start, values that a later one of their key has replaced).
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
        self.keys: dict[Place, bytes] = {}
        """Of what was acknowledged with one."""
        self.starts: dict[int, int] = {}
        """So far at most the partitions of the trimmed topic may have lost their front."""
        self.values: dict[Place, bytes] = {}
        """What anybody read, or was told to lie there."""
        self.sent: dict[bytes, bytes | None] = {}
        """Values, with their keys."""
        self.reads = 0
        self.committed: dict[tuple[str, int], int] = {}
        """By group and partition."""

    def was_sent(self, value: bytes, key: bytes | None) -> None:
        self.sent[value] = key

    def was_acked(self, place: Place, value: bytes, key: bytes | None) -> None:
        self._is(place, value)
        self.acked[place] = value
        if key is not None:
            self.keys[place] = key

    def may_begin_at(self, partition: int, offset: int) -> None:
        """Somebody asked for the records before `offset` to be deleted, or retention may do it."""
        self.starts[partition] = max(offset, self.starts.get(partition, 0))

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

    def judge(self, topic: str, found: dict[int, dict[int, bytes]], starts: dict[int, int]) -> None:
        """At the end: `found` is everything that the partitions hold, which begin at `starts`."""
        for partition, start in starts.items():
            most = self.starts.get(partition, 0)
            must(
                start <= most,
                f"A: partition {partition} begins at {start}, nobody went past {most}",
            )
        for place, value in self.acked.items():
            if place[0] != topic or place[2] < starts[place[1]]:
                continue
            there = found[place[1]].get(place[2])
            must(there == value, f"A: {value!r} was acknowledged at {place}, there is {there!r}")
        for partition, values in found.items():
            self._judge_order(partition, values)

    def judge_latest(self, topic: str, values: dict[int, bytes]) -> None:
        """At the end: `values` is what compaction left of partition 0."""
        latest: dict[bytes, int] = {}
        for place, key in self.keys.items():
            if place[0] == topic:
                latest[key] = max(place[2], latest.get(key, -1))
        for key, offset in latest.items():
            value = self.acked[topic, 0, offset]
            must(
                values.get(offset) == value or self._is_replaced(key, offset, values),
                f"A: {value!r} of {key!r} was acknowledged at {offset}, and nothing came after it",
            )
        self._judge_order(0, values)

    def _is_replaced(self, key: bytes, offset: int, values: dict[int, bytes]) -> bool:
        """By a value whose acknowledgement was lost."""
        return any(at > offset and self.sent[value] == key for at, value in values.items())

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
