"""Decisions about brokers: who is a member, under which incarnation, and who is to leave.

    unknown --AdmitBroker--> member --DrainBroker--> draining --RemoveBroker--> departed
                               |  ^                     |
                               |  +---- taken back -----+
                               +--AdmitBroker of another disk--> that one is the member, the old
                                                                 one is retired (decision 4)
    departed --DrainBroker taken back--> unknown

An incarnation that left or was replaced is retired and stays so. Nobody joins under the id of a
broker that was decommissioned before that is taken back: a process that is started once more, while
somebody is on the way to stop it, would get replicas that go with it. Who asks for a membership
tells whether it saw another disk of that id connected: liveness is not metadata. Read next: `image`
for what a record does.
"""

from __future__ import annotations

from collections.abc import Mapping

from quorate_broker.cluster import commands, records
from quorate_broker.cluster.image import Broker, Image, broker_of
from quorate_broker.cluster.records import Member
from quorate_broker.cluster.topics import Decision
from quorate_broker.errors import ErrorCode, KafkaError

FIRST_ID, LAST_ID = 1, 99
"""Node ids of brokers; flanking nodes have higher ones."""


def register(image: Image, command: commands.RegisterBroker) -> Decision:
    """A member says where it listens; the last one to know a new level raises it, if it may."""
    if Member(command.node_id, command.incarnation) not in image.members:
        raise KafkaError(
            ErrorCode.BROKER_ID_NOT_REGISTERED,
            f"broker {command.node_id} with incarnation {command.incarnation} is not a member "
            f"of cluster {image.cluster_id}",
        )
    _refuse_older(image, command.node_id, command.feature_level)
    record = records.BrokerRegistered(
        command.node_id,
        command.incarnation,
        command.rpc_host,
        command.rpc_port,
        command.listeners,
        command.rack,
        command.version,
        command.feature_level,
    )
    broker = broker_of(record)
    written: list[records.MetadataRecord] = []
    if image.brokers.get(command.node_id) != broker:
        written.append(record)
    level = common_level(image, image.brokers | {broker.node_id: broker})
    if command.raises and level > image.feature_level:
        written.append(records.FeatureLevelRaised(level))
    return written, commands.Done()


def common_level(image: Image, known: Mapping[int, Broker]) -> int:
    """What every member understands; 0 while one has not said so."""
    levels = [
        known[one.node_id].feature_level if one.node_id in known else 0 for one in image.members
    ]
    return min(*levels, image.knows)


def raise_level(image: Image, command: commands.RaiseFeatureLevel) -> Decision:
    """Somebody wants the cluster to go on, for good."""
    if command.level <= image.feature_level:
        return [], commands.Done()
    for one in image.members:
        broker = image.brokers.get(one.node_id)
        if broker is None or broker.feature_level < command.level:
            told = f"knows {broker.feature_level} only" if broker else "has not said what it knows"
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"the cluster cannot go on to feature level {command.level}: "
                f"broker {one.node_id} {told}",
            )
    if command.level > image.knows:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"the highest feature level known is {image.knows}"
        )
    return [records.FeatureLevelRaised(command.level)], commands.Done()


def _refuse_older(image: Image, node_id: int, level: int) -> None:
    if level < image.feature_level:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_VERSION,
            f"the cluster is at feature level {image.feature_level}, and broker {node_id} "
            f"knows {level} only: give it the version that the others run",
        )


def admit(image: Image, command: commands.AdmitBroker) -> Decision:
    """A new member, or one whose disk was lost; the same again changes nothing."""
    member = Member(command.node_id, command.incarnation)
    welcome = commands.Admitted(image.cluster_id)
    if member in image.members:
        return [], welcome
    if command.incarnation in image.retired:
        raise KafkaError(
            ErrorCode.DUPLICATE_BROKER_REGISTRATION,
            f"incarnation {command.incarnation} of broker {command.node_id} was retired",
        )
    _refuse_older(image, command.node_id, command.feature_level)
    if not FIRST_ID <= command.node_id <= LAST_ID:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"brokers have ids from {FIRST_ID} to {LAST_ID}"
        )
    old = image.member(command.node_id)
    where = (command.rpc_host, command.rpc_port)
    if command.node_id in image.departed:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"broker {command.node_id} was decommissioned: recommission it first "
            f"(PUT /v1/brokers/{command.node_id}/recommission)",
        )
    if old is None:
        return [records.BrokerAdmitted(command.node_id, command.incarnation, *where)], welcome
    if not command.replace:
        raise KafkaError(
            ErrorCode.DUPLICATE_BROKER_REGISTRATION,
            f"broker {old.node_id} is connected with another disk (incarnation {old.incarnation}): "
            "stop it first, or give this one an id of its own",
        )
    replaced = records.BrokerReplaced(old.node_id, old.incarnation, command.incarnation, *where)
    return [replaced], welcome


def drain(image: Image, command: commands.DrainBroker) -> Decision:
    """Decommission, or take it back: then what is moving away stays."""
    member = image.member(command.node_id)
    if member is None and command.node_id in image.departed and not command.draining:
        return [records.BrokerDraining(command.node_id, False)], commands.Done()
    if member is None:
        raise KafkaError(ErrorCode.RESOURCE_NOT_FOUND, f"there is no broker {command.node_id}")
    if command.draining == (command.node_id in image.draining):
        return [], commands.Done()
    if command.draining and not any(
        one.node_id not in image.draining and one != member for one in image.members
    ):
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"broker {command.node_id} is the last one: nobody else can take what it holds",
        )
    written: list[records.MetadataRecord] = [
        records.BrokerDraining(command.node_id, command.draining)
    ]
    if not command.draining:
        written += _kept(image, member)
    return written, commands.Done()


def _kept(image: Image, member: Member) -> list[records.MetadataRecord]:
    """Moves away from `member` are turned round."""
    written: list[records.MetadataRecord] = []
    for topic in image.topics.values():
        moves = tuple(
            records.Move(one.index, one.voters)
            for one in topic.partitions
            if member in one.voters and member not in one.wanted
        )
        if moves:
            written.append(records.PartitionsReassigned(str(topic.id), moves))
    return written


def held_by(image: Image, member: Member) -> int:
    """Partitions of which this member keeps a replica, or shall."""
    return sum(member in one.holders for topic in image.topics.values() for one in topic.partitions)


def remove(image: Image, command: commands.RemoveBroker) -> Decision:
    """The end of a decommission."""
    member = Member(command.node_id, command.incarnation)
    if member not in image.members:
        return [], commands.Done()
    if command.node_id not in image.draining:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"broker {command.node_id} is not being decommissioned"
        )
    held = held_by(image, member)
    if held:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"broker {command.node_id} still keeps {held} partitions",
        )
    return [records.BrokerRemoved(command.node_id, command.incarnation)], commands.Done()
