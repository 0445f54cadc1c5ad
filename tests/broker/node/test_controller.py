"""Commands whose first answer was lost: asked again, and not held against themselves."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import msgspec
import pytest

from quorate_broker import config
from quorate_broker.cluster import commands
from quorate_broker.cluster.genesis import Genesis
from quorate_broker.cluster.image import Topic
from quorate_broker.cluster.machine import ClusterMachine, Defaults
from quorate_broker.cluster.records import Member
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.peers import PeerLost, Peers
from quorate_broker.node import controller as controllers
from quorate_broker.node.controller import Controller
from quorate_broker.raft.messages import Heartbeat, Peer
from quorate_broker.seams import new_uuid
from quorate_broker.testing.stand import ME, OTHER, Stand

VOTERS = (Member(1, "a"), Member(2, "b"), Member(3, "c"))


class FarLeader:
    """Broker 2 leads; it carries out every command, and loses the first `lost` answers."""

    def __init__(self, lost: int) -> None:
        source = random.Random(2)
        self.me = Peer(1, "a")
        self.machine = ClusterMachine(Defaults(1, -1), lambda: new_uuid(source))
        self._lost = 0
        self.do(commands.FormCluster("c1", VOTERS))
        self._lost = lost

    def do(self, command: commands.Command) -> commands.Reply:
        outcome = self.machine.handle(1, command, 0)
        for record in outcome.records:
            self.machine.replay(record, 0)
        return cast(commands.Reply, outcome.replies[0][1])

    async def request(self, node_id: int, method: str, body: bytes, timeout_ms: int) -> bytes:
        assert node_id == OTHER.node_id
        reply = self.do(msgspec.msgpack.decode(body, type=commands.Command))
        if self._lost:
            self._lost -= 1
            raise PeerLost("it went away before it answered")
        return msgspec.msgpack.encode(reply)


def settings() -> config.Settings:
    listener = 'listeners=[{name="plain", host="127.0.0.1", port=1, authentication="none"}]'
    return config.load(
        None, {}, ["node.id=1", "data.dir=/nowhere", "seeds=1@127.0.0.1:1", listener]
    )


def asked(command: commands.Command, far: FarLeader, topic: Topic | None = None) -> Any:
    async def main() -> Any:
        stand = Stand()
        partition = stand.partition()
        controller = Controller(
            partition, config.Live(settings()), stand.clock, random.Random(1), lambda: None
        )
        if topic is not None:
            controller.image.topics[topic.name] = topic
        partition.receive(OTHER, Heartbeat(1, -1))
        await stand.flush()
        assert controller.leader_id == OTHER.node_id != ME.node_id
        return await controller.command(command, cast(Peers, far))

    return asyncio.run(main())


def test_a_creation_whose_answer_was_lost_succeeds() -> None:
    far = FarLeader(lost=2)
    reply = asked(commands.CreateTopics((commands.NewTopic("t"),)), far)
    assert [result.code for result in reply.results] == [0]
    assert reply.results[0].topic_id == str(far.machine.image.topics["t"].id)


def test_two_creations_of_one_name_are_two_and_the_second_fails() -> None:
    far = FarLeader(lost=1)
    asked(commands.CreateTopics((commands.NewTopic("t"),)), far)
    reply = asked_again(far)
    assert [result.code for result in reply.results] == [ErrorCode.TOPIC_ALREADY_EXISTS]


def asked_again(far: FarLeader) -> Any:
    """By another broker, whose random numbers are others."""
    return far.do(commands.CreateTopics((commands.NewTopic("t"),), request="another"))


def test_a_deletion_whose_answer_was_lost_succeeds_and_one_of_nothing_fails() -> None:
    far = FarLeader(lost=0)
    far.do(commands.CreateTopics((commands.NewTopic("t"),)))
    topic = far.machine.image.topics["t"]
    far._lost = 1
    reply = asked(commands.DeleteTopics(("t", "never")), far, topic)
    codes = [result.code for result in reply.results]
    assert codes == [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_a_block_of_producer_ids_whose_answer_was_lost_is_skipped() -> None:
    far = FarLeader(lost=1)
    reply = asked(commands.AllocateProducerIds(), far)
    assert reply.first == reply.count


def test_forming_goes_on_however_long_there_is_no_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that starts alone, and was killed before its first checkpoint, waits."""
    tries: list[commands.Command] = []

    async def refused_twice(
        self: Controller, command: commands.Command, peers: Peers
    ) -> commands.Reply:
        tries.append(command)
        if len(tries) < 3:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, "no leader")
        return commands.Done()

    monkeypatch.setattr(controllers, "FORM_AGAIN_S", 0)
    monkeypatch.setattr(Controller, "command", refused_twice)

    async def main() -> None:
        stand = Stand()
        partition, source = stand.partition(), random.Random(1)
        controller = Controller(
            partition, config.Live(settings()), stand.clock, source, lambda: None
        )
        await controller.form(Genesis("c1", VOTERS), cast(Peers, None))

    asyncio.run(main())
    assert tries == [commands.FormCluster("c1", VOTERS)] * 3
