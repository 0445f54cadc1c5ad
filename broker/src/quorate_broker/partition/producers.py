"""What idempotent producers have written here: the last five batches of each.

A producer numbers its records. A batch that continues the numbers is new, one of the last five is
a duplicate (answered with the places of the first), anything else is out of order. The table is
derived from the log and rolls back with it: `record` notes what it replaced, `rollback` puts that
back, `settle` forgets what can no longer be cut off. `snapshot` is the table as of the settled
index, which is what a checkpoint may hold.

An unknown producer must begin with 0. Kafka takes any first number (KIP-360) and so lets a second
batch in whose first was refused a moment earlier, by a leader that did not serve yet: reordered.
Who is told "out of order" raises its epoch, with which it sends again what it has under way to all
partitions, also what was stored there: so it must be told rarely, see `SequenceGapError`.

Source: Kafka's ProducerStateManager and ProducerAppendInfo (five batches: KIP-98).
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, NamedTuple

import msgspec

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.batch import BatchHeader

WINDOW = 5
MAX_PRODUCERS = 20_000
_SEQUENCES = 1 << 31


class SequenceGapError(KafkaError):
    """Batches before this one have not come, or were refused: perhaps a moment ago.

    Then the producer, which had both under way, sends both again by itself, once it knows of the
    first. This error would be worse than none: librdkafka raises its epoch for it, and numbers anew
    what it sends again to other partitions, whose old numbers would have told that it is there.
    """


class Written(NamedTuple):
    """One batch of a producer. Sequence numbers wrap from 2^31 - 1 to 0."""

    first_sequence: int
    last_sequence: int
    base_offset: int
    last_offset: int
    last_index: int


class Producer(NamedTuple):
    """One producer id: its epoch and its last batches, oldest first."""

    epoch: int
    batches: tuple[Written, ...]


_Entry = tuple[int, int, Annotated[list[Written], msgspec.Meta(max_length=WINDOW)]]
_decoder = msgspec.msgpack.Decoder(list[_Entry])


class ProducerTable:
    """Producers of one partition, least recently active first."""

    def __init__(self, settled_index: int = -1, snapshot: bytes = b"") -> None:
        """The table as of `settled_index`; raises ValueError when the snapshot is not one."""
        self._producers: dict[int, Producer] = {}
        self._undo: deque[tuple[int, int, Producer | None]] = deque()
        self._settled = settled_index
        self.begin(settled_index, snapshot)

    def begin(self, settled_index: int, snapshot: bytes) -> None:
        """Forget everything: this is the table now. ValueError changes nothing."""
        producers = {}
        if snapshot:
            for producer_id, epoch, batches in _decoder.decode(snapshot):
                producers[producer_id] = Producer(epoch, tuple(batches))
        self._producers = producers
        self._undo.clear()
        self._settled = settled_index

    def __len__(self) -> int:
        return len(self._producers)

    def check(self, header: BatchHeader) -> Written | None:
        """The earlier batch that this one repeats, None if it is new; raises KafkaError."""
        known = self._producers.get(header.producer_id)
        if known is None:
            if header.base_sequence != 0:
                raise _gap(header, 0)
            return None
        if header.producer_epoch < known.epoch:
            raise KafkaError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"producer epoch {header.producer_epoch}, but {known.epoch} is current",
            )
        if header.producer_epoch > known.epoch:
            if header.base_sequence != 0:
                raise _gap(header, 0)
            return None
        for written in known.batches:
            if (written.first_sequence, written.last_sequence) == (
                header.base_sequence,
                header.last_sequence,
            ):
                return written
        expected = (known.batches[-1].last_sequence + 1) % _SEQUENCES
        ahead = (header.base_sequence - expected) % _SEQUENCES
        if 0 < ahead < _SEQUENCES // 2:
            raise _gap(header, expected)
        if ahead:
            raise KafkaError(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, _numbers(header, expected))
        return None

    def record(self, header: BatchHeader, base_offset: int, last_index: int) -> None:
        """A batch of a producer was appended, here or by the leader: no questions asked.

        A leader's snapshot may be ahead of the log here: what it knew is passed over.
        """
        before = self._producers.get(header.producer_id)
        if before is not None and before.batches and last_index <= before.batches[-1].last_index:
            return
        self._producers.pop(header.producer_id, None)
        written = Written(
            header.base_sequence,
            header.last_sequence,
            base_offset,
            base_offset + header.last_offset_delta,
            last_index,
        )
        if before is None or before.epoch != header.producer_epoch:
            batches: tuple[Written, ...] = (written,)
        else:
            batches = (*before.batches[1 - WINDOW :], written)
        self._producers[header.producer_id] = Producer(header.producer_epoch, batches)
        self._undo.append((last_index, header.producer_id, before))

    def rollback(self, index: int) -> None:
        """Everything behind `index` was cut off the log."""
        assert index >= self._settled, "what is settled is never cut off"
        undo = self._undo
        while undo and undo[-1][0] > index:
            _, producer_id, before = undo.pop()
            del self._producers[producer_id]
            if before is not None:
                self._producers[producer_id] = before

    def settle(self, index: int) -> None:
        """Nothing up to `index` will be cut off any more."""
        if index <= self._settled:
            return
        self._settled = index
        undo = self._undo
        while undo and undo[0][0] <= index:
            undo.popleft()
        if len(self._producers) > MAX_PRODUCERS and not undo:
            self._evict()

    def snapshot(self) -> bytes:
        """The table as of the settled index."""
        settled: dict[int, Producer | None] = dict(self._producers)
        for _, producer_id, before in reversed(self._undo):
            settled[producer_id] = before
        return msgspec.msgpack.encode(
            [
                (producer_id, producer.epoch, producer.batches)
                for producer_id, producer in settled.items()
                if producer is not None
            ]
        )

    def _evict(self) -> None:
        surplus = len(self._producers) - MAX_PRODUCERS
        for producer_id in list(self._producers)[:surplus]:
            del self._producers[producer_id]


def _gap(header: BatchHeader, expected: int) -> SequenceGapError:
    code = ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    return SequenceGapError(code, _numbers(header, expected))


def _numbers(header: BatchHeader, expected: int) -> str:
    return (
        f"sequence number {header.base_sequence} of producer {header.producer_id}, "
        f"expected {expected}"
    )
