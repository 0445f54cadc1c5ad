"""The journal of votes: what was synced is there, and what is not there is noticed."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate_broker.log.disk import OsDisk
from quorate_broker.log.errors import JournalError
from quorate_broker.log.journal import StateJournal, TermAndVote, Vote
from quorate_broker.testing.simdisk import PowerCutError, SimDisk

PATH = "/data/raft/state.log"
ME = Vote(1, "a")
YOU = Vote(2, "b")


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk(random.Random(1))


def sync(journal: StateJournal) -> None:
    while (job := journal.take_job()) is not None:
        job.run()
        journal.job_done(job)


def flip(disk: SimDisk, at: int) -> None:
    disk.flip(PATH, at)


def used(disk: SimDisk) -> int:
    """Bytes before the preallocated zeros (a block may end in some, so at least these)."""
    return len(disk.content(PATH).rstrip(b"\0"))


def test_states_come_back(disk: SimDisk) -> None:
    journal = StateJournal.open(disk, PATH)
    journal.put("a", 1, None)
    journal.put("b", 3, ME)
    sync(journal)
    journal.put("a", 2, YOU)
    sync(journal)
    disk.crash()
    assert StateJournal.open(disk, PATH).states == {
        "a": TermAndVote(2, YOU),
        "b": TermAndVote(3, ME),
    }


def test_one_write_and_one_sync_for_all_groups(disk: SimDisk) -> None:
    journal = StateJournal.open(disk, PATH)
    before = disk.seen["pwrite"], disk.seen["sync"]
    for number in range(100):
        journal.put(f"g{number}", 1, ME)
    job = journal.take_job()
    assert job is not None
    assert len(job.groups) == 100
    journal.put("late", 1, ME)
    assert journal.take_job() is None
    job.run()
    journal.job_done(job)
    assert (disk.seen["pwrite"], disk.seen["sync"]) == (before[0] + 1, before[1] + 1)
    assert journal.take_job() is not None


def test_the_same_state_again_needs_no_job(disk: SimDisk) -> None:
    journal = StateJournal.open(disk, PATH)
    journal.put("a", 1, ME)
    sync(journal)
    journal.put("a", 1, ME)
    assert journal.take_job() is None


def test_a_second_vote_in_a_term_is_our_bug(disk: SimDisk) -> None:
    journal = StateJournal.open(disk, PATH)
    journal.put("a", 1, ME)
    with pytest.raises(AssertionError):
        journal.put("a", 1, YOU)
    with pytest.raises(AssertionError):
        journal.put("a", 0, None)


def test_a_removed_group_is_forgotten(disk: SimDisk) -> None:
    journal = StateJournal.open(disk, PATH)
    journal.put("a", 1, ME)
    sync(journal)
    journal.remove("a")
    sync(journal)
    assert StateJournal.open(disk, PATH).states == {}


def test_a_failed_sync_is_final(disk: SimDisk) -> None:
    journal = StateJournal.open(disk, PATH)
    journal.put("a", 1, ME)
    job = journal.take_job()
    assert job is not None
    disk.fault = lambda operation, _: errno.EIO if operation == "sync" else None
    with pytest.raises(OSError, match="Input/output"):
        job.run()
    disk.fault = None
    assert journal.failed is not None
    journal.put("b", 1, ME)
    assert journal.take_job() is None
    journal.close()


def test_rot_in_either_copy_of_any_block_loses_nothing(disk: SimDisk) -> None:
    journal = StateJournal.open(disk, PATH)
    for term in range(1, 4):
        journal.put("a", term, ME)
        sync(journal)
    end = used(disk)
    for at in range(end):
        flip(disk, at)
        copy = SimDisk(random.Random(1))
        copy.mkdirs("/data/raft")
        handle = copy.open(PATH, create=True)
        copy.pwrite(handle, [disk.content(PATH)[:end]], 0)
        assert StateJournal.open(copy, PATH).states == {"a": TermAndVote(3, ME)}
        flip(disk, at)


def test_a_block_lost_below_another_one_is_corruption(disk: SimDisk) -> None:
    journal = StateJournal.open(disk, PATH)
    journal.put("a", 1, ME)
    sync(journal)
    begin = used(disk)
    journal.put("a", 2, ME)
    sync(journal)
    end = used(disk)
    journal.put("a", 3, ME)
    sync(journal)
    for at in range(begin, end):
        flip(disk, at)
    with pytest.raises(JournalError, match="block 2"):
        StateJournal.open(disk, PATH)


def test_a_journal_of_garbage_is_corrupt(disk: SimDisk) -> None:
    disk.mkdirs("/data/raft")
    handle = disk.open(PATH, create=True)
    disk.pwrite(handle, [b"garbage" * 10], 0)
    with pytest.raises(JournalError, match="no block"):
        StateJournal.open(disk, PATH)


def test_the_file_is_rewritten_before_it_grows(disk: SimDisk) -> None:
    journal = StateJournal.open(disk, PATH)
    for term in range(1, 600):
        for group in range(100):
            journal.put(f"group-{group}", term, ME)
        sync(journal)
    assert used(disk) < 1 << 20
    assert disk.seen["rename"] > 1
    disk.crash()
    states = StateJournal.open(disk, PATH).states
    assert states == {f"group-{group}": TermAndVote(599, ME) for group in range(100)}


@settings(max_examples=150)
@given(
    seed=st.integers(0, 1 << 30),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 8)), max_size=25),
)
def test_no_synced_vote_is_lost_by_a_power_cut(seed: int, steps: list[tuple[int, int]]) -> None:
    disk = SimDisk(random.Random(seed))
    journal = StateJournal.open(disk, PATH)
    synced: dict[str, TermAndVote] = {}
    for number, (group, cut) in enumerate(steps, 1):
        journal.put(f"g{group}", number, ME)
        job = journal.take_job()
        assert job is not None
        disk.cut_power_after = cut if cut >= 0 else None
        try:
            job.run()
        except PowerCutError:
            disk.crash()
            journal = StateJournal.open(disk, PATH)
            newest = TermAndVote(number, ME)
            assert {**synced, f"g{group}": newest} == {**journal.states, f"g{group}": newest}
        else:
            disk.cut_power_after = None
            journal.job_done(job)
            synced = dict(journal.states)
        synced = dict(journal.states)


def test_a_journal_on_a_real_disk(tmp_path: Path) -> None:
    path = str(tmp_path / "raft" / "state.log")
    journal = StateJournal.open(OsDisk(), path)
    journal.put("a", 7, YOU)
    journal.close()
    journal = StateJournal.open(OsDisk(), path)
    assert journal.states == {"a": TermAndVote(7, YOU)}
    journal.close()
