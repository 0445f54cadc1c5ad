"""The metadata group, as its node uses it.

Every node follows the committed log into `image`; the leader also hosts the machine that decides.
A command given here runs on the leader, wherever that is: locally, or forwarded once to the
broker that leads, with a retry while the group is between leaders. The first try may have been
carried out although its answer was lost; see `cluster.commands` for how the next one is told that.
Read next: `cluster.machine`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

import msgspec

from quorate_broker import config, seams
from quorate_broker.cluster import commands, members, records
from quorate_broker.cluster.genesis import Genesis
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.machine import ClusterMachine, Defaults, require
from quorate_broker.cluster.records import Member
from quorate_broker.cluster.topics import everybody
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.peers import PeerLost, Peers
from quorate_broker.node.snapshots import Snapshots
from quorate_broker.partition.hosted import Follower, Host
from quorate_broker.partition.shell import Partition

log = logging.getLogger(__name__)

METHOD = "controller"
TIMEOUT_MS = 10_000
RETRY_S = 0.05
FORM_AGAIN_S = 0.5
RETRIED = (
    ErrorCode.NOT_CONTROLLER,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
)

_commands = msgspec.msgpack.Decoder(commands.Command)
_replies = msgspec.msgpack.Decoder(commands.Reply)


class Controller:
    """One per node. `applied` is called after each step of the committed image."""

    def __init__(
        self,
        partition: Partition,
        live: config.Live,
        clock: seams.Clock,
        source: random.Random,
        applied: Callable[[], None],
    ) -> None:
        self.partition = partition
        self.knows = records.known(live.file.feature_level_known)
        """The feature level that this broker goes along with."""
        self.image = Image(self.knows)
        self.founders: tuple[Member, ...] = ()
        """The members before metadata says who they are."""
        self.is_up = everybody
        """Whether a broker lives, for all this node knows."""
        self._applied = applied
        self._clock = clock
        self._random = source
        self._producer_ids: range = range(0)
        self._producer_lock = asyncio.Lock()
        self._host = Host(
            partition,
            lambda: ClusterMachine(
                defaults(live.now), lambda: seams.new_uuid(source), self.is_up, self.knows
            ),
            ErrorCode.NOT_CONTROLLER,
            clock,
        )
        every_bytes = live.now.metadata_log_max_record_bytes_between_snapshots
        self._snapshots = Snapshots(partition, lambda: self.image.encode(), every_bytes)

    def configure(self, settings: config.Settings) -> None:
        """New defaults of topics, where this broker decides about them."""
        if isinstance(self._host.machine, ClusterMachine):
            self._host.machine.configure(defaults(settings))

    def snapshot_every(self, size_bytes: int) -> None:
        self._snapshots.every_bytes = size_bytes

    def follow(self) -> None:
        """Begin to apply the committed log to the image."""
        self._follower = Follower(self.partition, self.image, self._moved)
        self._follower.catch_up()

    def _moved(self) -> None:
        self._applied()
        self._snapshots.look(self._follower.next_offset)

    @property
    def caught_up(self) -> bool:
        """Everything that was committed when this node started, or when the present leader began,
        has been applied here. Nothing may be deleted before: what the image lacks may be new."""
        applied = self._follower.next_offset >= self.partition.high_watermark
        return applied and self.partition.replica.is_current

    @property
    def members(self) -> tuple[Member, ...]:
        """Everyone who belongs to the cluster."""
        return self.image.members or self.founders

    @property
    def leader_id(self) -> int:
        """Node id of the metadata leader, -1 while there is none."""
        return self.partition.leader_id

    @property
    def leads(self) -> bool:
        """The machine is active on this node."""
        return self._host.machine is not None

    @property
    def transitions(self) -> int:
        """Committed changes of leader since genesis: terms with a committed entry, less one."""
        replica = self.partition.replica
        committed = [s for _, s in replica.log.terms.ranges if s <= replica.commit_index]
        return max(0, len(committed) - 1)

    async def command(self, command: commands.Command, peers: Peers) -> commands.Reply:
        """Run a command on the leader. Raises KafkaError; `Refused` is raised as one too."""
        deadline = self._clock.monotonic_ms() + TIMEOUT_MS
        self._refuse_early(command)
        command = self._signed(command)
        known = frozenset(self.image.topics) | {str(one) for one in self.image.topics_by_id}
        again = False
        while True:
            try:
                reply = await self._try(command, peers)
            except (PeerLost, TimeoutError) as error:
                failure = KafkaError(ErrorCode.NOT_CONTROLLER, str(error))
            except KafkaError as error:
                if error.code not in RETRIED:
                    raise
                failure = error
            else:
                if isinstance(reply, commands.Refused):
                    raise KafkaError(ErrorCode(reply.code), reply.message)
                if again and isinstance(command, commands.DeleteTopics):
                    return _deleted(reply, known)
                return reply
            again = True
            if self._clock.monotonic_ms() >= deadline:
                raise KafkaError(
                    ErrorCode.REQUEST_TIMED_OUT, "the cluster has no leader for its metadata"
                ) from failure
            await asyncio.sleep(RETRY_S)

    def _refuse_early(self, command: commands.Command) -> None:
        """What a leader of an older version would not know is not sent to it. Raises KafkaError."""
        match command:
            case commands.ChangeSettings():
                require(self.image, records.SETTINGS)
            case commands.RaiseFeatureLevel():
                members.raise_level(self.image, command)

    def _signed(self, command: commands.Command) -> commands.Command:
        if not isinstance(command, commands.CreateTopics | commands.CreatePartitions):
            return command
        return msgspec.structs.replace(command, request=str(seams.new_uuid(self._random)))

    async def _try(self, command: commands.Command, peers: Peers) -> commands.Reply:
        if self.leads:
            reply: commands.Reply = await self._host.submit(command, confirmed=True)
            return reply
        leader = self.leader_id
        if leader in (-1, peers.me.node_id):
            raise KafkaError(ErrorCode.NOT_CONTROLLER, None)
        body = msgspec.msgpack.encode(command)
        answer = await peers.request(leader, METHOD, body, timeout_ms=TIMEOUT_MS)
        forwarded: commands.Reply = _replies.decode(answer)
        return forwarded

    async def serve(self, body: bytes) -> bytes:
        """A command that another broker forwarded. Raises KafkaError NOT_CONTROLLER."""
        command = _commands.decode(body)
        return msgspec.msgpack.encode(await self._host.submit(command, confirmed=True))

    async def form(self, genesis: Genesis, peers: Peers) -> None:
        """Write the genesis as the first record, if nobody has; however long it takes."""
        forming = commands.FormCluster(genesis.cluster_id, genesis.voters)
        while not self.image.cluster_id:
            try:
                await self.command(forming, peers)
            except KafkaError as error:
                log.info("the cluster is not formed yet: %s", error)
                await asyncio.sleep(FORM_AGAIN_S)
            else:
                return

    async def new_producer_id(self, peers: Peers) -> int:
        """The next id of this node's block; a new block from the leader when it is used up."""
        async with self._producer_lock:
            if not self._producer_ids:
                reply = await self.command(commands.AllocateProducerIds(), peers)
                assert isinstance(reply, commands.ProducerIds)
                self._producer_ids = range(reply.first, reply.first + reply.count)
            first, self._producer_ids = self._producer_ids[0], self._producer_ids[1:]
            return first


def defaults(settings: config.Settings) -> Defaults:
    """What topics get when nobody says."""
    return Defaults(settings.num_partitions, settings.default_replication_factor)


def _deleted(reply: commands.Reply, known: frozenset[str]) -> commands.Reply:
    """The answer to a repeated deletion: what was there at first and is gone was deleted."""
    assert isinstance(reply, commands.TopicResults)
    unknown = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID)
    return commands.TopicResults(
        tuple(
            msgspec.structs.replace(result, code=0)
            if result.code in unknown and (result.name or result.topic_id) in known
            else result
            for result in reply.results
        )
    )
