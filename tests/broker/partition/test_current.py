"""When a replica that was restarted may be believed to know everything.

Found by chaos: a broker that was restarted right after a topic was made took its own folders for
those of a topic that is gone. Its checkpoint was older than the topic, its leader the same as
before, and so it seemed to have caught up before that leader had said how far it was.
"""

from __future__ import annotations

from quorate_broker.partition.replica import Replica
from quorate_broker.testing import transcript


class Three:
    """Broker 1 leads; broker 2 has a checkpoint that is older than what was committed."""

    def __init__(self) -> None:
        self.cluster = transcript.Cluster(quiet=True)
        self.do(
            "cluster 3", "campaign 1", "settle", "propose 1 2", "settle", "tick 1 +150", "settle"
        )
        node = self.cluster.nodes[2]
        assert node.replica is not None
        node.log.checkpoint_index = node.replica.commit_index
        self.do("propose 1 3", "settle", "tick 1 +150", "settle")

    def do(self, *commands: str) -> None:
        for command in commands:
            self.cluster.command(command.split())

    def restart(self) -> None:
        self.do("crash 2", "restart 2", "lost 1 2", "drop", "tick 1 +150", "tick 2 +0")

    @property
    def second(self) -> Replica:
        replica = self.cluster.nodes[2].replica
        assert replica is not None
        return replica

    def deliver(self, kind: str) -> None:
        """Messages of this kind from 1 to 2, and no others."""
        wanted = [m for m in self.cluster.wire if m[:2] == (1, 2) and type(m[2]).__name__ == kind]
        self.cluster.wire = wanted
        assert wanted, f"no {kind}"
        self.do("deliver 1>2")


def test_a_heartbeat_of_the_same_leader_does_not_make_a_restarted_follower_current() -> None:
    three = Three()
    assert three.second.is_current
    before = three.second.commit_index
    three.restart()
    assert not three.second.is_current, "it knows of no leader"
    three.deliver("Heartbeat")
    assert three.second.leader is not None
    assert three.second.commit_index < before
    assert not three.second.is_current, "its leader has not said how far it had committed"
    three.do("settle", "tick 1 +150", "settle", "tick 1 +500", "settle")
    assert three.second.commit_index == before
    assert three.second.is_current


def test_a_leader_is_current_when_an_entry_of_its_own_is_committed() -> None:
    three = Three()
    leader = three.cluster.nodes[1].replica
    assert leader is not None
    assert leader.is_current
