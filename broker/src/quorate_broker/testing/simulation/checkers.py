"""What must hold after every event, whatever the faults (invariants A, B, C, E and J).

- E: one leader per term; one vote per node and term, also across restarts; terms and commit
  indexes do not go back; equal (index, term) means equal entries and equal histories; a new leader
  has everything that was ever committed.
- A: what is committed is on the disks of a majority at that moment (of both while the group is
  joint), and never changes; what was acknowledged is there, at the offset that was said; a disk
  that came back has all it had synced.
- B: readers below the high watermark see the committed entries and nothing else.
- C: the sequence numbers of an idempotent producer have neither gaps nor repetitions, and nothing
  of an older epoch comes behind a newer one; who starts, begins to lead or had to cut its log
  knows of each producer what its log says, also where the log's front is gone.

`Canon` is the one history that all must agree on, extended by whoever commits first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from quorate_broker.partition.producers import WINDOW, Producer, ProducerTable, Written
from quorate_broker.raft.messages import HardState, Message, Peer, Vote, VoteReply
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader

_verify_crc = batch.verify_crc
"""The checker's own, also where a mutation takes the product's away."""


class ViolationError(AssertionError):
    """An invariant does not hold."""


def must(holds: bool, sentence: str) -> None:
    if not holds:
        raise ViolationError(sentence)


@dataclass(frozen=True, slots=True)
class Known:
    """One entry, wherever it lies."""

    first_index: int
    last_index: int
    term: int
    before: tuple[int, int]
    """(last index, term) of the entry before it."""
    base_offset: int
    crc: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    last_sequence: int
    is_internal: bool


def known(first_index: int, before_term: int, header: BatchHeader) -> Known:
    records = 1 if header.is_internal else header.last_offset_delta + 1
    return Known(
        first_index,
        first_index + records - 1,
        header.leader_epoch,
        (first_index - 1, before_term),
        header.base_offset,
        header.crc,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.last_sequence,
        header.is_internal,
    )


def _add(producers: dict[int, Producer], entry: Known) -> None:
    number = entry.producer_id
    if entry.is_internal or number < 0:
        return
    before = producers.get(number)
    last_offset = entry.base_offset + entry.last_index - entry.first_index
    numbers = entry.base_sequence, entry.last_sequence
    written = Written(*numbers, entry.base_offset, last_offset, entry.last_index)
    goes_on = before is not None and before.epoch == entry.producer_epoch
    older = before.batches if before is not None and goes_on else ()
    producers[number] = Producer(entry.producer_epoch, (*older, written)[-WINDOW:])


class Checkers:
    """The memory of a run."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], Known] = {}
        """By (last index, term)."""
        self.begun: dict[tuple[int, int], Known] = {}
        """By (first index, term)."""
        self.canon: list[Known] = []
        self._commit_terms: list[int] = []
        self.canon_offsets: dict[int, Known] = {}
        self.acked = 0
        self._leaders: dict[int, int] = {}
        self._votes: dict[tuple[Peer, int], Peer] = {}
        self._sequences: dict[int, tuple[int, int]] = {}
        """Of each producer: epoch, next sequence number."""

    # ---------------------------------------------------------------------------------- E: Raft

    def leads(self, node: int, term: int) -> bool:
        """Whether that is news."""
        is_new = term not in self._leaders
        first = self._leaders.setdefault(term, node)
        must(first == node, f"E: nodes {first} and {node} both lead in term {term}")
        return is_new

    def said(self, me: Peer, to: Peer, message: Message, hollow: bool) -> None:
        """A message left: a vote that was given is given for ever, and never by who lost data."""
        if isinstance(message, Vote):
            voted = self._votes.setdefault((me, message.term), me)
            must(voted == me, f"E: {me} stands in term {message.term}, voted {voted}")
            must(not hollow, f"J: {me} stands in term {message.term}, but it is hollow")
        elif isinstance(message, VoteReply) and message.granted:
            voted = self._votes.setdefault((me, message.term), to)
            must(voted == to, f"E: {me} votes {to} in term {message.term}, voted {voted}")
            must(not hollow, f"J: {me} votes in term {message.term}, but it is hollow")

    def appended(self, node: int, entry: Known) -> None:
        """Log matching, by induction over entries."""
        same = self.entries.setdefault((entry.last_index, entry.term), entry)
        must(same == entry, f"E: node {node} has another entry at {entry.last_index}: {entry}")
        same = self.begun.setdefault((entry.first_index, entry.term), entry)
        must(same == entry, f"E: node {node} has another entry at {entry.first_index}: {entry}")

    def recovered(
        self,
        node: int,
        log: tuple[tuple[int, int], Iterable[Known]],
        synced: tuple[int, int],
        hard: HardState,
    ) -> None:
        """A disk came back: with entries that were once written, and all that were synced.

        `log` is what it begins behind, (index, term), and its entries.
        """
        (last_index, base_term), entries = log
        terms = {last_index: base_term}
        for entry in entries:
            self.appended(node, entry)
            last_index = entry.last_index
            terms[last_index] = entry.term
            must(entry.term <= hard.term, f"E: node {node} has entries above its term")
        index, term = synced
        must(last_index >= index, f"A: node {node} lost what it had synced, {last_index}<{index}")
        is_trimmed = index not in terms and index < log[0][0]
        must(
            index == -1 or is_trimmed or terms.get(index) == term,
            f"A: node {node} came back with other data",
        )

    # --------------------------------------------------------------------------- A, C: what stays

    def leader_committed(self, node: int, term: int, last: Known) -> None:
        """Counting disks proves something for entries of the own term only (Raft 5.4.2)."""
        must(last.term == term, f"E: leader {node} of term {term} counts disks for {last}")

    def committed(
        self, node: int, term: int, entries: Sequence[Known], is_safe: Callable[[Known], bool]
    ) -> None:
        """Node, in `term`, says that `entries` are committed; `is_safe`: on enough disks."""
        is_new = False
        for entry in entries:
            place = self._place(entry.last_index)
            if place is not None:
                must(self.canon[place] == entry, f"A: node {node} commits {entry} differently")
                continue
            last = self.canon[-1].last_index if self.canon else -1
            must(entry.first_index == last + 1, f"A: node {node} commits {entry} behind {last}")
            self._extend(entry)
            self._commit_terms.append(term)
            is_new = True
        if is_new:
            must(is_safe(entries[-1]), f"A: node {node} commits {entries[-1]}, on too few disks")

    def begins_behind(self, node: int, index: int, term: int | None) -> None:
        """A log begins behind something that everybody had committed before."""
        if index < 0:
            return
        place = self._place(index)
        must(place is not None, f"A: node {node} begins behind {index}, which nobody committed")
        assert place is not None
        entry = self.canon[place]
        must(
            (entry.last_index, entry.term) == (index, term),
            f"A: node {node} begins behind {index} of term {term}, but there is {entry}",
        )

    def _place(self, last_index: int) -> int | None:
        """Where the canonical entry that ends at this index stands."""
        low, high = 0, len(self.canon)
        while low < high:
            middle = (low + high) // 2
            if self.canon[middle].last_index < last_index:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self.canon) else None

    def _extend(self, entry: Known) -> None:
        self.canon.append(entry)
        if entry.is_internal:
            return
        self.canon_offsets[entry.base_offset] = entry
        if entry.producer_id < 0:
            return
        epoch, expected = self._sequences.get(entry.producer_id, (0, 0))
        must(entry.producer_epoch >= epoch, f"C: {entry} of a fenced producer, epoch {epoch} is on")
        expected = expected if entry.producer_epoch == epoch else 0
        must(entry.base_sequence == expected, f"C: {entry}, expected sequence {expected}")
        self._sequences[entry.producer_id] = entry.producer_epoch, entry.last_sequence + 1

    def knows_producers(
        self, node: int, table: ProducerTable, commit_index: int, rest: Sequence[Known]
    ) -> None:
        """The table is what comes out when all is read from the beginning; `rest` lies behind the
        commit index. Of some it may know more: a leader's snapshot is ahead of the log."""
        known = table._producers
        last_index = rest[-1].last_index if rest else commit_index
        ends = {number: each.batches[-1].last_index for number, each in known.items()}
        ahead = {number: end for number, end in ends.items() if end > last_index}
        expected: dict[int, Producer] = {}
        for entry in self.canon:
            if entry.last_index <= ahead.get(entry.producer_id, commit_index):
                _add(expected, entry)
        for entry in rest:
            if entry.producer_id not in ahead:
                _add(expected, entry)
        must(expected == known, f"C: node {node} knows producers {known}, its log {expected}")

    def leads_with(self, node: int, term: int, term_at: Callable[[int], int | None]) -> None:
        """Leader completeness: whoever begins to lead has all that older terms committed.

        A node that was frozen in the moment of its election may begin to lead an old term.
        """
        number = len(self.canon)
        while number and self._commit_terms[number - 1] >= term:
            number -= 1
        if number:
            last = self.canon[number - 1]
            must(
                term_at(last.last_index) == last.term,
                f"E: the new leader {node} lacks {last}, which was committed",
            )

    def serves(self, node: int, term: int, commit_index: int) -> None:
        """Who begins to serve shows all that older terms committed: offsets never go back."""
        number = len(self.canon)
        while number and self._commit_terms[number - 1] >= term:
            number -= 1
        last = self.canon[number - 1].last_index if number else -1
        must(commit_index >= last, f"B: node {node} serves up to {commit_index}, {last} was shown")

    def was_acked(self, base_offset: int, crc: int) -> None:
        entry = self.canon_offsets.get(base_offset)
        must(
            entry is not None and entry.crc == crc,
            f"A: acknowledged at {base_offset} with checksum {crc}, but there is {entry}",
        )
        self.acked += 1

    def was_read(self, node: int, offset: int, end: int, data: list[memoryview]) -> None:
        """A reader got whole batches from `offset` on, below the high watermark `end`."""
        expected = offset
        for piece in data:
            for at, header in batch.headers(piece):
                entry = self.canon_offsets.get(header.base_offset)
                must(
                    entry is not None
                    and (entry.crc, entry.term) == (header.crc, header.leader_epoch),
                    f"B: node {node} shows {header} which was never committed",
                )
                must(header.base_offset <= expected < header.next_offset, "B: a hole in a read")
                must(_verify_crc(piece, header, at), "H: bad bytes were served")
                must(header.next_offset <= end, "B: a read beyond the high watermark")
                expected = header.next_offset
        must(expected > offset or offset == end, f"B: nothing to read at {offset} of {end}")
