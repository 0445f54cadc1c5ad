"""Unmodified clients against three real brokers: what goes in comes out, whoever reads it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator

import confluent_kafka.admin
import pytest

from quorate_broker.errors import ErrorCode
from quorate_broker.testing import kafka_client, processes
from quorate_broker.testing.clients import (
    AioKafka,
    Client,
    Confluent,
    How,
    Joining,
    KafkaPython,
    Kcat,
    Member,
    Message,
    Refused,
)
from quorate_broker.testing.processes import eventually
from quorate_broker.wire import batch

pytestmark = pytest.mark.process

KCAT = Kcat()
LIBRARIES: list[Joining] = [Confluent(), AioKafka(), KafkaPython()]
CLIENTS: list[Client] = [*LIBRARIES, KCAT]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
ANY_BYTES = bytes(range(256)) * 40
HEADERS = (("h", b"v"), ("h", b"again"), ("empty", b""), ("null", None))
AT_MS = int(time.time() * 1000) - 3_600_000
"""Young enough for `retention.ms`: what is a week old may be gone before it is read."""
MESSAGES = [
    Message(None, b"", (), AT_MS),
    Message(b"", b"", (), AT_MS + 1),
    Message(b"a tombstone", None, (), AT_MS + 2),
    Message(None, b"no key", HEADERS, AT_MS + 3),
    Message(ANY_BYTES, ANY_BYTES, (("binary", ANY_BYTES),), AT_MS + 4),
    Message(b"k", b"long " * 20_000, (), AT_MS + 5),
]
PLAIN = [
    Message(b"k", b"v"),
    Message(None, b"no key", (("a", b"b"), ("c", b"d"))),
    Message(b"", b"empty key"),
    Message(b"a tombstone", None),
]
"""What kcat can be told to write."""

named = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
joining = pytest.mark.parametrize("client", LIBRARIES, ids=lambda client: client.name)


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[processes.Cluster]:
    """Three, for all tests of this file; what is too old goes within a second."""
    settings = ["log.retention.check.interval.ms=1000"]
    with processes.cluster(tmp_path_factory.mktemp("clients"), settings=settings) as made:
        yield made


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[processes.Cluster]:
    """One broker that creates no topic for the asking."""
    settings = ["auto.create.topics.enable=false"]
    with processes.cluster(tmp_path_factory.mktemp("alone"), 1, settings=settings) as made:
        yield made


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses; who uses it first has it created."""
    return "".join(sign if sign.isalnum() else "-" for sign in request.node.name)


def without_times(messages: list[Message]) -> list[Message]:
    return [Message(one.key, one.value, one.headers) for one in messages]


def without_null_headers(messages: list[Message]) -> list[Message]:
    """kafka-python refuses to write them (and reads them well)."""
    return [
        dataclasses.replace(one, headers=tuple(h for h in one.headers if h[1] is not None))
        for one in messages
    ]


def without_binary_headers(messages: list[Message]) -> list[Message]:
    """kcat shows headers as text, with commas between them."""
    return [
        dataclasses.replace(one, headers=() if one.key == ANY_BYTES else one.headers)
        for one in messages
    ]


def stored_codec(cluster: processes.Cluster, topic: str) -> batch.Codec:
    """How the first batch of partition 0 lies in the log."""
    port = int(cluster.bootstrap_of(cluster.partition_leader(topic)).rpartition(":")[2])

    async def ask() -> batch.Codec:
        client = await kafka_client.KafkaClient.connect(port)
        try:
            answer = await client.ask(kafka_client.fetch_request(topic), 10)
            (one,) = answer.responses[0].partitions
            return batch.Codec(batch.parse_header(one.records).codec)
        finally:
            await client.close()

    return asyncio.run(ask())


# ------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("codec", CODECS)
@joining
def test_what_a_library_writes_every_client_reads_byte_for_byte(
    brokers: processes.Cluster, topic: str, client: Client, codec: str
) -> None:
    bootstrap = brokers.bootstrap
    messages = without_null_headers(MESSAGES) if client.name == "kafka-python" else MESSAGES
    offsets = client.write(bootstrap, topic, messages, How(codec))
    assert offsets == list(range(len(messages)))
    for reader in CLIENTS:
        read = reader.read(bootstrap, topic, len(messages))
        if reader is KCAT:
            assert without_binary_headers(read) == without_binary_headers(messages)
        else:
            assert read == messages, reader.name


@pytest.mark.parametrize("codec", CODECS)
def test_what_kcat_writes_every_client_reads_byte_for_byte(
    brokers: processes.Cluster, topic: str, codec: str
) -> None:
    KCAT.write(brokers.bootstrap, topic, PLAIN, How(codec))
    for reader in CLIENTS:
        read = reader.read(brokers.bootstrap, topic, len(PLAIN))
        assert without_times(read) == PLAIN, reader.name


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
@named
def test_what_is_compressed_is_stored_compressed(
    brokers: processes.Cluster, topic: str, client: Client, codec: str
) -> None:
    """librdkafka quietly sends plain batches to a broker that it thinks too old for a codec."""
    client.write(brokers.bootstrap, topic, [Message(b"k", b"long " * 20_000)], How(codec))
    assert stored_codec(brokers, topic).name.lower() == codec


@pytest.mark.parametrize(
    "how", [How(acks=0), How(acks=1), How(acks=-1), How(idempotent=True)], ids=str
)
@named
def test_every_kind_of_acknowledgement_writes_each_message_once_in_order(
    brokers: processes.Cluster, topic: str, client: Client, how: How
) -> None:
    messages = [Message(b"k", b"%d" % n) for n in range(3 if client is KCAT else 300)]
    client.write(brokers.bootstrap, topic, messages[:1], How())  # now the topic is there
    client.write(brokers.bootstrap, topic, messages[1:], how)
    # With acks=0 it may still be on its way; who reads waits for it (kcat does not).
    reader = client if client is not KCAT else CLIENTS[0]
    assert without_times(reader.read(brokers.bootstrap, topic, len(messages))) == messages


@pytest.mark.parametrize("node_id", [1, 2, 3])
@named
def test_each_broker_alone_leads_to_all_of_them(
    brokers: processes.Cluster, topic: str, client: Client, node_id: int
) -> None:
    bootstrap = brokers.bootstrap_of(node_id)
    assert client.brokers(bootstrap) == {i: brokers.bootstrap_of(i) for i in brokers.brokers}
    client.write(bootstrap, topic, PLAIN)
    assert without_times(client.read(bootstrap, topic, len(PLAIN))) == PLAIN


# ------------------------------------------------------------------------------------ offsets


@named
def test_an_offset_is_found_by_its_time(
    brokers: processes.Cluster, topic: str, client: Client
) -> None:
    timed = [Message(b"k", b"v", (), AT_MS + 1000 * n) for n in range(5)]
    for one in timed:  # each in a batch of its own
        LIBRARIES[0].write(brokers.bootstrap, topic, [one])
    LIBRARIES[0].write(brokers.bootstrap, topic, timed)  # and all in one
    asked = {AT_MS - 1: 0, AT_MS: 0, AT_MS + 1: 1, AT_MS + 3000: 3, AT_MS + 4000: 4}
    for timestamp_ms, offset in asked.items():
        assert client.offset_at(brokers.bootstrap, topic, timestamp_ms) == offset
    assert client.offset_at(brokers.bootstrap, topic, AT_MS + 4001) is None


@named
def test_an_offset_inside_a_batch_is_where_reading_begins(
    brokers: processes.Cluster, topic: str, client: Client
) -> None:
    LIBRARIES[0].write(brokers.bootstrap, topic, [Message(None, b"%d" % n) for n in range(100)])
    read = client.read(brokers.bootstrap, topic, 10, start=55)
    assert [one.value for one in read] == [b"%d" % n for n in range(55, 65)]


@named
def test_an_offset_beyond_the_end_is_said_to_be_out_of_range(
    brokers: processes.Cluster, topic: str, client: Client
) -> None:
    client.write(brokers.bootstrap, topic, PLAIN)
    with pytest.raises(Refused) as refused:
        client.read(brokers.bootstrap, topic, 1, start=1_000)
    assert refused.value.code == ErrorCode.OFFSET_OUT_OF_RANGE


@named
def test_a_batch_that_is_too_long_is_refused_and_the_next_one_is_not(
    brokers: processes.Cluster, topic: str, client: Client
) -> None:
    client.write(brokers.bootstrap, topic, PLAIN[:1])
    too_long = [Message(b"k", b"x" * 1_100_000)]
    with pytest.raises(Refused) as refused:
        client.write(brokers.bootstrap, topic, too_long)
    assert refused.value.code == ErrorCode.MESSAGE_TOO_LARGE
    client.write(brokers.bootstrap, topic, PLAIN[1:])
    assert without_times(client.read(brokers.bootstrap, topic, len(PLAIN))) == PLAIN


# ------------------------------------------------------------------------------------- groups


class Group:
    """Members driven in turn by one thread."""

    def __init__(self, client: Joining, bootstrap: str, topic: str) -> None:
        self._join = lambda: client.join(bootstrap, f"group-of-{topic}", topic)
        self.members: list[Member] = []
        self.read: list[bytes | None] = []

    def grow(self) -> None:
        self.members.append(self._join())

    def turn(self) -> None:
        """Each member takes part once."""
        for member in self.members:
            self.read += member.poll()

    def until_shared(self, partitions: int) -> None:
        """Until all partitions are assigned, as evenly as they can be, none of them twice."""

        def shared() -> bool:
            self.turn()
            parts = [member.assignment() for member in self.members]
            sizes = {len(part) for part in parts}
            whole = sorted(index for part in parts for index in part)
            return whole == list(range(partitions)) and max(sizes) - min(sizes) <= 1

        eventually(shared, f"{len(self.members)} members share {partitions} partitions")

    def until_read(self, values: set[bytes]) -> None:
        def complete() -> bool:
            self.turn()
            return set(self.read) >= values

        eventually(complete, f"{len(values)} values read by the group")

    def close(self) -> None:
        while self.members:
            self.members.pop().close()


def fill(bootstrap: str, topic: str) -> None:
    """Enough in each of the four partitions that nobody runs out of it."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    for index in range(4 * 5_000):
        producer.produce(topic, b"x", partition=index % 4)
    assert producer.flush(30) == 0


@pytest.fixture
def group(
    request: pytest.FixtureRequest, brokers: processes.Cluster, topic: str
) -> Iterator[Group]:
    made = Group(request.getfixturevalue("client"), brokers.bootstrap, topic)
    yield made
    made.close()


@joining
def test_members_of_a_group_share_the_partitions_as_they_come_and_go(
    brokers: processes.Cluster, topic: str, client: Joining, group: Group
) -> None:
    fill(brokers.bootstrap, topic)
    for _ in range(3):
        group.grow()
        group.until_shared(4)
    group.members.pop(0).close()
    group.until_shared(4)


@joining
def test_a_group_goes_on_behind_what_it_committed(
    brokers: processes.Cluster, topic: str, client: Joining, group: Group
) -> None:
    before = [b"before %d" % n for n in range(10)]
    after = [b"after %d" % n for n in range(10)]
    client.write(brokers.bootstrap, topic, [Message(None, value) for value in before])
    group.grow()
    group.until_read(set(before))
    group.members[0].commit()
    group.close()
    client.write(brokers.bootstrap, topic, [Message(None, value) for value in after])
    group.read.clear()
    group.grow()
    group.until_read(set(after))
    assert group.read == after


def test_kcat_as_a_member_goes_on_behind_what_it_committed(
    brokers: processes.Cluster, topic: str
) -> None:
    def read() -> list[bytes]:
        arguments = ["-G", f"group-of-{topic}", topic, "-e", "-q", "-D", ";"]
        text = KCAT.run(brokers.bootstrap, *arguments, "-X", "auto.offset.reset=earliest")
        return sorted(text.split(b";")[:-1])

    KCAT.write(brokers.bootstrap, topic, [Message(None, b"1"), Message(None, b"2")])
    assert read() == [b"1", b"2"]
    KCAT.write(brokers.bootstrap, topic, [Message(None, b"3")])
    assert read() == [b"3"]


# ------------------------------------------------------------------------------ auto-creation


@named
def test_a_topic_that_is_only_named_gets_four_partitions_on_three_brokers(
    brokers: processes.Cluster, topic: str, client: Client
) -> None:
    client.write(brokers.bootstrap, topic, PLAIN[:1])
    places = [brokers.get(1, f"/v1/partitions/kafka/{topic}/{n}") for n in range(4)]
    assert [{one["node_id"] for one in place["replicas"]} for place in places] == [{1, 2, 3}] * 4
    assert brokers.get(1, f"/v1/partitions/kafka/{topic}/4").get("code") == 404


def test_no_topic_is_made_where_that_is_off(alone: processes.Cluster, topic: str) -> None:
    said = KCAT.run(alone.bootstrap, "-L", "-t", topic)
    assert f'topic "{topic}" with 0 partitions: Broker: Unknown topic'.encode() in said
    assert b" 0 topics:\n" in KCAT.run(alone.bootstrap, "-L")


def test_one_broker_makes_topics_of_one_replica(alone: processes.Cluster, topic: str) -> None:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": alone.bootstrap})
    for made in admin.create_topics([confluent_kafka.admin.NewTopic(topic)]).values():
        made.result(10)
    (partitions,) = (admin.list_topics(topic, 10).topics[topic].partitions,)
    assert [one.replicas for one in partitions.values()] == [[1]] * 4
