"""Which term wrote what: the leader epochs of a log, as ranges of Raft indexes.

Raft compares logs by it (`at`, `end_of`), Kafka's clients find out with it where their view of
the log parted from the leader's (OffsetForLeaderEpoch). It rolls back with the log and lies in
every checkpoint, so that it outlives retention and compaction. Next: `internals`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class TermTable:
    """Terms in rising order, each with the index at which it begins.

    `base_term` is the term of the entry before the log's first one (0: there never was one).
    """

    def __init__(
        self, base_index: int = -1, base_term: int = 0, ranges: Iterable[tuple[int, int]] = ()
    ) -> None:
        self.base_index = base_index
        self.base_term = base_term
        self._terms: list[int] = []
        self._starts: list[int] = []
        for term, start in ranges:
            self.note(term, start)

    @property
    def last(self) -> int:
        """Term of the last entry; 0 when there never was one."""
        return self._terms[-1] if self._terms else self.base_term

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """(term, first index), rising in both."""
        return list(zip(self._terms, self._starts, strict=True))

    def note(self, term: int, index: int) -> None:
        """The entry at `index` is of `term`; terms never decrease."""
        last = self.last
        if term == last and self._terms:
            return
        assert term >= last, f"term {term} after term {last}"
        self._terms.append(term)
        self._starts.append(index)

    def truncate_after(self, index: int) -> None:
        """Forget the entries behind `index`."""
        keep = bisect_right(self._starts, index)
        del self._terms[keep:]
        del self._starts[keep:]

    def forget_before(self, index: int) -> None:
        """The log begins at `index` now."""
        term = self.at(index - 1)
        assert term is not None, "the log's start never moves back"
        self.base_term = term
        self.base_index = index - 1
        gone = max(0, bisect_right(self._starts, index) - 1)
        del self._terms[:gone]
        del self._starts[:gone]
        if self._starts and self._starts[0] < index:
            self._starts[0] = index

    def at(self, index: int) -> int | None:
        """Term of the entry at `index`, None before the table. Do not ask behind the last one."""
        place = bisect_right(self._starts, index) - 1
        if place >= 0:
            return self._terms[place]
        return self.base_term if index == self.base_index else None

    def end_of(self, term: int, last_index: int) -> tuple[int, int]:
        """(greatest known term <= `term`, its last index); (0, -1) when all known are greater."""
        place = bisect_right(self._terms, term) - 1
        if place < 0:
            return (self.base_term, self.base_index) if self.base_term <= term else (0, -1)
        behind = place + 1
        end = self._starts[behind] - 1 if behind < len(self._starts) else last_index
        return self._terms[place], end

    def start_after(self, term: int) -> int | None:
        """First index of the first term greater than `term`; None when there is none."""
        place = bisect_right(self._terms, term)
        return self._starts[place] if place < len(self._starts) else None
