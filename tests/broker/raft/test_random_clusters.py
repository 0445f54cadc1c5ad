"""Raft against every order of events that Hypothesis can think of; failures shrink to a script.

The simulator (tests/simulation) draws realistic runs; here anything may happen at any time: each
message arrives, is lost, or arrives again, in any order. Only safety is asked for.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quorate_broker.raft.core import Role
from quorate_broker.testing.memory_log import Entry
from quorate_broker.testing.transcript import Cluster

NODES = 3
nodes = st.integers(1, NODES)


class RandomCluster(RuleBasedStateMachine):
    """Any order of events."""

    @initialize(eager=st.booleans(), small=st.booleans())
    def start(self, eager: bool, small: bool) -> None:
        self.cluster = Cluster()
        words = ["cluster", str(NODES)] + ["eager"] * eager + ["small"] * small
        self.cluster.command(words)
        self.leaders: dict[int, int] = {}
        self.committed: list[tuple[int, int, int]] = []
        self.commit_indexes = dict.fromkeys(range(1, NODES + 1), -1)
        self.cluster.command(["campaign", "1"])
        self.cluster.command(["settle"])

    # ----------------------------------------------------------------------------------- events

    @rule(node=nodes, milliseconds=st.sampled_from((0, 50, 150, 900, 1_500)))
    def time_passes(self, node: int, milliseconds: int) -> None:
        self.on(node, "tick", f"+{milliseconds}")

    @rule(node=nodes)
    def campaign(self, node: int) -> None:
        self.on(node, "campaign")

    @rule(node=nodes)
    def propose(self, node: int) -> None:
        self.on(node, "propose")

    @rule(node=nodes, to=nodes)
    def transfer(self, node: int, to: int) -> None:
        self.on(node, "transfer", str(to))

    @rule(node=nodes, other=nodes)
    def lose_connection(self, node: int, other: int) -> None:
        self.on(node, "lost", str(other))

    @rule(node=nodes)
    def journal(self, node: int) -> None:
        self.on(node, "journal")

    @rule(node=nodes)
    def disk(self, node: int) -> None:
        self.on(node, "disk")

    @rule(node=nodes)
    def crash(self, node: int) -> None:
        if self.on(node, "crash"):
            self.commit_indexes[node] = -1

    @rule(node=nodes)
    def restart(self, node: int) -> None:
        if not self.cluster.nodes[node].is_up:
            self.cluster.command(["restart", str(node)])

    @precondition(lambda self: self.cluster.wire)
    @rule(data=st.data(), again=st.booleans())
    def a_message_arrives(self, data: st.DataObject, again: bool) -> None:
        wire = self.cluster.wire
        number = data.draw(st.integers(0, min(len(wire), 8) - 1))
        message = wire[number]
        rest = wire[:number] + wire[number + 1 :]
        self.cluster.wire = [message]
        self.cluster.command(["deliver"])
        self.cluster.wire = rest + self.cluster.wire + [message] * again

    @precondition(lambda self: self.cluster.wire)
    @rule(data=st.data())
    def a_message_is_lost(self, data: st.DataObject) -> None:
        del self.cluster.wire[data.draw(st.integers(0, len(self.cluster.wire) - 1))]

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        self.cluster.command(["settle"])

    def on(self, node: int, command: str, *words: str) -> bool:
        is_up = self.cluster.nodes[node].is_up
        if is_up:
            self.cluster.command([command, str(node), *words])
        return is_up

    # ------------------------------------------------------------------------------- invariants

    @invariant()
    def one_leader_per_term(self) -> None:
        for node_id, node in self.up():
            if node.replica.role is Role.LEADER:
                assert self.leaders.setdefault(node.replica.term, node_id) == node_id

    @invariant()
    def what_is_committed_stays(self) -> None:
        for node_id, node in self.up():
            commit_index = node.replica.commit_index
            assert commit_index >= self.commit_indexes[node_id]
            self.commit_indexes[node_id] = commit_index
            mine = [_facts(each) for each in node.log.entries if each.last_index <= commit_index]
            shared = min(len(mine), len(self.committed))
            assert mine[:shared] == self.committed[:shared]
            self.committed = max(self.committed, mine, key=len)

    @invariant()
    def equal_ends_mean_equal_logs(self) -> None:
        logs = [[_facts(e) for e in node.log.entries] for node in self.cluster.nodes.values()]
        for left in logs:
            for right in logs:
                for number in reversed(range(min(len(left), len(right)))):
                    if left[number][:2] == right[number][:2]:
                        assert left[: number + 1] == right[: number + 1]
                        break

    def up(self):
        return [
            (node_id, node)
            for node_id, node in self.cluster.nodes.items()
            if node.is_up and node.replica is not None
        ]


def _facts(entry: Entry) -> tuple[int, int, int]:
    return entry.last_index, entry.term, entry.header.crc


RandomCluster.TestCase.settings = settings(
    max_examples=200, stateful_step_count=80, derandomize=True
)
TestRandomCluster = RandomCluster.TestCase
