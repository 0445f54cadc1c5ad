"""A small language to drive a Raft cluster by hand; its transcripts are reviewed as diffs.

A transcript is blocks of commands, a line `----`, and what they caused, an empty line between
blocks. `run` gives the same text with the outputs as they are now. Nothing happens by itself: no
time passes, no message arrives, nothing reaches a disk unless a command says so.

    cluster 3 [eager] [small] [pieces] [slow]   nodes 1..3, empty logs; eager commits; one batch
                               per append; snapshots in pieces of 100 bytes; who is behind is fed
                               with 200 bytes a second
    join 4                     a node with a hollow log, which no membership names yet
    want 1 2 3 4 [learn 5]     node 1, if it leads, is to bring the group to voters 2 3 4
    start 1 3 | compact 1 2 5  node 1 begins its log at offset 3, has one batch from index 2 to 5
    pause 1 | resume 1         its disk is full, has room again
    round 1 | confirmed 1      node 1 asks whether it still leads; whether a majority said so
    lose 2                     node 2 crashes and loses its log, not its journal
    log 2 1 1 2                before anything else: node 2 has batches of terms 1, 1, 2, synced
    tick 1 2 +800              800 ms pass, nodes 1 and 2 look at the clock
    campaign 1 | propose 1 [n] | transfer 1 2 | lost 1 2 | fail 1
    journal 1 | disk 1 | sync 1      term and vote are on disk, the log is, both
    deliver [1>2 ...]          messages that are under way arrive (all, or those of these links)
    drop [1>2 ...]             ... or do not
    settle                     deliver and sync everything until nothing happens; says only results
    crash 1 | restart 1        a power cut: what was not synced is gone
    state                      one line per node; members only where they are not the founders

Election time-outs are fixed: 750 ms plus 100 for each node id. After etcd-io/raft's testdata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from quorate_broker.errors import KafkaError
from quorate_broker.log.log import Log
from quorate_broker.partition.replica import Effects, Replica, Seat
from quorate_broker.raft import membership
from quorate_broker.raft.membership import Membership
from quorate_broker.raft.messages import (
    Append,
    AppendReply,
    Buffer,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    Peer,
    PreVote,
    PreVoteReply,
    Snapshot,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.raft.throttle import Throttle, unlimited
from quorate_broker.testing.memory_log import MemoryJob, MemoryLog
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader, InternalKind, Record

_BREAK = "----"
_MOST_ROUNDS = 200
_LIVES = 1 << 40
"""Only the lives of hollow replicas are drawn from so many."""


def run(text: str) -> str:
    """`text` with every block's output replaced by what happens now."""
    cluster = Cluster()
    blocks = []
    for block in text.strip().split("\n\n"):
        commands = block.split(f"\n{_BREAK}")[0].split("\n")
        output: list[str] = []
        for command in commands:
            if not command.startswith("#"):
                output.extend(cluster.command(command.split()))
        blocks.append("\n".join([*commands, _BREAK, *(output or ["ok"])]))
    return "\n\n".join(blocks) + "\n"


@dataclass(frozen=True, slots=True)
class FixedDice:
    """Election time-outs that a reader can count; the lives of hollow replicas differ."""

    node_id: int
    starts: int = 0

    def randint(self, a: int, b: int) -> int:
        return min(b, a + 100 * self.node_id + (self.starts if b > _LIVES else 0))


@dataclass(slots=True)
class Node:
    """One member and its disk."""

    peer: Peer
    log: MemoryLog = field(default_factory=MemoryLog)
    journal: HardState = field(default_factory=HardState)
    replica: Replica | None = None
    is_up: bool = True
    hard_state: HardState | None = None
    job: MemoryJob | None = None
    starts: int = 0


class Cluster:
    """What the commands act upon."""

    def __init__(self, quiet: bool = False) -> None:
        """`quiet`: for runs that nobody reads, only what came of it is told."""
        self.nodes: dict[int, Node] = {}
        self.now_ms = 0
        self.wire: list[tuple[int, int, Message]] = []
        self._settings = RaftSettings()
        self._rate = unlimited()
        self._founding = b""
        self._asked: dict[int, int] = {}
        self._is_always_quiet = self._quiet = quiet
        self._out: list[str] = []

    def command(self, words: Sequence[str]) -> list[str]:
        """Carry out one command; what it caused, a line each."""
        self._out = []
        handler: Callable[[Sequence[str]], None] = getattr(self, f"_do_{words[0]}")
        handler(words[1:])
        return self._out

    # --------------------------------------------------------------------------------- commands

    def _do_cluster(self, words: Sequence[str]) -> None:
        self._settings = RaftSettings(
            eager_commit="eager" in words,
            append_bytes=1 if "small" in words else 1 << 20,
            piece_bytes=100 if "pieces" in words else 1 << 20,
        )
        if "slow" in words:
            self._rate = 200
        peers = [_peer(node_id) for node_id in range(1, int(words[0]) + 1)]
        self._founding = membership.of(peers).encode()
        for peer in peers:
            self.nodes[peer.node_id] = Node(peer, MemoryLog(founding=self._founding))

    def _do_join(self, words: Sequence[str]) -> None:
        node_id = int(words[0])
        self.nodes[node_id] = Node(_peer(node_id), MemoryLog(hollow=True))

    def _do_want(self, words: Sequence[str]) -> None:
        numbers = " ".join(words[1:]).split("learn")
        voters, learners = (
            frozenset(_peer(int(word)) for word in part.split())
            for part in (numbers[0], numbers[1] if len(numbers) > 1 else "")
        )
        self._replica(int(words[0])).want_members(voters, self.now_ms, learners)
        self._drain(int(words[0]))

    def _do_start(self, words: Sequence[str]) -> None:
        try:
            index = self._replica(int(words[0])).move_start(int(words[1]), self.now_ms)
            self._say(f"{words[0]}: begins at {words[1]} with {index}")
        except KafkaError as error:
            self._say(f"{words[0]}: {error.code.name}")
        self._drain(int(words[0]))

    def _do_compact(self, words: Sequence[str]) -> None:
        self.nodes[int(words[0])].log.compact(int(words[1]), int(words[2]))

    def _do_pause(self, words: Sequence[str]) -> None:
        self._replica(int(words[0])).paused = True

    def _do_resume(self, words: Sequence[str]) -> None:
        self._replica(int(words[0])).paused = False

    def _do_round(self, words: Sequence[str]) -> None:
        node_id = int(words[0])
        self._asked[node_id] = self._replica(node_id).ask_round(self.now_ms)
        self._drain(node_id)

    def _do_confirmed(self, words: Sequence[str]) -> None:
        node_id = int(words[0])
        is_confirmed = self._replica(node_id).confirmed_ms >= self._asked[node_id]
        self._out.append(f"{node_id}: {'confirmed' if is_confirmed else 'not confirmed'}")

    def _do_lose(self, words: Sequence[str]) -> None:
        self._do_crash(words)
        self.nodes[int(words[0])].log = MemoryLog(hollow=True)

    def _do_log(self, words: Sequence[str]) -> None:
        node = self.nodes[int(words[0])]
        for term in map(int, words[1:]):
            node.log.append(_batch(node.log.next_offset, term))
        node.log.synced_index = node.log.last_index
        node.journal = HardState(node.log.last_term)

    def _do_tick(self, words: Sequence[str]) -> None:
        self.now_ms += int(words[-1])
        for node_id in map(int, words[:-1]):
            self._replica(node_id).tick(self.now_ms)
            self._drain(node_id)

    def _do_campaign(self, words: Sequence[str]) -> None:
        self._replica(int(words[0])).campaign(self.now_ms)
        self._drain(int(words[0]))

    def _do_propose(self, words: Sequence[str]) -> None:
        replica = self._replica(int(words[0]))
        for _ in range(int(words[1]) if len(words) > 1 else 1):
            buf = _batch(0, 0)
            try:
                appended = replica.propose(buf, batch.parse_header(buf))
                self._say(f"{words[0]}: appended at {appended.last_index}")
            except KafkaError as error:
                self._say(f"{words[0]}: {error.code.name}")
        self._drain(int(words[0]))

    def _do_transfer(self, words: Sequence[str]) -> None:
        try:
            self._replica(int(words[0])).transfer_leadership(int(words[1]), self.now_ms)
        except KafkaError as error:
            self._say(f"{words[0]}: {error.code.name}")
        self._drain(int(words[0]))

    def _do_lost(self, words: Sequence[str]) -> None:
        self._replica(int(words[0])).peer_lost(int(words[1]), self.now_ms)
        self._drain(int(words[0]))

    def _do_fail(self, words: Sequence[str]) -> None:
        self._replica(int(words[0])).failed(OSError("the disk is gone"))
        self._drain(int(words[0]))

    def _do_journal(self, words: Sequence[str]) -> None:
        node = self.nodes[int(words[0])]
        hard_state, node.hard_state = node.hard_state, None
        if hard_state is not None:
            node.journal = hard_state
            self._replica(int(words[0])).hard_state_synced(hard_state)
        self._drain(int(words[0]))

    def _do_disk(self, words: Sequence[str]) -> None:
        node = self.nodes[int(words[0])]
        job, node.job = node.job, None
        if job is not None:
            job.run()
            self._replica(int(words[0])).job_done(job)  # type: ignore[arg-type]
        self._drain(int(words[0]))

    def _do_sync(self, words: Sequence[str]) -> None:
        self._do_journal(words)
        self._do_disk(words)

    def _do_deliver(self, words: Sequence[str]) -> None:
        for sender, to, message in self._take(words):
            if to in self.nodes and self.nodes[to].is_up:
                self._replica(to).receive(self.nodes[sender].peer, message, self.now_ms)
                self._drain(to)

    def _do_drop(self, words: Sequence[str]) -> None:
        self._take(words)

    def _do_settle(self, words: Sequence[str]) -> None:
        self._quiet = True
        for _ in range(_MOST_ROUNDS):
            idle = all(n.hard_state is None and n.job is None for n in self.nodes.values())
            if idle and not self.wire:
                break
            for node_id, node in self.nodes.items():
                if node.is_up:
                    self._do_sync([str(node_id)])
            self._do_deliver([])
        else:
            raise AssertionError("the cluster does not come to rest")
        self._quiet = self._is_always_quiet

    def _do_crash(self, words: Sequence[str]) -> None:
        node = self.nodes[int(words[0])]
        node.log = node.log.crash()
        node.replica = node.hard_state = node.job = None
        node.is_up = False

    def _do_restart(self, words: Sequence[str]) -> None:
        self.nodes[int(words[0])].is_up = True
        self._drain(int(words[0]))

    def _do_state(self, words: Sequence[str]) -> None:
        for node_id, node in self.nodes.items():
            if not node.is_up:
                self._out.append(f"{node_id}: down")
                continue
            replica = self._replica(node_id)
            leader = "-" if replica.leader is None else replica.leader.node_id
            terms = " ".join(str(entry.term) for entry in node.log.entries)
            self._out.append(
                f"{node_id}: {replica.role.value} term {replica.term} leader {leader} "
                f"commit {replica.commit_index} synced {node.log.synced_index} log [{terms}]"
                + self._who(node, replica)
            )

    def _who(self, node: Node, replica: Replica) -> str:
        hollow = " resting" if replica.resting else ""
        hollow += " hollow" if node.log.hollow else ""
        hollow += f" from {node.log.first_index}" if node.log.first_index else ""
        if replica.members == membership.decode(self._founding):
            return hollow
        return f"{hollow} members {name_members(replica.members)}"

    # ---------------------------------------------------------------------------------- helpers

    def _replica(self, node_id: int) -> Replica:
        node = self.nodes[node_id]
        if node.replica is None:
            node.starts += 1
            node.replica = Replica(
                Seat("t", node.peer, Throttle(lambda: self._rate)),
                cast(Log, node.log),
                node.journal,
                self._settings,
                FixedDice(node_id, node.starts),
            )
        return node.replica

    def _take(self, words: Sequence[str]) -> list[tuple[int, int, Message]]:
        taken = [m for m in self.wire if not words or f"{m[0]}>{m[1]}" in words]
        self.wire = [m for m in self.wire if words and f"{m[0]}>{m[1]}" not in words]
        return taken

    def _drain(self, node_id: int) -> None:
        effects = self._replica(node_id).drain(self.now_ms)
        node = self.nodes[node_id]
        if effects.hard_state is not None:
            node.hard_state = effects.hard_state
            vote = effects.hard_state.vote
            voted = "-" if vote is None else vote.node_id
            self._say(f"{node_id}: to journal term {effects.hard_state.term} vote {voted}")
        if effects.job is not None:
            node.job = cast(MemoryJob, effects.job)
            self._say(f"{node_id}: to disk up to {node.job.last_index}")
        for to, message in effects.messages:
            self.wire.append((node_id, to.node_id, message))
            if not self._quiet:
                self._say(f"{node_id}>{to.node_id} {describe(message)}")
        self._report(node_id, effects)

    def _report(self, node_id: int, effects: Effects) -> None:
        if effects.leader is not None:
            change = effects.leader
            leader = "-" if change.leader is None else change.leader.node_id
            serving = " serving" if change.serving else ""
            self._out.append(f"{node_id}: term {change.term} leader {leader}{serving}")
        if effects.committed is not None:
            self._out.append(f"{node_id}: committed {effects.committed}")

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._out.append(line)


def describe(message: Message) -> str:
    """One message, short."""
    match message:
        case PreVote() | Vote():
            transfer = " transfer" if isinstance(message, Vote) and message.transfer else ""
            last = _at(message.last_index, message.last_term)
            return f"{type(message).__name__} {message.term} last {last}{transfer}"
        case PreVoteReply():
            return f"PreVoteReply {message.term} to {message.asked} {_answer(message.granted)}"
        case VoteReply():
            return f"VoteReply {message.term} {_answer(message.granted)}"
        case Heartbeat():
            rest = " rest" if message.rest else ""
            hollow = f" fill to {message.last_index}" if message.life else ""
            return f"Heartbeat {message.term} commit {message.commit}{rest}{hollow}"
        case TimeoutNow():
            return f"TimeoutNow {message.term}"
        case _:
            return _describe_entries(message)


def _describe_entries(message: Message) -> str:
    match message:
        case Append():
            terms = [_entry(buf, at, h) for buf in message.entries for at, h in batch.headers(buf)]
            after = _at(message.prev_index, message.prev_term)
            skip = f" skip {message.skip}" if message.skip else ""
            entries = f"[{' '.join(terms)}]{skip}"
            return f"Append {message.term} after {after} commit {message.commit} {entries}"
        case AppendReply() if message.rejected >= 0:
            hint = _at(message.hint_index, message.hint_term)
            return f"AppendReply {message.term} no {message.rejected}, rather {hint}"
        case AppendReply() | HeartbeatReply():
            more = " rests" if isinstance(message, HeartbeatReply) and message.rest else ""
            more += " hollow" if message.life else ""
            more += " full" if message.full else ""
            far = f"received {message.received} match {message.match}"
            return f"{type(message).__name__} {message.term} {far}{more}"
        case Snapshot():
            is_last = message.position + len(message.chunk) == message.total
            piece = f"{'rest' if is_last else 'piece'} from {message.position}"
            return f"Snapshot {message.term} up to {_at(message.index, message.last_term)}, {piece}"
        case SnapshotReply():
            return f"SnapshotReply {message.term} of {message.index} has {message.position}"
    raise AssertionError(message)


def name_members(members: Membership) -> str:
    """Voters, `from` the outgoing ones, `learn` the learners."""
    parts = (("", members.voters), ("from", members.outgoing), ("learn", members.learners))
    words = [
        f"{name} {' '.join(str(peer.node_id) for peer in peers)}" for name, peers in parts if peers
    ]
    return " ".join(words).strip() or "-"


def _entry(buf: Buffer, at: int, header: BatchHeader) -> str:
    """Its term, and the members if it says who they are."""
    if header.is_internal:
        told = batch.parse_internal(buf, at)
        if told.kind is InternalKind.MEMBERSHIP:
            return f"{header.leader_epoch}:({name_members(membership.decode(told.content))})"
    return str(header.leader_epoch)


def _peer(node_id: int) -> Peer:
    return Peer(node_id, f"disk-{node_id}")


def _at(index: int, term: int) -> str:
    return f"{index}/{term}"


def _answer(granted: bool) -> str:
    return "yes" if granted else "no"


def _batch(offset: int, term: int) -> bytearray:
    return batch.build([Record(None, b"x")], base_offset=offset, leader_epoch=term, timestamp_ms=0)
