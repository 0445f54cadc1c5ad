"""Snapshots and log starts with the real log: replicas on simulated disks, driven to the end."""

import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import pytest

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log.layout import Prefix
from quorate_broker.log.log import Log
from quorate_broker.log.settings import LogSettings
from quorate_broker.partition import snapshot
from quorate_broker.partition.replica import Replica, Seat
from quorate_broker.raft import membership
from quorate_broker.raft.messages import (
    Append,
    AppendReply,
    HardState,
    Heartbeat,
    Message,
    Peer,
)
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.testing.memory_log import MemoryLog
from quorate_broker.testing.simdisk import PowerCutError, SimDisk
from quorate_broker.testing.transcript import FixedDice
from quorate_broker.wire import batch
from quorate_broker.wire.batch import InternalKind, Record

PEERS = (Peer(1, "a"), Peer(2, "b"), Peer(3, "c"))
FOUNDING = membership.of(PEERS).encode()
SIZES = LogSettings(segment_bytes=1_000, index_interval_bytes=200, preallocate_bytes=4_096)


@dataclass
class One:
    """A replica and its disk."""

    peer: Peer
    disk: SimDisk
    replica: Replica | None = None
    journal: HardState = field(default_factory=HardState)
    starts: int = 0

    def open(self, founding: bytes | None = FOUNDING) -> None:
        self.disk.mkdirs("/g")
        log = Log.open(self.disk, "/g", SIZES, 0, founding=founding)
        self.starts += 1
        dice = FixedDice(self.peer.node_id, self.starts)
        settings = RaftSettings(piece_bytes=300)
        self.replica = Replica(Seat("g", self.peer), log, self.journal, settings, dice)


class Group:
    """Three replicas; `None` in the place of one that is down."""

    def __init__(self) -> None:
        self.ones = {peer: One(peer, SimDisk(random.Random(1))) for peer in PEERS}
        for one in self.ones.values():
            one.open()
        self.now_ms = 0
        self.wire: list[tuple[Peer, Peer, Message]] = []
        self.began_anew = 0

    def replica(self, number: int) -> Replica:
        replica = self.ones[PEERS[number - 1]].replica
        assert replica is not None
        return replica

    def pass_time(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 50):
            self.now_ms += 50
            for one in self.ones.values():
                if one.replica is not None:
                    one.replica.tick(self.now_ms)
            self.settle()

    def settle(self) -> None:
        while any(self.drain(one) for one in self.ones.values()) or self.wire:
            wire, self.wire = self.wire, []
            for sender, to, message in wire:
                replica = self.ones[to].replica
                if replica is not None:
                    replica.receive(sender, message, self.now_ms)

    def drain(self, one: One) -> bool:
        if one.replica is None:
            return False
        effects = one.replica.drain(self.now_ms)
        self.wire += [(one.peer, to, message) for to, message in effects.messages]
        self.began_anew += effects.began_anew
        if effects.hard_state is not None:
            one.journal = effects.hard_state
            one.replica.hard_state_synced(effects.hard_state)
        if effects.job is not None:
            effects.job.run()
            one.replica.job_done(effects.job)
        return effects.hard_state is not None or effects.job is not None

    def elect(self, number: int) -> Replica:
        self.replica(number).campaign(self.now_ms)
        self.settle()
        assert self.replica(number).serving
        return self.replica(number)

    def crash(self, number: int) -> One:
        one = self.ones[PEERS[number - 1]]
        one.replica = None
        one.disk.crash()
        return one


def propose(replica: Replica, sequence: int, producer: int = 7) -> int:
    buf = batch.build(
        [Record(None, bytes(100))],
        timestamp_ms=0,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=sequence,
    )
    return replica.propose(buf, batch.parse_header(buf)).base_offset


def with_trimmed_leader() -> Group:
    """Node 3 is down since the beginning; the others' logs begin at offset 15."""
    group = Group()
    group.crash(3)
    leader = group.elect(1)
    for sequence in range(20):
        propose(leader, sequence)
        group.settle()
    leader.log.put_state(leader.commit_index, b"what came of it")
    leader.move_start(15, group.now_ms)
    group.pass_time(500)
    assert group.replica(2).log.start_offset == leader.log.start_offset == 15
    assert leader.log.first_index > 5
    return group


def test_a_log_start_is_moved_on_every_replica_and_stays_moved() -> None:
    group = with_trimmed_leader()
    one = group.crash(2)
    one.open()
    assert group.replica(2).log.start_offset == 15


def test_a_log_cannot_begin_above_its_high_watermark() -> None:
    leader = Group().elect(1)
    with pytest.raises(KafkaError) as raised:
        leader.move_start(1, 0)
    assert raised.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_who_is_behind_the_start_begins_there_with_producers_and_state() -> None:
    group = with_trimmed_leader()
    group.ones[PEERS[2]].open()
    group.pass_time(1_000)
    third, leader = group.replica(3), group.replica(1)
    assert group.began_anew == 1
    assert third.log.first_index == leader.log.first_index
    assert third.log.start_offset == 15
    assert third.log.state == leader.log.state
    assert third.log.synced_index == leader.log.synced_index
    leader.transfer_leadership(3, group.now_ms)
    group.pass_time(200)
    assert third.serving
    assert propose(third, 19) == 19, "a duplicate has the place of the first one"
    assert propose(third, 20) == 20
    group.pass_time(6_000)
    with pytest.raises(KafkaError) as raised:
        propose(third, 25)
    assert raised.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_what_a_snapshot_began_survives_a_power_cut() -> None:
    group = with_trimmed_leader()
    group.ones[PEERS[2]].open()
    group.pass_time(1_000)
    before = group.replica(3).log.last_index
    one = group.crash(3)
    one.open()
    third = group.replica(3)
    assert (third.log.last_index, third.log.start_offset) == (before, 15)
    assert third.log.state is not None
    group.pass_time(1_000)
    assert third.commit_index == group.replica(1).commit_index


def test_a_lost_log_is_filled_and_knows_the_founders() -> None:
    group = Group()
    leader = group.elect(1)
    for sequence in range(5):
        propose(leader, sequence)
    group.settle()
    one = group.crash(2)
    one.disk = SimDisk(random.Random(2))
    one.open(founding=None)
    lost = group.replica(2)
    assert lost.log.hollow
    assert lost.members.all == frozenset()
    group.pass_time(1_000)
    assert not lost.log.hollow
    assert lost.members == leader.members
    one = group.crash(2)
    one.open(founding=None)
    assert not group.replica(2).log.hollow, "it is on disk that it is whole"
    assert group.replica(2).members == leader.members


def begin_without_a_log(group: Group, seed: int) -> One:
    """Node 2 has lost its log before there was anything in it."""
    lost = group.crash(2)
    lost.disk = SimDisk(random.Random(seed))
    lost.open(founding=None)
    return lost


def test_a_log_lost_before_its_first_entry_knows_the_founders_and_leads_after_a_restart() -> None:
    group = Group()
    begin_without_a_log(group, 2)
    leader = group.elect(1)
    propose(leader, 0)
    group.pass_time(1_000)
    assert not group.replica(2).log.hollow
    assert group.replica(2).members == leader.members
    group.crash(2).open(founding=None)
    assert not group.replica(2).log.hollow
    assert group.replica(2).members == leader.members
    group.pass_time(300)
    group.crash(1)
    group.pass_time(2_000)
    assert propose(group.replica(2), 1) == 1


@pytest.mark.parametrize("steps", range(16))
def test_a_power_cut_while_a_snapshot_is_taken_costs_no_knowledge_of_the_founders(
    steps: int,
) -> None:
    group = Group()
    begin_without_a_log(group, steps).disk.cut_power_after = steps
    with suppress(PowerCutError):
        group.elect(1)
        group.pass_time(1_000)
    group.crash(2).open(founding=None)
    group.pass_time(3_000)
    assert not group.replica(2).log.hollow
    assert group.replica(2).members == membership.decode(FOUNDING)


def test_who_does_not_know_its_group_is_not_filled() -> None:
    log = MemoryLog(hollow=True)
    log.append_internal(InternalKind.TERM_START, 1, b"", 0)
    log.synced_index = 0
    seat, leader = Seat("g", PEERS[1]), PEERS[0]
    replica = Replica(seat, cast(Log, log), HardState(1), RaftSettings(), FixedDice(2))
    replica.receive(leader, Append(1, 0, 1, 0, ()), 0)
    ((_, reply),) = replica.drain(0).messages
    assert isinstance(reply, AppendReply)
    replica.receive(leader, Heartbeat(1, 0, 0, life=reply.life, last_index=0), 0)
    assert replica.commit_index == 0
    assert log.hollow
    told = MemoryLog()
    told.append_internal(InternalKind.TERM_START, 1, b"", 0)
    told.append_internal(InternalKind.MEMBERSHIP, 1, FOUNDING, 0)
    replica.receive(leader, Append(1, 0, 1, 0, (told.entries[1].buf,)), 0)
    job = replica.drain(0).job
    assert job is not None
    job.run()
    replica.job_done(job)
    assert not log.hollow


def test_a_snapshot_survives_the_wire() -> None:
    prefix = Prefix(index=9, term=3, offset=8, internals=2, start_offset=8, membership=FOUNDING)
    contents = snapshot.decode(snapshot.encode(prefix, b"producers", (12, b"state")))
    assert contents.prefix == prefix
    assert (contents.producers, contents.state) == (b"producers", (12, b"state"))


@pytest.mark.parametrize("content", [b"", b"\xc0", b"\x90", bytes(40)])
def test_what_is_no_snapshot_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        snapshot.decode(content)


def test_a_snapshot_whose_numbers_do_not_fit_together_is_refused() -> None:
    prefix = Prefix(index=9, term=3, offset=9, internals=2, start_offset=8, membership=b"")
    with pytest.raises(ValueError, match="belong together"):
        snapshot.decode(snapshot.encode(prefix, b"", None))
