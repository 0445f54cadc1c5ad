"""The shell of one replica: who is answered when, and what is left behind at its end."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

import pytest

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.partition.shell import ROUND_MS, Appended, Partition
from quorate_broker.raft.messages import Append, HardState, Heartbeat, HeartbeatReply
from quorate_broker.testing.stand import ALONE, OTHER, THREE, Stand
from quorate_broker.wire import batch


def run(test: Callable[[Stand], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await test(Stand())

    asyncio.run(main())


def built(term: int = 0, base_offset: int = 0) -> bytearray:
    return batch.build(
        [batch.Record(None, b"v")], timestamp_ms=0, base_offset=base_offset, leader_epoch=term
    )


def append(partition: Partition, acks: int = -1) -> asyncio.Future[Appended]:
    raw = built()
    return partition.append(memoryview(raw), batch.parse_header(raw), acks, 1_000)


def failure(future: asyncio.Future[Appended]) -> ErrorCode:
    error = future.exception()
    assert isinstance(error, KafkaError)
    return error.code


def test_acks_all_waits_for_a_majority_and_acks_one_for_the_own_disk() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        everyone, mine = append(partition), append(partition, acks=1)
        await stand.turn()
        assert not everyone.done()
        assert not mine.done()
        await stand.flush()
        assert not everyone.done()
        assert mine.result().base_offset == 1
        await stand.acknowledge(partition)
        assert everyone.result().base_offset == 0

    run(test)


def test_a_waiter_is_answered_when_its_time_is_up() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        waiting = append(partition)
        stand.clock.now_ms = 1_000
        partition.tick(1_000)
        assert failure(waiting) is ErrorCode.REQUEST_TIMED_OUT

    run(test)


def test_a_waiter_is_never_answered_by_another_leaders_commit() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        waiting = append(partition)
        await stand.flush()
        partition.receive(OTHER, Append(2, 0, 1, 1, (built(term=2),)))
        await stand.flush()
        assert partition.replica.commit_index == 1
        assert failure(waiting) is ErrorCode.NOT_LEADER_OR_FOLLOWER

    run(test)


def test_a_failed_disk_job_fences_the_partition_and_answers_its_waiters() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition(ALONE)
        partition.tick(0)
        await stand.flush()
        everyone, mine = append(partition), append(partition, acks=1)
        await stand.turn()
        await stand.fail_job(OSError(errno.EIO, "bad sector"))
        assert failure(everyone) is failure(mine) is ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert not partition.is_leader
        assert [type(error) for error in stand.failures] == [OSError]
        stand.sent.clear()
        partition.receive(OTHER, Heartbeat(9, 0))
        await stand.flush()
        assert stand.sent == []

    run(test)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad"), CorruptLogError("rotten")])
def test_a_read_that_fails_is_a_storage_error_and_fences_the_partition(error: Exception) -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition(ALONE)
        partition.tick(0)
        await stand.flush()
        append(partition)
        await stand.flush()

        def fails(offset: int, max_bytes: int, end_offset: int) -> list[memoryview]:
            raise error

        partition.replica.log.read = fails  # type: ignore[method-assign]
        with pytest.raises(KafkaError) as refused:
            partition.read(0, 1_000)
        assert refused.value.code is ErrorCode.KAFKA_STORAGE_ERROR
        assert stand.failures == [error]
        assert not partition.is_leader

    run(test)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad"), CorruptLogError("rotten")])
def test_a_leader_that_cannot_read_what_a_straggler_lacks_says_so_once(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by chaos: it fenced itself and told nobody, so that nobody filled it again."""

    def ready(now_ms: int) -> object:
        monkeypatch.undo()
        raise error

    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        waiting = append(partition)
        await stand.flush()
        monkeypatch.setattr(partition.replica._raft, "ready", ready)
        partition.kick()
        await stand.flush()
        assert not partition.is_leader
        assert stand.failures == [error]
        assert failure(waiting) is ErrorCode.NOT_LEADER_OR_FOLLOWER

    run(test)


def test_a_closed_partition_leads_nothing_and_tells_everyone_who_waits() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        waiting = append(partition)
        told: list[bool] = []
        partition.add_waiter(lambda: told.append(partition.is_leader))
        partition.close()
        assert failure(waiting) is ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert told[-1] is False
        assert failure(append(partition)) is ErrorCode.NOT_LEADER_OR_FOLLOWER
        with pytest.raises(KafkaError):
            partition.read(0, 1_000)
        await stand.flush()

    run(test)


def test_a_log_closed_in_the_very_turn_of_a_new_term_leaves_that_term_in_the_journal() -> None:
    """Otherwise the next start finds entries of a term that nobody journaled, and is fenced."""

    async def test(stand: Stand) -> None:
        partition = stand.partition()
        partition.receive(OTHER, Append(3, -1, 0, -1, (built(term=3),)))
        partition.close()
        settling = asyncio.ensure_future(partition.settled())
        await stand.turn()
        assert not settling.done()
        await stand.flush()
        await settling
        partition.replica.log.close()
        assert stand.journal == HardState(3)
        again = stand.partition(THREE)
        assert again.replica.log.last_term == 3
        assert again.replica.error is None

    run(test)


def bug(*_: object) -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("where", ["drain", "receive", "tick", "job_done", "hard_state_synced"])
def test_a_bug_fences_its_replica_and_answers_who_waits(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Left alone, the group would be stuck: a callback that raises is logged and nothing more."""

    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        waiting = append(partition)
        monkeypatch.setattr(partition.replica, where, bug)
        partition.receive(OTHER, Append(2, 0, 1, 1, (built(term=2),)))  # a term, a job
        stand.clock.now_ms = 100_000
        partition.tick(stand.clock.now_ms)
        await stand.flush()
        assert [type(error) for error in stand.failures] == [RuntimeError]
        assert not partition.is_leader
        assert failure(waiting).retriable

    run(test)
    assert caplog.text.count("a bug, not a bad disk") == 1


def test_a_waiter_bounds_the_time_until_the_next_look() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        stand.clock.now_ms = 1
        raw = built()
        waiting = partition.append(memoryview(raw), batch.parse_header(raw), -1, 7)
        await stand.turn()
        assert partition.deadline_ms <= 8
        stand.clock.now_ms = 8
        partition.tick(8)
        assert failure(waiting) is ErrorCode.REQUEST_TIMED_OUT
        await stand.flush()
        assert partition.deadline_ms > 8

    run(test)


def beats(stand: Stand) -> list[Heartbeat]:
    return [message for to, message in stand.sent if to == OTHER and isinstance(message, Heartbeat)]


async def answer(stand: Stand, partition: Partition, beat: Heartbeat) -> None:
    last = partition.replica.log.last_index
    partition.receive(OTHER, HeartbeatReply(beat.term, last, last, at_ms=beat.at_ms))
    await stand.turn()


def test_who_has_to_read_the_newest_waits_until_a_majority_has_been_asked() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        stand.clock.now_ms += 10
        partition.tick(stand.clock.now_ms)
        await stand.turn()
        stand.sent.clear()
        one, two = partition.confirm(), partition.confirm()
        await stand.turn()
        (beat,) = beats(stand)  # both share it
        assert not one.done()
        assert not two.done()
        await answer(stand, partition, beat)
        assert one.exception() is None
        assert two.exception() is None

    run(test)


def test_an_answer_to_an_older_question_confirms_nothing() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        first = partition.confirm()
        await stand.turn()
        older = beats(stand)[-1]
        later = partition.confirm()
        await stand.turn()
        await answer(stand, partition, older)
        assert first.exception() is None
        assert not later.done()
        await answer(stand, partition, beats(stand)[-1])
        assert later.exception() is None

    run(test)


def test_a_deposed_leader_confirms_nothing() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        asked = partition.confirm()
        await stand.turn()
        partition.receive(OTHER, Append(2, 0, 1, 0, (built(term=2),)))
        await stand.turn()
        assert failure(asked) is ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert failure(partition.confirm()) is ErrorCode.NOT_LEADER_OR_FOLLOWER
        await stand.flush()

    run(test)


def test_a_round_that_nobody_answers_ends_in_time() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        asked = partition.confirm()
        await stand.turn()
        stand.clock.now_ms += ROUND_MS
        partition.tick(stand.clock.now_ms)
        assert failure(asked) in (ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        await stand.flush()

    run(test)


def test_alone_a_leader_needs_nobody_to_confirm_it() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition(ALONE)
        partition.tick(0)
        await stand.flush()
        asked = partition.confirm()
        await stand.turn()
        assert asked.exception() is None

    run(test)


@pytest.mark.parametrize("disk_fails", [False, True])
def test_old_data_is_brought_into_memory_by_a_thread(disk_fails: bool) -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition(ALONE)
        partition.tick(0)
        await stand.flush()
        append(partition)
        assert partition.warm(0, 100) is None  # it is in the log's own cache
        await stand.flush()
        partition.replica.log._tail.evict(0, partition.replica.log.last_index)
        assert partition.warm(1, 100) is None  # nothing is committed there
        warming = partition.warm(0, 100)
        assert warming is not None
        await stand.turn()
        assert not warming.done()
        if disk_fails:
            await stand.fail_job(OSError(errno.EIO, "bad sector"))
        await stand.flush()
        assert warming.done()
        assert len(partition.read(0, 100)) == 1  # and if the disk failed again, that would tell

    run(test)
