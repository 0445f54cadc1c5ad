"""The product's log with a window in it, and the shapes in which the simulator compares logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from quorate_broker.log.journal import StateJournal, TermAndVote
from quorate_broker.log.layout import Prefix
from quorate_broker.log.log import Log
from quorate_broker.raft.messages import Buffer, HardState, Peer
from quorate_broker.testing.simulation.checkers import Known, known
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader

GROUP = "group"
LOG_PATH = "/data/groups/topic-0"
JOURNAL_PATH = "/data/raft/state.log"
WALK_STEP = 1 << 20


class ObservedLog(Log):
    """The real log; it tells a checker of every entry that is appended."""

    observer: Callable[[int, int, BatchHeader], None]
    seen: Counter[str]
    was_cut = False
    """Since somebody looked."""
    appended: dict[int, int]
    """Terms of entries by their first index, until somebody has seen them committed: what moves
    the log's start may be gone with its own segment in the turn in which it is committed."""

    def _append(self, buf: Buffer, header: BatchHeader) -> None:
        first_index, before = self.last_index + 1, self.last_term
        super()._append(buf, header)
        self.appended[first_index] = self.last_term
        self.observer(first_index, before, batch.parse_header(buf))

    def truncate_after(self, index: int) -> None:
        self.seen["truncation"] += index < self.last_index
        self.was_cut |= index < self.last_index
        super().truncate_after(index)
        for cut in [first for first in self.appended if first > index]:
            del self.appended[cut]

    def reset(self, prefix: Prefix, extra: bytes = b"") -> None:
        super().reset(prefix, extra)
        self.appended.clear()


def entries(log: Log, first_index: int) -> Iterator[Known]:
    """Entries from the one that begins at `first_index`, read back."""
    for index, header, _ in log.walk(first_index, WALK_STEP):
        before = log.term_at(index - 1)
        assert before is not None
        yield known(index, before, header)


def to_hard_state(state: TermAndVote | None) -> HardState:
    if state is None:
        return HardState()
    return HardState(state.term, None if state.vote is None else Peer(*state.vote))


def hard_state(journal: StateJournal) -> HardState:
    return to_hard_state(journal.states.get(GROUP))
