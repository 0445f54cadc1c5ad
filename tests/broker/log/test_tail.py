"""The cache of recent entries is bounded in memory, not only in payload."""

from quorate_broker.log.index import SparseIndex
from quorate_broker.log.layout import Segment
from quorate_broker.log.tail import ENTRY_BYTES, Entry, Tail

PAYLOAD = 100
LIMIT = 64 * 1024


def test_many_small_entries_count_with_what_an_entry_costs() -> None:
    tail = Tail()
    segment = Segment(0, 0, SparseIndex(4096))
    for i in range(10_000):
        data = memoryview(bytes(PAYLOAD))
        tail.append(Entry(i, i, i, i + 1, segment, i * PAYLOAD, data))
    assert tail.pending_bytes == 10_000 * PAYLOAD
    tail.take_pending()
    tail.evict(LIMIT, written_index=9_999)
    assert len(tail) * (PAYLOAD + ENTRY_BYTES) <= LIMIT
    assert tail.covers_index(9_999)


def test_what_is_not_written_yet_is_never_dropped() -> None:
    tail = Tail()
    segment = Segment(0, 0, SparseIndex(4096))
    for i in range(1_000):
        tail.append(Entry(i, i, i, i + 1, segment, i, memoryview(bytes(PAYLOAD))))
    tail.take_pending()
    tail.evict(0, written_index=499)
    assert not tail.covers_index(499)
    assert tail.covers_index(500)
