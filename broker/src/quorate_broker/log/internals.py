"""Raft index <-> Kafka offset: one array of the places where internal entries lie (decision 2).

A Raft index counts records and internal entries; an offset counts records only. So

    index  = offset + internal entries before it
    offset = index  - internal entries before it

and all it takes are the indexes of the internal entries: one per leader change or so. `base` is
how many lay before the log's first kept entry. Next: `layout`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable


class InternalMap:
    """Indexes of the internal entries, and the offset that the next record behind each one has."""

    def __init__(self, base: int = 0, indexes: Iterable[int] = ()) -> None:
        self.base = base
        self._indexes = array("q")
        self._offsets = array("q")
        for index in indexes:
            self.add(index)

    @property
    def count(self) -> int:
        """Internal entries in the log so far, those long gone included."""
        return self.base + len(self._indexes)

    @property
    def indexes(self) -> list[int]:
        """Of the kept ones."""
        return list(self._indexes)

    def add(self, index: int) -> None:
        """The entry at `index` is internal."""
        assert not self._indexes or index > self._indexes[-1], "indexes only rise"
        self._offsets.append(index - self.count)
        self._indexes.append(index)

    def truncate_after(self, index: int) -> None:
        """Forget the entries behind `index`."""
        keep = bisect_right(self._indexes, index)
        del self._indexes[keep:]
        del self._offsets[keep:]

    def forget_before(self, index: int) -> None:
        """The log begins at `index` now."""
        gone = bisect_left(self._indexes, index)
        self.base += gone
        del self._indexes[:gone]
        del self._offsets[:gone]

    def offset_at(self, index: int) -> int:
        """Offset of the first record at or behind `index` (of the next one, behind the end)."""
        return index - self.base - bisect_left(self._indexes, index)

    def index_of(self, offset: int) -> int:
        """Index of the record that has this offset."""
        return offset + self.base + bisect_right(self._offsets, offset)
