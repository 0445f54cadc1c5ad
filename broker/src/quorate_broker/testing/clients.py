"""Unmodified clients behind one face, so that a test can be said once for all of them.

Everything is synchronous, also aiokafka: what a test waits for is then always a call that returns.
What is read is compared as bytes; nothing here decodes anything. Only partition 0 is written and
read, except by members of groups. kcat is the program of Debian's package.
Read next: `processes`, the cluster they talk to.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import shutil
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import aiokafka
import aiokafka.admin
import confluent_kafka

with warnings.catch_warnings():
    # kafka-python reads its own files by a way that Python has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka

T = TypeVar("T")

PATIENCE_S = 30.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Message:
    """What a client is given to write, and what comes back."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int | None = None
    """None: not asked for, not compared."""


@dataclass(frozen=True, slots=True)
class How:
    """How to write."""

    codec: str = "none"
    acks: int = -1
    idempotent: bool = False

    @property
    def in_flight(self) -> int:
        """Requests at once. A retry overtakes what was sent behind it, unless numbers tell."""
        return 5 if self.idempotent else 1


class Refused(Exception):
    """The broker's error code, whatever the client makes of it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error code {code}")
        self.code = code


class Member(Protocol):
    """A member of a consumer group."""

    def poll(self) -> list[bytes | None]:
        """Values that came within a short time; takes part in rebalances."""

    def assignment(self) -> set[int]: ...

    def commit(self) -> None: ...

    def close(self) -> None: ...


class Client(Protocol):
    """One library."""

    name: str

    def write(
        self, bootstrap: str, topic: str, messages: Sequence[Message], how: How = ...
    ) -> list[int]:
        """The offsets (-1 with acks=0) in partition 0. Raises Refused."""

    def read(self, bootstrap: str, topic: str, count: int, start: int = 0) -> list[Message]:
        """`count` messages of partition 0 from offset `start`. Raises Refused."""

    def brokers(self, bootstrap: str) -> dict[int, str]:
        """node id -> host:port, as the cluster says."""

    def offset_at(self, bootstrap: str, topic: str, timestamp_ms: int) -> int | None:
        """First offset of partition 0 at or after that time."""


class Joining(Client, Protocol):
    """A library that can be a member of a group and say so."""

    def join(self, bootstrap: str, group: str, topic: str) -> Member: ...


# ---------------------------------------------------------------------------- confluent-kafka


class Confluent:
    """librdkafka, as confluent-kafka brings it."""

    name = "confluent-kafka"

    def write(
        self, bootstrap: str, topic: str, messages: Sequence[Message], how: How = How()
    ) -> list[int]:
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "compression.type": how.codec,
                "acks": how.acks,
                "enable.idempotence": how.idempotent,
                "max.in.flight": how.in_flight,
                "message.max.bytes": 8_000_000,
                "linger.ms": 1,
            }
        )
        sent: list[Any] = []
        for one in messages:
            more: dict[str, Any] = (
                {} if one.timestamp_ms is None else {"timestamp": one.timestamp_ms}
            )
            producer.produce(
                topic,
                one.value,
                one.key,
                0,
                headers=list(one.headers) or None,
                on_delivery=lambda error, message: sent.append((error, message)),
                **more,
            )
        assert producer.flush(PATIENCE_S) == 0, "not delivered in time"
        for error, _ in sent:
            if error is not None:
                raise Refused(error.code())
        return [-1 if how.acks == 0 else message.offset() for _, message in sent]

    def read(self, bootstrap: str, topic: str, count: int, start: int = 0) -> list[Message]:
        consumer = self._consumer(bootstrap)
        try:
            consumer.assign([confluent_kafka.TopicPartition(topic, 0, start)])
            read: list[Message] = []
            deadline = time.perf_counter() + PATIENCE_S
            while len(read) < count:
                assert time.perf_counter() < deadline, f"read {len(read)} of {count}"
                message = consumer.poll(POLL_S)
                if message is None:
                    continue
                if message.error() is not None:
                    raise Refused(_broker_code(message.error().code()))
                read.append(
                    Message(
                        message.key(),
                        message.value(),
                        tuple(message.headers() or ()),
                        message.timestamp()[1],
                    )
                )
            return read
        finally:
            consumer.close()

    def brokers(self, bootstrap: str) -> dict[int, str]:
        consumer = self._consumer(bootstrap)
        try:
            known = consumer.list_topics(timeout=PATIENCE_S).brokers
            return {i: f"{one.host}:{one.port}" for i, one in known.items()}
        finally:
            consumer.close()

    def offset_at(self, bootstrap: str, topic: str, timestamp_ms: int) -> int | None:
        consumer = self._consumer(bootstrap)
        try:
            asked = [confluent_kafka.TopicPartition(topic, 0, timestamp_ms)]
            (found,) = consumer.offsets_for_times(asked, timeout=PATIENCE_S)
            return None if found.offset == confluent_kafka.OFFSET_END else int(found.offset)
        finally:
            consumer.close()

    def join(self, bootstrap: str, group: str, topic: str) -> Member:
        return _ConfluentMember(self._consumer(bootstrap, group), topic)

    def _consumer(self, bootstrap: str, group: str = "none") -> Any:
        return confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "error" if group == "none" else "earliest",
                "heartbeat.interval.ms": 200,
            }
        )


_AUTO_OFFSET_RESET = -140
"""librdkafka's own code for "no offset, and no policy what to do about it"."""


def _broker_code(code: int) -> int:
    return 1 if code == _AUTO_OFFSET_RESET else code


class _ConfluentMember:
    def __init__(self, consumer: Any, topic: str) -> None:
        self._consumer = consumer
        consumer.subscribe([topic])

    def poll(self) -> list[bytes | None]:
        came = self._consumer.consume(100, POLL_S)
        for message in came:
            if message.error() is not None:
                raise Refused(message.error().code())
        return [message.value() for message in came]

    def assignment(self) -> set[int]:
        return {one.partition for one in self._consumer.assignment()}

    def commit(self) -> None:
        self._consumer.commit(asynchronous=False)

    def close(self) -> None:
        self._consumer.close()


# ------------------------------------------------------------------------------- kafka-python


class KafkaPython:
    """kafka-python."""

    name = "kafka-python"

    def write(
        self, bootstrap: str, topic: str, messages: Sequence[Message], how: How = How()
    ) -> list[int]:
        producer = kafka.KafkaProducer(
            bootstrap_servers=bootstrap,
            compression_type=None if how.codec == "none" else how.codec,
            acks=how.acks,
            enable_idempotence=how.idempotent,
            max_in_flight_requests_per_connection=how.in_flight,
            max_request_size=8_000_000,
        )
        try:
            futures = [
                producer.send(
                    topic,
                    one.value,
                    one.key,
                    headers=list(one.headers),
                    partition=0,
                    timestamp_ms=one.timestamp_ms,
                )
                for one in messages
            ]
            producer.flush(PATIENCE_S)
            return [future.get(PATIENCE_S).offset for future in futures]
        except kafka.errors.BrokerResponseError as error:
            raise Refused(error.errno) from error
        finally:
            producer.close()

    def read(self, bootstrap: str, topic: str, count: int, start: int = 0) -> list[Message]:
        consumer = self._consumer(bootstrap)
        try:
            place = kafka.TopicPartition(topic, 0)
            consumer.assign([place])
            consumer.seek(place, start)
            read: list[Message] = []
            deadline = time.perf_counter() + PATIENCE_S
            while len(read) < count:
                assert time.perf_counter() < deadline, f"read {len(read)} of {count}"
                for records in consumer.poll(timeout_ms=POLL_S * 1000).values():
                    read += map(_message, records)
            return read[:count]
        except kafka.errors.OffsetOutOfRangeError as error:
            raise Refused(error.errno) from error
        finally:
            consumer.close()

    def brokers(self, bootstrap: str) -> dict[int, str]:
        admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            known = admin.describe_cluster()["brokers"]
            return {one["broker_id"]: f"{one['host']}:{one['port']}" for one in known}
        finally:
            admin.close()

    def offset_at(self, bootstrap: str, topic: str, timestamp_ms: int) -> int | None:
        consumer = self._consumer(bootstrap)
        try:
            place = kafka.TopicPartition(topic, 0)
            found = consumer.offsets_for_times({place: timestamp_ms})[place]
            return None if found is None else int(found.offset)
        finally:
            consumer.close()

    def join(self, bootstrap: str, group: str, topic: str) -> Member:
        consumer = self._consumer(bootstrap, group)
        consumer.subscribe([topic])
        return _KafkaPythonMember(consumer)

    def _consumer(self, bootstrap: str, group: str | None = None) -> Any:
        return kafka.KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none" if group is None else "earliest",
            heartbeat_interval_ms=200,
        )


class _KafkaPythonMember:
    """Polls in a thread of its own, and long.

    A join that ends after the poll in which it began has timed out is never looked at by
    kafka-python 3.0: the member stays without partitions. So polls are long, and end early only
    because there is something to read.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._polling: concurrent.futures.Future[Any] | None = None

    def poll(self) -> list[bytes | None]:
        if self._polling is None:
            wait_ms = PATIENCE_S * 1000
            self._polling = self._thread.submit(
                self._consumer.poll, timeout_ms=wait_ms, max_records=20
            )
        try:
            came = self._polling.result(POLL_S)
        except TimeoutError:
            return []
        self._polling = None
        return [one.value for records in came.values() for one in records]

    def assignment(self) -> set[int]:
        return {one.partition for one in self._consumer.assignment()}

    def commit(self) -> None:
        self._thread.submit(self._consumer.commit).result(PATIENCE_S)

    def close(self) -> None:
        self._thread.submit(self._consumer.close).result(PATIENCE_S)
        self._thread.shutdown()


# ----------------------------------------------------------------------------------- aiokafka


class AioKafka:
    """aiokafka, each call in an event loop of its own."""

    name = "aiokafka"

    def write(
        self, bootstrap: str, topic: str, messages: Sequence[Message], how: How = How()
    ) -> list[int]:
        async def send() -> list[int]:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                compression_type=None if how.codec == "none" else how.codec,
                acks=how.acks,
                enable_idempotence=how.idempotent,
                max_request_size=8_000_000,
            )
            async with producer:
                futures = [await self._send(producer, topic, one) for one in messages]
                sent = await asyncio.gather(*futures)
            return [-1 if how.acks == 0 else one.offset for one in sent]

        return self._run(send)

    async def _send(self, producer: Any, topic: str, one: Message) -> Any:
        return await producer.send(
            topic,
            one.value,
            one.key,
            partition=0,
            timestamp_ms=one.timestamp_ms,
            headers=list(one.headers),
        )

    def read(self, bootstrap: str, topic: str, count: int, start: int = 0) -> list[Message]:
        async def receive() -> list[Message]:
            read: list[Message] = []
            async with self._consumer(bootstrap) as consumer:
                place = aiokafka.TopicPartition(topic, 0)
                consumer.assign([place])
                consumer.seek(place, start)
                while len(read) < count:
                    read.append(_message(await consumer.getone()))
            return read

        return self._run(receive)

    def brokers(self, bootstrap: str) -> dict[int, str]:
        async def look() -> dict[int, str]:
            admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=bootstrap)
            await admin.start()
            try:
                known = (await admin.describe_cluster())["brokers"]
                return {one["node_id"]: f"{one['host']}:{one['port']}" for one in known}
            finally:
                await admin.close()

        return self._run(look)

    def offset_at(self, bootstrap: str, topic: str, timestamp_ms: int) -> int | None:
        async def look() -> int | None:
            async with self._consumer(bootstrap) as consumer:
                place = aiokafka.TopicPartition(topic, 0)
                consumer.assign([place])
                found = (await consumer.offsets_for_times({place: timestamp_ms}))[place]
                return None if found is None else int(found.offset)

        return self._run(look)

    def join(self, bootstrap: str, group: str, topic: str) -> Member:
        return _AioKafkaMember(lambda: self._consumer(bootstrap, group), topic)

    def _consumer(self, bootstrap: str, group: str | None = None) -> Any:
        return aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none" if group is None else "earliest",
            heartbeat_interval_ms=200,
        )

    def _run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(PATIENCE_S):
                try:
                    return await main()
                except aiokafka.errors.BrokerResponseError as error:
                    raise Refused(error.errno) from error

        return asyncio.run(bounded())


class _AioKafkaMember:
    """Its event loop turns in a thread of its own, as it would in a program."""

    def __init__(self, make: Callable[[], Any], topic: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._consumer = self._run(self._start(make, topic))

    async def _start(self, make: Callable[[], Any], topic: str) -> Any:
        consumer = make()
        await consumer.start()
        # Only now: else `start` waits for the first assignment, and no other member is polled.
        consumer.subscribe([topic])
        return consumer

    def _run(self, main: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(main, self._loop).result(PATIENCE_S)

    def poll(self) -> list[bytes | None]:
        came = self._run(self._consumer.getmany(timeout_ms=int(POLL_S * 1000)))
        return [one.value for records in came.values() for one in records]

    def assignment(self) -> set[int]:
        return {one.partition for one in self._consumer.assignment()}

    def commit(self) -> None:
        self._run(self._consumer.commit())

    def close(self) -> None:
        try:
            self._run(self._consumer.stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


def _message(record: Any) -> Message:
    """kafka-python's records and aiokafka's look alike."""
    return Message(record.key, record.value, tuple(record.headers), record.timestamp)


# --------------------------------------------------------------------------------------- kcat


class Kcat:
    """The program. Its text form of headers is compared as text."""

    name = "kcat"

    def write(
        self, bootstrap: str, topic: str, messages: Sequence[Message], how: How = How()
    ) -> list[int]:
        for one in messages:
            assert one.timestamp_ms is None, "kcat cannot be told a time"
            arguments = ["-P", "-t", topic, "-p", "0", "-z", how.codec, "-X", f"acks={how.acks}"]
            arguments += ["-X", f"enable.idempotence={str(how.idempotent).lower()}"]
            arguments += ["-X", f"max.in.flight={how.in_flight}"]
            arguments += ["-X", "message.max.bytes=8000000", "-D", _END, "-K", _MID]
            if one.value is None:
                arguments.append("-Z")  # empty is null
            for name, value in one.headers:
                arguments += ["-H", name if value is None else f"{name}={value.decode()}"]
            pieces = [] if one.key is None else [one.key, _MID.encode()]
            text = b"".join([*pieces, one.value or b"", _END.encode()])
            self.run(bootstrap, *arguments, given=text)
        return []

    def read(self, bootstrap: str, topic: str, count: int, start: int = 0) -> list[Message]:
        form = f"%K %S %T\n%k%s%h{_KCAT_END}"
        arguments = ["-C", "-t", topic, "-p", "0", "-o", str(start), "-c", str(count), "-f", form]
        # -e: at the end it stops, also when there was less than asked for.
        left = self.run(bootstrap, *arguments, "-e", "-q", "-X", "auto.offset.reset=error")
        read = []
        while left:
            head, _, left = left.partition(b"\n")
            key_size, value_size, timestamp_ms = map(int, head.split())
            key, left = _cut(left, key_size)
            value, left = _cut(left, value_size)
            headers, _, left = left.partition(_KCAT_END.encode())
            read.append(Message(key, value, _headers(headers), timestamp_ms))
        return read

    def brokers(self, bootstrap: str) -> dict[int, str]:
        text = self.run(bootstrap, "-L").decode()
        return {int(i): at for i, at in re.findall(r"broker (\d+) at (\S+)", text)}

    def offset_at(self, bootstrap: str, topic: str, timestamp_ms: int) -> int | None:
        text = self.run(bootstrap, "-Q", "-t", f"{topic}:0:{timestamp_ms}").decode()
        found = re.fullmatch(r".* offset (-?\d+)\s*", text, re.S)
        assert found is not None, f"a broker's error, which kcat does not try again: {text}"
        offset = int(found[1])
        return None if offset == confluent_kafka.OFFSET_END else offset

    def run(self, bootstrap: str, *arguments: str, given: bytes = b"") -> bytes:
        """What it prints; raises Refused where it names a broker's error."""
        program = shutil.which("kcat")
        assert program is not None, "kcat is missing: apt-get install kcat (Debian's name)"
        command = [program, "-b", bootstrap, *arguments]
        done = subprocess.run(
            command, input=given, capture_output=True, check=False, timeout=PATIENCE_S
        )
        said = done.stderr.decode(errors="replace")
        for words, code in _KCAT_SAYS.items():
            if words in said:
                raise Refused(code)
        assert done.returncode == 0, said
        return done.stdout


_MID, _END = "\x01", "\x02"
_KCAT_END = "\n-- that was one message --\n"
_KCAT_SAYS = {"Offset out of range": 1, "Message size too large": 10}


def _cut(text: bytes, size: int) -> tuple[bytes | None, bytes]:
    """A key or value of so many bytes (-1: null), and what follows it."""
    return (None, text) if size < 0 else (text[:size], text[size:])


def _headers(text: bytes) -> tuple[tuple[str, bytes | None], ...]:
    pairs = [one.partition(b"=") for one in text.split(b",") if one]
    return tuple(
        (name.decode(errors="replace"), None if value == b"NULL" else value)
        for name, _, value in pairs
    )
