"""Memberships change while everything fails: safety at every step, and rest when it is over.

A storm is drawn from a seed: six nodes of which three found the group; messages are lost, come
twice and in any order, nodes lose power or their logs, logs begin later and are compacted, disks
fill up, and every now and then somebody wants other members. Then all is mended, and the group has
to come to the members that are wanted last, with equal logs.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from quorate_broker.partition.replica import Replica
from quorate_broker.raft import changes, quorum
from quorate_broker.raft.core import Role
from quorate_broker.raft.membership import Membership
from quorate_broker.raft.messages import Peer
from quorate_broker.testing.memory_log import Entry, MemoryLog
from quorate_broker.testing.transcript import Cluster, Node

NODES = range(1, 7)
FOUNDERS = 3
STEPS = 500
COMPACTED = -1
Facts = tuple[int, int, int]


@dataclass
class Storm:
    """One run."""

    seed: int
    cluster: Cluster = field(default_factory=lambda: Cluster(quiet=True))
    leaders: dict[int, int] = field(default_factory=dict)
    committed: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Index of the last record of an entry: its term, and the term in which it was committed."""
    commit_indexes: dict[int, int] = field(default_factory=dict)
    members_seen: set[bytes] = field(default_factory=set)
    script: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.loss = self.dice.choice((0.0, 0.02, 0.1))
        self.rush = self.dice.choice((0.3, 0.6, 0.9))
        self.calm = self.dice.choice((0.01, 0.03, 0.06))
        self.sizes = self.dice.choice(((1, 2, 3), (3,), (2, 3, 4), (3, 4, 5)))
        self.cut: set[tuple[int, int]] = set()
        words = ["cluster", str(FOUNDERS)]
        words += [word for word in ("eager", "small", "pieces") if self.dice.random() < 0.4]
        self.do(*words)
        for node in NODES[FOUNDERS:]:
            self.do("join", str(node))
        self.wanted = frozenset(NODES[:FOUNDERS])
        self.do("campaign", "1")
        self.do("settle")

    def do(self, *words: str) -> None:
        self.script.append(" ".join(words))
        self.cluster.command(words)

    def on(self, node: int, command: str, *words: str) -> None:
        if self.cluster.nodes[node].is_up:
            self.do(command, str(node), *words)

    # ----------------------------------------------------------------------------------- events

    def step(self) -> None:
        dice = self.dice
        self.time_passes(dice.choice((0, 10, 50, 50, 200)))
        for node in NODES:
            if dice.random() < self.rush:
                self.on(node, "sync")
        for _ in range(dice.choice((5, 20, 60))):
            self.message_arrives()
        if dice.random() < self.calm:
            self.part()
        elif self.cut and dice.random() < 0.05:
            self.cut = set()
        else:
            self.part_a_joint_group()
        happens = dice.choices(list(MISHAPS), list(MISHAPS.values()))[0]
        happens(self, dice.choice(NODES))
        self.tell_leaders()

    def part(self) -> None:
        """One node is cut off (often a leader), or the nodes are two halves."""
        leaders = [node for node, up in self.up() if replica_of(up).role is Role.LEADER]
        one = self.dice.choice([*leaders, *leaders, *NODES])
        half = set(self.dice.sample(NODES, 3))
        self.cut_off(self.dice.choice(({one}, {one}, half)))

    def part_a_joint_group(self) -> None:
        """Where it hurts: the next voters, or the newcomers and the leader, on one side."""
        for node, up in self.up():
            replica = replica_of(up)
            if replica.role is Role.LEADER and replica.members.joint and self.dice.random() < 0.3:
                voters = {peer.node_id for peer in replica.members.voters}
                outgoing = {peer.node_id for peer in replica.members.outgoing}
                self.cut_off(self.dice.choice((voters, voters - outgoing | {node})))

    def cut_off(self, some: set[int]) -> None:
        links = {(a, b) for a in NODES for b in NODES if (a in some) != (b in some)}
        is_one_way = self.dice.random() < 0.3
        self.cut = {(a, b) for a, b in links if not is_one_way or a in some}

    def time_passes(self, milliseconds: int) -> None:
        self.cluster.now_ms += milliseconds
        for node_id, node in self.up():
            if replica_of(node).deadline_ms <= self.cluster.now_ms and self.dice.random() < 0.9:
                self.do("tick", str(node_id), "+0")

    def message_arrives(self) -> None:
        wire, dice = self.cluster.wire, self.dice
        if not wire:
            return
        place = dice.randrange(min(len(wire), 20))
        message = wire.pop(place)
        if dice.random() < self.loss or message[:2] in self.cut:
            return
        rest = list(wire)
        if dice.random() < 0.05:
            rest.append(message)
        self.cluster.wire = [message]
        self.cluster.command(["deliver"])
        self.cluster.wire = rest + self.cluster.wire

    def tell_leaders(self) -> None:
        for node_id, node in self.up():
            if replica_of(node).role is Role.LEADER and self.dice.random() < 0.5:
                voters = " ".join(map(str, sorted(self.wanted)))
                learners = " ".join(map(str, sorted(set(NODES) - self.wanted)[:1]))
                self.do("want", str(node_id), *f"{voters} learn {learners}".split())

    def nothing(self, node: int) -> None:
        pass

    def propose(self, node: int) -> None:
        self.on(node, "propose", str(self.dice.choice((1, 1, 5))))

    def want(self, node: int) -> None:
        self.wanted = frozenset(self.dice.sample(NODES, self.dice.choice(self.sizes)))

    def campaign(self, node: int) -> None:
        self.on(node, "campaign")

    def transfer(self, node: int) -> None:
        self.on(node, "transfer", str(self.dice.choice(NODES)))

    def lose_connection(self, node: int) -> None:
        self.on(node, "lost", str(self.dice.choice(NODES)))

    def move_start(self, node: int) -> None:
        self.on(node, "start", str(self.high_watermark(node) - self.dice.randrange(4)))

    def fill_disk(self, node: int) -> None:
        self.on(node, self.dice.choice(("pause", "resume")))

    def crash(self, node: int) -> None:
        self.on(node, "crash")
        self.commit_indexes.pop(node, None)

    def restart(self, node: int) -> None:
        if not self.cluster.nodes[node].is_up:
            self.do("restart", str(node))

    def lose(self, node: int) -> None:
        """Only one at a time, and never of two that decide: else it is right that nobody leads."""
        halves = [half for _, up in self.up() for half in replica_of(up).members.halves]
        voters = {peer.node_id for half in halves for peer in half}
        others = [self.cluster.nodes[other] for other in voters - {node}]
        if any(not other.is_up or other.log.hollow for other in others):
            return
        if node in voters and all(len(half) > 2 for half in halves if half):
            self.do("lose", str(node))
            self.commit_indexes.pop(node, None)
            self.do("restart", str(node))
            for other, up in self.up():
                if replica_of(up).role is Role.LEADER and self.dice.random() < 0.7:
                    self.crash(other)

    def high_watermark(self, node: int) -> int:
        up = self.cluster.nodes[node]
        return replica_of(up).high_watermark if up.is_up else 0

    def compact(self, node: int) -> None:
        up = self.cluster.nodes[node]
        if not up.is_up:
            return
        commit = min(replica_of(up).commit_index, up.log.synced_index)
        fit = [e for e in up.log.entries if e.last_index <= commit]
        if len(fit) < 2:
            return
        begin = self.dice.randrange(len(fit) - 1)
        end = begin
        while end + 1 < len(fit) and end - begin < 4 and is_like(fit[begin], fit[end + 1]):
            end += 1
        if not fit[begin].header.is_internal:
            self.do("compact", str(node), str(fit[begin].first_index), str(fit[end].last_index))

    # --------------------------------------------------------------------------------- the rules

    def check(self) -> None:
        for node_id, node in self.up():
            replica = replica_of(node)
            if replica.role is Role.LEADER:
                assert self.leaders.setdefault(replica.term, node_id) == node_id, "two leaders"
                self.must_be_complete(node_id, replica, node)
            self.must_stay(node_id, replica, node)
            self.members_seen.add(node.log.membership[1])
        if self.dice.random() < 0.2:
            self.must_match()

    def must_be_complete(self, node_id: int, replica: Replica, node: Node) -> None:
        for index, (term, committed_in) in self.committed.items():
            if committed_in < replica.term and index >= node.log.first_index:
                has = node.log.term_at(index)
                assert has == term, f"leader {node_id} lacks {index} of term {term}: {has}"

    def must_stay(self, node_id: int, replica: Replica, node: Node) -> None:
        commit_index = replica.commit_index
        before = self.commit_indexes.get(node_id, -1)
        assert commit_index >= before, "a commit was taken back"
        self.commit_indexes[node_id] = commit_index
        if commit_index == before:
            return
        for entry in node.log.entries:
            if before < entry.last_index <= commit_index:
                known = self.committed.setdefault(entry.last_index, (entry.term, replica.term))
                assert known[0] == entry.term, f"node {node_id} commits another {entry.last_index}"

    def must_match(self) -> None:
        """The same term at the same index: the same entry, and the same before it."""
        logs = [[facts(e) for e in node.log.entries] for node in self.cluster.nodes.values()]
        known: dict[tuple[int, int], Facts] = {}
        for log in logs:
            for fact in log:
                if fact[2] != COMPACTED:
                    assert known.setdefault(fact[:2], fact) == fact, "one place, two entries"
        terms = [{fact[0]: fact[1] for fact in log} for log in logs]
        for left, right in itertools.combinations(terms, 2):
            must_agree(left, right)

    def up(self) -> list[tuple[int, Node]]:
        nodes = self.cluster.nodes.items()
        return [(node_id, node) for node_id, node in nodes if node.is_up and node.replica]

    # ------------------------------------------------------------------------------------ the end

    def mend(self) -> None:
        self.loss = 0.0
        self.cut = set()
        for node in NODES:
            self.restart(node)
            self.on(node, "resume")
        for _ in range(400):
            self.cluster.now_ms += 50
            for node in NODES:
                self.on(node, "tick", "+0")
            for node_id, node in self.up():
                if replica_of(node).role is Role.LEADER:
                    self.do("want", str(node_id), *map(str, sorted(self.wanted)))
            self.do("settle")
            self.check()
            if self.is_settled():
                return
        raise AssertionError(f"it does not come to rest: {self.cluster.command(['state'])}")

    def is_settled(self) -> bool:
        voters = tuple(Peer(node, f"disk-{node}") for node in sorted(self.wanted))
        settled = [
            node
            for _, node in self.up()
            if replica_of(node).role is Role.LEADER and replica_of(node).membership_settled
        ]
        if len(settled) != 1:
            return False
        leader = settled[0]
        ends = {self.cluster.nodes[node].log.synced_index for node in self.wanted}
        assert replica_of(leader).members.voters == voters
        return ends == {leader.log.last_index}


MISHAPS: dict[Callable[[Storm, int], None], int] = {
    Storm.nothing: 20,
    Storm.propose: 35,
    Storm.want: 6,
    Storm.campaign: 2,
    Storm.crash: 3,
    Storm.restart: 10,
    Storm.transfer: 3,
    Storm.lose_connection: 3,
    Storm.lose: 3,
    Storm.move_start: 3,
    Storm.compact: 3,
    Storm.fill_disk: 2,
}


def must_agree(left: dict[int, int], right: dict[int, int]) -> None:
    common = sorted(left.keys() & right.keys(), reverse=True)
    same = False
    for index in common:
        same = same or left[index] == right[index]
        assert not same or left[index] == right[index], f"logs part before {index} and meet again"


def facts(entry: Entry) -> Facts:
    is_compacted = entry.header.count == 0 and not entry.header.is_control
    return entry.last_index, entry.term, COMPACTED if is_compacted else entry.header.crc


def is_like(first: Entry, other: Entry) -> bool:
    return not other.header.is_internal and other.term == first.term


def replica_of(node: Node) -> Replica:
    assert node.replica is not None
    return node.replica


def run(seed: int) -> Storm:
    storm = Storm(seed)
    for _ in range(STEPS):
        storm.step()
        storm.check()
    storm.mend()
    return storm


@pytest.mark.parametrize("seed", range(25))
def test_a_storm_breaks_no_rule_and_ends_with_the_members_that_are_wanted(seed: int) -> None:
    storm = run(seed)
    assert len(storm.committed) > 10


# ------------------------------------------------------------- without a rule, a storm breaks out
# When a change of the code moves the storms, find for each mutation the first seed that meets it.

Patch = pytest.MonkeyPatch


def only_the_next_voters_count(patch: Patch) -> None:
    patch.setattr(quorum, "verdict", lambda halves, votes: quorum.ballot(halves[0], votes))
    patch.setattr(quorum, "agreed", lambda halves, of: quorum.reached(map(of, halves[0])))


def only_the_outgoing_count(patch: Patch) -> None:
    patch.setattr(quorum, "verdict", lambda halves, votes: quorum.ballot(halves[-1], votes))
    patch.setattr(quorum, "agreed", lambda halves, of: quorum.reached(map(of, halves[-1])))


def changes_do_not_wait_for_each_other(patch: Patch) -> None:
    plan = changes.plan
    patch.setattr(
        changes, "plan", lambda now, wanted, _, is_ready: plan(now, wanted, True, is_ready)
    )


def lost_logs_are_begun_anew(patch: Patch) -> None:
    def lose(cluster: Cluster, words: Sequence[str]) -> None:
        cluster._do_crash(words)
        cluster.nodes[int(words[0])].log = MemoryLog(founding=cluster._founding)

    patch.setattr(Cluster, "_do_lose", lose)


def members_change_in_one_step(patch: Patch) -> None:
    def plan(now: Membership, wanted: Membership, *_: object) -> Membership | None:
        return wanted if now != wanted else None

    patch.setattr(changes, "plan", plan)


MUTATIONS: list[tuple[Callable[[Patch], None], int]] = [
    (only_the_next_voters_count, 21),
    (only_the_outgoing_count, 7),
    (changes_do_not_wait_for_each_other, 57),
    (lost_logs_are_begun_anew, 0),
    (members_change_in_one_step, 12),
]


@pytest.mark.parametrize(
    ("mutate", "seed"), MUTATIONS, ids=lambda one: getattr(one, "__name__", "")
)
def test_a_rule_that_is_switched_off_is_missed(
    mutate: Callable[[Patch], None], seed: int, monkeypatch: Patch
) -> None:
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        run(seed)
