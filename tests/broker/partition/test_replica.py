"""One replica: proposals, producers, checkpoints, fencing, and what a drain holds back."""

from typing import cast

import pytest

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.log import Log
from quorate_broker.partition.replica import CorruptReplica, Effects, Replica, Seat
from quorate_broker.raft import membership
from quorate_broker.raft.core import Role
from quorate_broker.raft.messages import (
    Append,
    AppendReply,
    HardState,
    Heartbeat,
    Peer,
    PreVoteReply,
    Vote,
    VoteReply,
)
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.testing.memory_log import MemoryJob, MemoryLog
from quorate_broker.testing.transcript import FixedDice
from quorate_broker.wire import batch
from quorate_broker.wire.batch import Record

ME, OTHER, THIRD = Peer(1, "a"), Peer(2, "b"), Peer(3, "c")


def replica(
    log: MemoryLog,
    voters: frozenset[Peer] = frozenset({ME}),
    hard_state: HardState | None = None,
    **settings: int,
) -> Replica:
    log.founding = membership.of(voters).encode()
    seat = Seat("t", ME)
    hard_state = hard_state or HardState(log.last_term)
    return Replica(seat, cast(Log, log), hard_state, RaftSettings(**settings), FixedDice(1))


def run(one: Replica, now_ms: int = 0) -> list[Effects]:
    """Do at once whatever it asks for."""
    done = []
    while True:
        effects = one.drain(now_ms)
        done.append(effects)
        if effects.hard_state is not None:
            one.hard_state_synced(effects.hard_state)
        if effects.job is not None:
            effects.job.run()
            one.job_done(effects.job)
        if effects.hard_state is None and effects.job is None:
            return done


def leading(log: MemoryLog, **settings: int) -> Replica:
    one = replica(log, **settings)
    one.tick(0)
    run(one)
    assert one.serving
    return one


def built(count: int = 1, *, sequence: int = -1, producer: int = -1, size: int = 1) -> bytearray:
    return batch.build(
        [Record(None, bytes(size))] * count,
        timestamp_ms=0,
        producer_id=producer,
        producer_epoch=-1 if producer < 0 else 0,
        base_sequence=sequence,
    )


def propose(one: Replica, buf: bytearray) -> tuple[int, int, int, bool]:
    done = one.propose(buf, batch.parse_header(buf))
    return done.base_offset, done.last_offset, done.last_index, done.duplicate


def append_of(term: int, prev: tuple[int, int], commit: int, *entries: bytearray) -> Append:
    return Append(term, *prev, commit, tuple(entries))


def entry(offset: int, term: int) -> bytearray:
    return batch.build([Record(None, b"x")], base_offset=offset, leader_epoch=term, timestamp_ms=0)


# ------------------------------------------------------------------------------------- proposals


def test_offsets_are_dense_while_indexes_count_internal_entries_too() -> None:
    one = leading(MemoryLog())
    assert propose(one, built(3)) == (0, 2, 3, False)
    assert propose(one, built(2)) == (3, 4, 5, False)
    run(one)
    assert (one.commit_index, one.high_watermark) == (5, 5)


def test_a_batch_is_stamped_with_its_offset_and_the_leaders_term() -> None:
    one = leading(MemoryLog())
    buf = built()
    propose(one, buf)
    header = batch.parse_header(buf)
    assert (header.base_offset, header.leader_epoch) == (0, 1)
    assert batch.verify_crc(buf, header)


def test_nothing_is_committed_before_the_own_sync() -> None:
    one = leading(MemoryLog())
    _, _, index, _ = propose(one, built())
    effects = one.drain(0)
    assert one.commit_index < index
    assert effects.job is not None
    effects.job.run()
    one.job_done(effects.job)
    assert one.drain(0).committed == index


def test_many_proposals_share_one_job() -> None:
    one = leading(MemoryLog())
    for _ in range(10):
        propose(one, built())
    jobs = [effects.job for effects in run(one) if effects.job is not None]
    assert len(jobs) == 1
    assert cast(MemoryJob, jobs[0]).last_index == 10


def test_who_does_not_lead_refuses() -> None:
    one = replica(MemoryLog(), frozenset({ME, OTHER, THIRD}))
    with pytest.raises(KafkaError) as raised:
        propose(one, built())
    assert raised.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_leader_serves_only_when_an_entry_of_its_own_term_is_committed() -> None:
    one = replica(MemoryLog())
    one.tick(0)
    one.hard_state_synced(cast(HardState, one.drain(0).hard_state))
    assert one.role is Role.LEADER
    assert not one.serving
    with pytest.raises(KafkaError) as raised:
        propose(one, built())
    assert raised.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    changes = [effects.leader for effects in run(one) if effects.leader is not None]
    assert changes[-1].serving


def test_too_much_uncommitted_data_is_refused_until_it_is_committed() -> None:
    one = leading(MemoryLog(), uncommitted_bytes=500)
    propose(one, built(size=600))
    with pytest.raises(KafkaError) as raised:
        propose(one, built())
    assert raised.value.code is ErrorCode.NOT_ENOUGH_REPLICAS
    assert raised.value.code.retriable
    run(one)
    propose(one, built())


# ------------------------------------------------------------------------------------- producers


def test_a_repeated_batch_gets_the_places_of_the_first() -> None:
    one = leading(MemoryLog())
    first = propose(one, built(2, sequence=0, producer=9))
    assert propose(one, built(2, sequence=0, producer=9)) == (*first[:3], True)
    assert one.log.next_offset == 2


def refusal(one: Replica, buf: bytearray) -> ErrorCode:
    with pytest.raises(KafkaError) as raised:
        propose(one, buf)
    return raised.value.code


def test_what_a_producer_sent_behind_a_refused_batch_is_refused_without_speaking_of_order() -> None:
    one = replica(MemoryLog())
    assert refusal(one, built(sequence=0, producer=9)) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    one.tick(0)
    run(one)
    assert one.serving
    assert refusal(one, built(sequence=1, producer=9)) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert propose(one, built(sequence=0, producer=9))[0] == 0, "both come again"
    assert propose(one, built(sequence=1, producer=9))[0] == 1


def test_who_serves_since_this_turn_takes_no_gap_for_one() -> None:
    one = replica(MemoryLog())
    one.tick(0)
    while not one.serving:
        effects = one.drain(0)
        if effects.hard_state is not None:
            one.hard_state_synced(effects.hard_state)
        if effects.job is not None:
            effects.job.run()
            one.job_done(effects.job)
    assert refusal(one, built(sequence=1, producer=9)) is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_gap_that_nothing_explains_is_out_of_order() -> None:
    one = leading(MemoryLog())
    one.tick(5_000)
    run(one, 5_000)
    assert refusal(one, built(sequence=1, producer=9)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_a_gap_behind_what_a_full_disk_refused_is_none_for_a_while() -> None:
    one = leading(MemoryLog())
    one.tick(60_000)
    run(one, 60_000)
    one.paused = True
    assert refusal(one, built(sequence=0, producer=9)) is ErrorCode.KAFKA_STORAGE_ERROR
    one.paused = False
    assert refusal(one, built(sequence=1, producer=9)) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    run(one, 65_000)
    assert refusal(one, built(sequence=1, producer=9)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_what_is_older_than_the_table_is_out_of_order_at_any_time() -> None:
    one = leading(MemoryLog())
    for sequence in range(6):
        propose(one, built(sequence=sequence, producer=9))
    assert refusal(one, built(sequence=0, producer=9)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_producers_survive_a_restart_without_a_checkpoint() -> None:
    log = MemoryLog()
    one = leading(log)
    propose(one, built(2, sequence=0, producer=9))
    run(one)
    again = leading(log.crash())
    assert propose(again, built(2, sequence=0, producer=9)) == (0, 1, 2, True)
    assert propose(again, built(1, sequence=2, producer=9))[3] is False


def test_producers_and_the_commit_index_come_back_from_a_checkpoint() -> None:
    log = MemoryLog()
    one = leading(log, checkpoint_ms=10)
    propose(one, built(2, sequence=0, producer=9))
    run(one)
    one.tick(10)
    run(one, 10)
    assert log.checkpoint_index == 2
    again = replica(log.crash())
    assert again.commit_index == 2
    assert again.high_watermark == 2
    again.tick(0)
    run(again)
    assert propose(again, built(2, sequence=0, producer=9)) == (0, 1, 2, True)


def test_a_checkpoint_holds_only_what_is_committed() -> None:
    log = MemoryLog()
    one = leading(log, checkpoint_ms=10)
    propose(one, built(sequence=0, producer=9))
    run(one)
    propose(one, built(sequence=1, producer=9))
    one.tick(10)
    effects = one.drain(10)
    assert effects.job is not None
    assert cast(MemoryJob, effects.job).checkpoint is not None
    assert cast(MemoryJob, effects.job).checkpoint[0] == 1  # type: ignore[index]


def test_a_checkpoint_is_asked_for_when_much_was_appended() -> None:
    log = MemoryLog()
    one = leading(log, checkpoint_bytes=1_000)
    propose(one, built(size=2_000))
    run(one, 300)
    assert log.checkpoint_index == 1


@pytest.mark.parametrize("name", ["a", "b", "c", "d", "e", "f", "g", "h"])
def test_the_first_checkpoint_after_a_kill_lets_the_start_go_by(name: str) -> None:
    log = MemoryLog()
    one = leading(log, checkpoint_ms=5_000)
    propose(one, built())
    run(one)
    killed = log.crash()
    killed.founding = membership.of(frozenset({ME})).encode()
    killed.bytes_since_checkpoint = 100  # as recovery says of what it found behind the checkpoint
    dice = FixedDice(1)
    again = Replica(Seat(name, ME), cast(Log, killed), HardState(1), RaftSettings(), dice)
    times = [at for at in range(0, 10_001, 100) if _writes_checkpoint(again, at)]
    assert len(times) == 1
    assert 5_000 <= times[0] <= 10_000


def _writes_checkpoint(one: Replica, now_ms: int) -> bool:
    one.tick(now_ms)
    jobs = [effects.job for effects in run(one, now_ms) if effects.job is not None]
    return any(cast(MemoryJob, job).checkpoint is not None for job in jobs)


def test_nothing_new_means_no_new_checkpoint() -> None:
    one = leading(MemoryLog(), checkpoint_ms=10)
    one.tick(10)
    run(one, 10)
    one.tick(500)
    assert one.drain(500).job is None


def test_producers_roll_back_with_the_log() -> None:
    log = MemoryLog()
    one = replica(log, frozenset({ME, OTHER, THIRD}))
    tail = batch.build(
        [Record(None, b"x")],
        base_offset=0,
        leader_epoch=1,
        timestamp_ms=0,
        producer_id=9,
        producer_epoch=0,
        base_sequence=0,
    )
    one.receive(OTHER, append_of(1, (-1, 0), -1, tail), 0)
    run(one)
    one.receive(THIRD, append_of(2, (-1, 0), -1, entry(0, 2)), 1)
    run(one, 1)
    assert [each.term for each in log.entries] == [2]
    assert one._producers.check(batch.parse_header(tail)) is None


# ------------------------------------------------------------------------------- what is held back


def test_a_vote_leaves_when_it_is_on_disk() -> None:
    one = replica(MemoryLog(), frozenset({ME, OTHER, THIRD}))
    one.receive(OTHER, Vote(1, -1, 0), 0)
    effects = one.drain(0)
    assert effects.hard_state == HardState(1, OTHER)
    assert effects.messages == []
    one.hard_state_synced(effects.hard_state)
    assert one.drain(0).messages == [(OTHER, VoteReply(1, True))]


def test_entries_are_not_written_before_their_term_is_on_disk() -> None:
    one = replica(MemoryLog(), frozenset({ME, OTHER, THIRD}))
    one.receive(OTHER, append_of(4, (-1, 0), -1, entry(0, 4)), 0)
    effects = one.drain(0)
    assert effects.job is None
    one.hard_state_synced(cast(HardState, effects.hard_state))
    assert one.drain(0).job is not None


def test_a_stranger_is_answered_but_what_it_answers_never_counts() -> None:
    # The membership by which it is a member may not have come here yet.
    one = replica(MemoryLog(), frozenset({ME, OTHER, THIRD}))
    one.campaign(0)
    for stranger in (Peer(2, "another disk"), Peer(7, "x"), ME):
        one.receive(stranger, PreVoteReply(0, 1, True), 0)
    run(one)
    assert (one.role, one.term) == (Role.PRE_CANDIDATE, 0)
    one.receive(OTHER, PreVoteReply(0, 1, True), 0)
    run(one)
    for stranger in (Peer(2, "another disk"), Peer(7, "x"), ME):
        one.receive(stranger, VoteReply(1, True), 0)
    run(one)
    assert (one.role, one.term) == (Role.CANDIDATE, 1)
    one.receive(OTHER, VoteReply(1, True), 0)
    run(one)
    one.receive(Peer(2, "another disk"), AppendReply(1, 0, 0), 0)
    run(one)
    assert not one.serving
    one.receive(Peer(7, "x"), Vote(5, 100, 4), 0)
    assert [to for to, _ in run(one)[0].messages] == [Peer(7, "x")]


def test_who_is_far_behind_but_hears_a_leader_does_not_ask_for_elections() -> None:
    # Redpanda #30815: asking for votes that its log cannot get, it never came to take entries.
    one = replica(MemoryLog(), frozenset({ME, OTHER, THIRD}))
    for now_ms in range(0, 10_000, 700):
        one.tick(now_ms)
        one.receive(OTHER, append_of(3, (100, 3), 90, entry(100, 3)), now_ms)
        run(one, now_ms)
        assert (one.role, one.leader) == (Role.FOLLOWER, OTHER)


def test_another_leaders_commit_is_not_told_together_with_the_loss_of_leadership() -> None:
    # The same index holds another entry now: whoever waits for ours must learn of the loss first.
    one = replica(MemoryLog(), frozenset({ME, OTHER, THIRD}))
    one.campaign(0)
    run(one)
    one.receive(OTHER, PreVoteReply(0, 1, True), 0)
    run(one)
    one.receive(OTHER, VoteReply(1, True), 0)
    run(one)
    one.receive(OTHER, AppendReply(1, 0, 0), 0)
    run(one)
    assert one.serving
    _, _, index, _ = propose(one, built())
    one.receive(THIRD, append_of(2, (0, 1), index, entry(0, 2)), 1)
    assert one.commit_index == index
    effects = one.drain(1)
    assert effects.leader is not None
    assert not effects.leader.serving
    assert effects.committed is None
    assert one.deadline_ms < 0, "the next drain is due at once"
    assert one.drain(1).committed == index


def test_a_corrupt_log_is_fenced_from_the_start() -> None:
    log = MemoryLog(corrupt="a batch does not hold")
    one = replica(log, frozenset({ME, OTHER, THIRD}))
    assert isinstance(one.error, CorruptReplica)
    one.receive(OTHER, Vote(1, 100, 1), 0)
    one.tick(10_000)
    one.campaign(10_000)
    assert run(one, 10_000) == [Effects(messages=[])]


def test_rot_that_is_met_while_the_producers_come_back_fences_the_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rotten(*_: object) -> object:
        raise CorruptLogError("a header does not hold")

    log = MemoryLog()
    log.append(entry(0, 5))
    log.synced_index = 0
    monkeypatch.setattr(MemoryLog, "replay_headers", rotten)
    one = replica(log, frozenset({ME, OTHER, THIRD}), HardState(5))
    assert isinstance(one.error, CorruptReplica)
    one.campaign(10_000)
    assert run(one, 10_000) == [Effects(messages=[])]


def test_entries_above_the_journaled_term_are_not_trusted() -> None:
    log = MemoryLog()
    log.append(entry(0, 5))
    log.synced_index = 0
    one = replica(log, frozenset({ME, OTHER, THIRD}), HardState(4))
    assert isinstance(one.error, CorruptReplica)


def test_corruption_that_a_reader_finds_fences_the_replica() -> None:
    log = MemoryLog()
    one = leading(log)
    log.corrupt = "found by a fetch"
    with pytest.raises(KafkaError) as raised:
        propose(one, built())
    assert raised.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert isinstance(one.error, CorruptReplica)


def test_a_failed_replica_says_nothing_and_asks_for_nothing() -> None:
    one = leading(MemoryLog())
    propose(one, built())
    one.failed(OSError("the disk is gone"))
    effects = one.drain(0)
    assert (effects.messages, effects.job, effects.hard_state) == ([], None, None)
    assert effects.leader is not None
    assert not effects.leader.serving
    one.tick(60_000)
    assert one.drain(60_000) == Effects(messages=[])
    assert one.deadline_ms > 60_000, "it does not ask to be looked at again and again"


# ------------------------------------------------------------------------------------- following


def test_an_acknowledgement_waits_for_the_sync_and_covers_all_that_came_meanwhile() -> None:
    one = replica(MemoryLog(), frozenset({ME, OTHER, THIRD}))
    one.receive(OTHER, append_of(1, (-1, 0), -1, entry(0, 1)), 0)
    one.hard_state_synced(cast(HardState, one.drain(0).hard_state))
    first = one.drain(0)
    assert first.messages == []
    one.receive(OTHER, append_of(1, (0, 1), -1, entry(1, 1)), 0)
    one.receive(OTHER, append_of(1, (1, 1), -1, entry(2, 1)), 0)
    assert first.job is not None
    first.job.run()
    one.job_done(first.job)
    second = one.drain(0)
    assert [m.match for _, m in second.messages] == [0]  # type: ignore[union-attr]
    assert second.job is not None
    second.job.run()
    one.job_done(second.job)
    assert [m.match for _, m in one.drain(0).messages] == [2]  # type: ignore[union-attr]


def test_a_batch_whose_checksum_does_not_hold_is_not_kept() -> None:
    log = MemoryLog()
    one = replica(log, frozenset({ME, OTHER, THIRD}))
    bad = entry(1, 1)
    bad[-1] ^= 1
    one.receive(OTHER, append_of(1, (-1, 0), -1, entry(0, 1), bad, entry(2, 1)), 0)
    run(one)
    assert log.last_index == 0


@pytest.mark.parametrize(
    "wrong", [entry(5, 1), entry(1, 9), bytearray(b"\0" * 70)], ids=["gap", "term", "nonsense"]
)
def test_an_entry_that_cannot_follow_is_not_kept(wrong: bytearray) -> None:
    log = MemoryLog()
    one = replica(log, frozenset({ME, OTHER, THIRD}))
    one.receive(OTHER, append_of(1, (-1, 0), -1, entry(0, 1), wrong), 0)
    run(one)
    assert log.last_index == 0


def test_one_buffer_may_hold_many_batches() -> None:
    log = MemoryLog()
    one = replica(log, frozenset({ME, OTHER, THIRD}))
    whole = entry(0, 1) + entry(1, 1) + entry(2, 1)
    one.receive(OTHER, append_of(1, (-1, 0), 1, whole), 0)
    run(one)
    assert [each.last_index for each in log.entries] == [0, 1, 2]
    assert one.commit_index == 1


def test_a_commit_index_is_believed_only_as_far_as_the_logs_are_known_to_agree() -> None:
    log = MemoryLog()
    one = replica(log, frozenset({ME, OTHER, THIRD}))
    one.receive(OTHER, append_of(1, (-1, 0), -1, entry(0, 1), entry(1, 1)), 0)
    run(one)
    one.receive(THIRD, Heartbeat(2, 1), 1)
    assert one.commit_index == -1
    one.receive(THIRD, append_of(2, (0, 1), 1), 2)
    assert one.commit_index == 0


# -------------------------------------------------------------------------------------- transfer


def test_only_a_leader_hands_over_and_only_to_a_follower() -> None:
    follower = replica(MemoryLog(), frozenset({ME, OTHER, THIRD}))
    with pytest.raises(KafkaError) as raised:
        follower.transfer_leadership(2, 0)
    assert raised.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    alone = leading(MemoryLog())
    for target in (None, 1, 9):
        with pytest.raises(KafkaError) as raised:
            alone.transfer_leadership(target, 0)
        assert raised.value.code is ErrorCode.REPLICA_NOT_AVAILABLE
    propose(alone, built())
