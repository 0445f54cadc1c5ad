"""The metadata machine: commands in, records and replies out.

It runs on the metadata leader only, on an image that includes what is appended but not committed,
so that the next command decides on current state; replies wait for the commit
(`partition.hosted`).

    command -> handle -> Outcome(records, reply) -> append -> replay(records) ... commit -> reply

Read next: `topics`, `members`, `reassignment` and `settings`, which decide; `image` for what a
record does.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from quorate_broker.cluster import commands, members, reassignment, records, settings
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.topics import MAX_PARTITIONS_PER_COMMAND as MAX_PARTITIONS_PER_COMMAND
from quorate_broker.cluster.topics import Decision, Topics, everybody
from quorate_broker.cluster.topics import Defaults as Defaults
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire import batch
from quorate_broker.wire.outcome import Outcome

PRODUCER_ID_BLOCK = 1000

_MOVING = (
    commands.AdmitBroker
    | commands.DrainBroker
    | commands.RemoveBroker
    | commands.ReassignPartitions
    | commands.SettlePartitions
    | commands.ChangeTopicConfigs
)
_LATER = _MOVING | commands.ChangeSettings | commands.RaiseFeatureLevel


class ClusterMachine:
    """Implements `wire.outcome.Machine`. `new_topic_id` is the only randomness; new replicas go to
    brokers that are up (`is_up`) where there are enough."""

    def __init__(
        self,
        defaults: Defaults,
        new_topic_id: Callable[[], uuid.UUID],
        is_up: Callable[[int], bool] = everybody,
        knows: int = records.FEATURE_LEVEL,
    ) -> None:
        self.image = Image(knows)
        self._topics = Topics(self.image, defaults, new_topic_id, is_up)

    def configure(self, defaults: Defaults) -> None:
        """From now on."""
        self._topics.defaults = defaults

    def default_replication_factor(self) -> int:
        return self._topics.default_replication_factor()

    def replay(self, record: batch.Record, offset: int) -> None:
        self.image.replay(record, offset)

    def restore(self, content: bytes) -> None:
        """Begin from a snapshot; raises ValueError."""
        self.image.restore(content)

    def loaded(self, now_ms: int) -> Outcome:
        return Outcome()

    def expire(self, now_ms: int) -> Outcome:
        return Outcome()

    def handle(self, ticket: int, command: object, now_ms: int) -> Outcome:
        try:
            written, reply = self._decide(command)
        except KafkaError as error:
            written, reply = [], commands.Refused(error.code, error.message)
        return Outcome(
            records=tuple(records.to_batch_record(record) for record in written),
            replies=((ticket, reply),),
        )

    def _decide(self, command: object) -> Decision:
        """The records to write and the reply; KafkaError refuses the command as a whole."""
        match command:
            case commands.FormCluster():
                return self._form(command)
            case commands.RegisterBroker():
                return members.register(self.image, command)
            case commands.CreateTopics():
                return self._topics.create(command)
            case commands.DeleteTopics():
                return self._topics.delete(command)
            case commands.CreatePartitions():
                return self._topics.grow(command)
            case commands.AllocateProducerIds():
                return self._allocate()
        assert isinstance(command, _LATER), f"not a metadata command: {command!r}"
        self._require(records.MOVING)
        match command:
            case commands.ChangeSettings():
                self._require(records.SETTINGS)
                return settings.change(self.image, command)
            case commands.RaiseFeatureLevel():
                return members.raise_level(self.image, command)
        return self._decide_moving(command)

    def _decide_moving(self, command: _MOVING) -> Decision:
        match command:
            case commands.AdmitBroker():
                return members.admit(self.image, command)
            case commands.DrainBroker():
                return members.drain(self.image, command)
            case commands.RemoveBroker():
                return members.remove(self.image, command)
            case commands.ReassignPartitions():
                return reassignment.reassign(self.image, command)
            case commands.SettlePartitions():
                return reassignment.settle(self.image, command)
            case commands.ChangeTopicConfigs():
                return self._topics.configure(command)

    def _require(self, level: int) -> None:
        if not self.image.cluster_id:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "the cluster is not formed yet")
        require(self.image, level)

    def _form(self, command: commands.FormCluster) -> Decision:
        if self.image.cluster_id:
            return [], commands.Done()
        formed = records.ClusterFormed(command.cluster_id, command.voters, records.OLDEST)
        return [formed], commands.Done()

    def _allocate(self) -> Decision:
        first = self.image.next_producer_id
        record = records.ProducerIdsAllocated(first + PRODUCER_ID_BLOCK)
        return [record], commands.ProducerIds(first, PRODUCER_ID_BLOCK)


def require(image: Image, level: int) -> None:
    """Raises KafkaError in a cluster that has not gone on so far: its brokers need not know it."""
    if image.feature_level < level:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_VERSION,
            f"the cluster is at feature level {image.feature_level}, and this needs {level}: it "
            "can be raised when every broker runs a version that knows it",
        )
