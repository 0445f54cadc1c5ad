"""A machine on a partition: loaded, asked, dropped and loaded again, and nobody left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.partition import hosted
from quorate_broker.partition.hosted import Follower, Host
from quorate_broker.raft.messages import Append, Heartbeat, HeartbeatReply
from quorate_broker.testing.stand import ALONE, OTHER, THIRD, Stand
from quorate_broker.wire import batch
from quorate_broker.wire.outcome import Outcome


class Tally:
    """Writes down every text it is given; `?` asks for all of them and writes nothing."""

    def __init__(self) -> None:
        self.seen: list[bytes | None] = []

    def replay(self, record: batch.Record, offset: int) -> None:
        assert offset == len(self.seen)
        self.seen.append(record.value)

    def handle(self, ticket: int, command: object, now_ms: int) -> Outcome:
        assert isinstance(command, bytes)
        if command == b"?":
            return Outcome(replies=((ticket, list(self.seen)),))
        record = batch.Record(None, command)
        return Outcome(records=(record,), replies=((ticket, len(self.seen)),))

    def expire(self, now_ms: int) -> Outcome:
        return Outcome()

    def loaded(self, now_ms: int) -> Outcome:
        return Outcome()


def run(test: Callable[[Stand], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await test(Stand())

    asyncio.run(main())


def code(future: asyncio.Future[Any]) -> ErrorCode:
    error = future.exception()
    assert isinstance(error, KafkaError)
    return error.code


async def leading(stand: Stand) -> tuple[Any, Host]:
    partition = stand.partition()
    host = Host(partition, Tally, ErrorCode.NOT_COORDINATOR, stand.clock)
    await stand.elect(partition)
    assert host.machine is not None
    return partition, host


def foreign(term: int) -> bytearray:
    return batch.build([batch.Record(None, b"theirs")], timestamp_ms=0, leader_epoch=term)


def test_a_command_decides_on_what_is_not_committed_yet_and_its_reply_waits() -> None:
    async def test(stand: Stand) -> None:
        partition, host = await leading(stand)
        first, second, asked = (host.submit(text) for text in (b"a", b"b", b"?"))
        await stand.flush()
        assert not any(future.done() for future in (first, second, asked))
        await stand.acknowledge(partition)
        assert (first.result(), second.result()) == (0, 1)
        assert asked.result() == [b"a", b"b"]

    run(test)


def test_whoever_does_not_lead_says_so() -> None:
    async def test(stand: Stand) -> None:
        host = Host(stand.partition(), Tally, ErrorCode.NOT_COORDINATOR, stand.clock)
        assert code(host.submit(b"a")) is ErrorCode.NOT_COORDINATOR

    run(test)


def test_a_reply_is_never_released_by_another_leaders_commit_index() -> None:
    """A command that writes nothing comes in the turn in which the leadership was lost."""

    async def test(stand: Stand) -> None:
        partition, host = await leading(stand)
        written = host.submit(b"mine")
        await stand.flush()
        partition.receive(OTHER, Append(2, 0, 1, 1, (foreign(2),)))
        assert partition.replica.commit_index == 1
        asked = host.submit(b"?")
        assert code(asked) is ErrorCode.NOT_COORDINATOR
        await stand.flush()
        assert code(written) is ErrorCode.NOT_COORDINATOR

    run(test)


def test_a_refused_append_answers_everyone_and_the_machine_comes_back() -> None:
    """A hand-over that fails leaves this node leading, and nothing else would wake the host."""

    async def test(stand: Stand) -> None:
        partition, host = await leading(stand)
        last = partition.replica.log.last_index
        for now_ms in range(150, 1_050, 150):
            stand.clock.now_ms = now_ms
            partition.tick(now_ms)
            partition.receive(THIRD, HeartbeatReply(1, -1, -1))
        partition.transfer_leadership(THIRD.node_id)
        refused = host.submit(b"a")
        assert code(refused) is ErrorCode.NOT_COORDINATOR
        assert host.machine is None
        while stand.clock.now_ms < 3_000:
            stand.clock.now_ms += 150
            partition.tick(stand.clock.now_ms)
            partition.receive(OTHER, HeartbeatReply(1, last, last))
            await stand.flush()
        while host.machine is None:
            await asyncio.sleep(hosted.RELOAD_S / 10)
        again = host.submit(b"a")
        await stand.flush()
        await stand.acknowledge(partition)
        assert again.result() == 0

    run(test)


def test_tickets_of_a_partition_that_goes_away_are_answered() -> None:
    async def test(stand: Stand) -> None:
        partition, host = await leading(stand)
        waiting = host.submit(b"a")
        partition.close()
        assert code(waiting) is ErrorCode.NOT_COORDINATOR
        assert code(host.submit(b"b")) is ErrorCode.NOT_COORDINATOR
        await stand.flush()

    run(test)


def test_an_image_follows_what_is_committed_and_stops_where_the_disk_fails() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition(ALONE)
        image, steps = Tally(), []
        follower = Follower(partition, image, lambda: steps.append(len(image.seen)))
        partition.tick(0)
        await stand.flush()
        host = Host(partition, Tally, ErrorCode.NOT_COORDINATOR, stand.clock)
        await stand.turn()
        host.submit(b"a")
        assert image.seen == []
        await stand.flush()
        assert (image.seen, steps) == ([b"a"], [1])

        def rotten(offset: int, max_bytes: int, end_offset: int) -> list[memoryview]:
            raise CorruptLogError("rotten")

        host.submit(b"b")
        partition.replica.log.read = rotten  # type: ignore[method-assign]
        await stand.flush()
        follower.catch_up()
        assert image.seen == [b"a"]
        assert len(stand.failures) == 1
        assert host.machine is None

    run(test)


class Confused(Tally):
    """Has a bug that a certain record brings to light."""

    def replay(self, record: batch.Record, offset: int) -> None:
        if record.value == b"bug":
            raise RuntimeError("a bug")
        super().replay(record, offset)


def test_a_bug_in_a_machine_fences_its_partition_where_it_loads(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Otherwise it would load for ever, and every command be told to try again."""

    async def test(stand: Stand) -> None:
        partition, host = await leading(stand)
        host.submit(b"bug")
        await stand.flush()
        await stand.acknowledge(partition)
        host.close()
        again = Host(partition, Confused, ErrorCode.NOT_COORDINATOR, stand.clock)
        await stand.turn()
        assert [str(error) for error in stand.failures] == ["a bug"]
        assert code(again.submit(b"?")) is ErrorCode.NOT_COORDINATOR
        assert not again.loading

    run(test)


def test_a_bug_in_a_machine_fences_its_partition_where_it_decides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        host = Host(partition, Confused, ErrorCode.NOT_COORDINATOR, stand.clock)
        await stand.elect(partition)
        before = host.submit(b"a")
        with pytest.raises(RuntimeError):
            host.submit(b"bug")
        assert [str(error) for error in stand.failures] == ["a bug"]
        assert code(before) is ErrorCode.NOT_COORDINATOR
        await stand.flush()

    run(test)


class Image(Tally):
    """A tally that can begin from a state: the values so far, joined by commas."""

    def __init__(self) -> None:
        super().__init__()
        self.restored = 0

    def restore(self, content: bytes) -> None:
        self.seen = list(content.split(b","))
        self.restored += 1


async def with_records(stand: Stand, *values: bytes) -> tuple[Any, Host]:
    """A partition that leads alone, with these records."""
    partition = stand.partition(ALONE)
    host = Host(partition, Image, ErrorCode.NOT_COORDINATOR, stand.clock)
    partition.tick(0)
    await stand.flush()
    for value in values:
        host.submit(value)
        await stand.flush()
    return partition, host


async def put_state(stand: Stand, partition: Any, content: bytes) -> None:
    """The machine's state so far, and nothing before it any more."""
    assert hosted.keep_state(partition, partition.high_watermark, content)
    await stand.flush()
    partition.move_start(partition.high_watermark)
    await stand.flush()
    assert partition.start_offset == partition.high_watermark


def test_who_follows_begins_from_the_logs_state_and_goes_on_with_the_records_behind_it() -> None:
    async def test(stand: Stand) -> None:
        partition, host = await with_records(stand, b"a", b"b")
        await put_state(stand, partition, b"A,B")
        host.submit(b"c")
        await stand.flush()
        image, steps = Image(), []
        Follower(partition, image, lambda: steps.append(len(image.seen))).catch_up()
        assert (image.seen, steps) == ([b"A", b"B", b"c"], [3])
        host.close()
        again = Host(partition, Image, ErrorCode.NOT_COORDINATOR, stand.clock)
        await stand.turn()
        assert await again.submit(b"?") == [b"A", b"B", b"c"]

    run(test)


def test_who_followed_all_along_needs_no_state_when_the_start_moves() -> None:
    """The start moves in the very turn in which the last commit is told."""

    async def test(stand: Stand) -> None:
        partition, host = await with_records(stand, b"a")
        image = Image()
        Follower(partition, image, lambda: None).catch_up()
        host.submit(b"b")
        await stand.flush()
        await put_state(stand, partition, b"wrong")
        host.submit(b"c")
        await stand.flush()
        assert (image.seen, image.restored) == ([b"a", b"b", b"c"], 0)
        assert stand.failures == []

    run(test)


def test_who_is_behind_the_start_becomes_what_the_state_says() -> None:
    """A snapshot was taken: the records between are nowhere on this disk."""

    async def test(stand: Stand) -> None:
        partition, host = await with_records(stand, b"a", b"b")
        image = Image()
        follower = Follower(partition, image, lambda: None)
        partition.remove_waiter(follower.catch_up)
        follower.catch_up()
        host.submit(b"c")
        await stand.flush()
        await put_state(stand, partition, b"A,B,C")
        follower.catch_up()
        assert (image.seen, image.restored) == ([b"A", b"B", b"C"], 1)

    run(test)


def test_a_state_that_is_older_than_the_logs_start_stands_for_nothing() -> None:
    async def test(stand: Stand) -> None:
        partition, _ = await with_records(stand, b"a", b"b")
        assert hosted.keep_state(partition, 1, b"A")
        await stand.flush()
        partition.move_start(2)
        await stand.flush()
        image = Image()
        Follower(partition, image, lambda: None).catch_up()
        assert ["nothing stands for them" in str(error) for error in stand.failures] == [True]

    run(test)


def test_a_state_is_not_kept_before_its_records_are_on_the_disk() -> None:
    async def test(stand: Stand) -> None:
        partition = stand.partition()
        await stand.elect(partition)
        raw = foreign(1)
        partition.append(memoryview(raw), batch.parse_header(raw), -1, 1_000)
        await stand.turn()
        assert not hosted.keep_state(partition, 1, b"A")
        assert partition.replica.log.state is None
        await stand.flush()

    run(test)


def test_records_that_are_gone_with_nothing_in_their_stead_fence_the_replica() -> None:
    async def test(stand: Stand) -> None:
        partition, _ = await with_records(stand, b"a", b"b")
        partition.move_start(1)
        await stand.flush()
        Follower(partition, Image(), lambda: None).catch_up()
        assert ["nothing stands for them" in str(error) for error in stand.failures] == [True]

    run(test)


def test_a_machine_without_a_state_lives_on_the_records_that_are_left() -> None:
    class Late(Tally):
        def replay(self, record: batch.Record, offset: int) -> None:
            self.seen.append(record.value)

    async def test(stand: Stand) -> None:
        partition, host = await with_records(stand, b"a", b"b")
        host.close()
        partition.move_start(1)
        await stand.flush()
        again = Host(partition, Late, ErrorCode.NOT_COORDINATOR, stand.clock)
        await stand.turn()
        assert await again.submit(b"?") == [b"b"]

    run(test)


def test_a_reply_that_writes_nothing_waits_for_a_round_where_it_must() -> None:
    async def test(stand: Stand) -> None:
        partition, host = await leading(stand)
        asked = host.submit(b"?", confirmed=True)
        await stand.turn()
        assert not asked.done()
        beat = next(
            message for _, message in reversed(stand.sent) if isinstance(message, Heartbeat)
        )
        last = partition.replica.log.last_index
        partition.receive(OTHER, HeartbeatReply(beat.term, last, last, at_ms=beat.at_ms))
        await stand.turn()
        assert asked.result() == []

    run(test)


def test_a_reply_of_a_deposed_leader_is_none() -> None:
    """Its picture may be older than what another leader has acknowledged."""

    async def test(stand: Stand) -> None:
        partition, host = await leading(stand)
        asked = host.submit(b"?", confirmed=True)
        await stand.turn()
        partition.receive(OTHER, Append(2, 0, 1, 0, (foreign(2),)))
        await stand.flush()
        assert code(asked) is ErrorCode.NOT_COORDINATOR

    run(test)
