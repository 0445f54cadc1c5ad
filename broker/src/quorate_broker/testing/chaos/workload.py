"""Real clients in threads, and everything they saw written into a `History`.

Two idempotent producers write unique numbers, two members of a group read and commit them, one
more client asks for the group's offsets and creates and deletes topics. A new `Clock` starts at 0
with the run. Read next: `judge`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import confluent_kafka
import confluent_kafka.admin
from confluent_kafka.cimpl import NewTopic

from quorate_broker.testing.chaos.faults import TOPIC
from quorate_broker.testing.chaos.history import (
    Commit,
    Committed,
    FinalRead,
    History,
    Poll,
    Send,
    TopicOperation,
)

GROUP = "chaos-readers"
VALUE_BYTES = 500
"""A number and spaces: so that segments fill and are closed."""
ASK_S = 5.0
COMMIT_EVERY_S = 1.0
ADMIN_EVERY_S = 2.0
READ_S = 60.0
_IMPATIENT = {
    "socket.timeout.ms": 6000,
    "reconnect.backoff.max.ms": 1000,
    "socket.connection.setup.timeout.ms": 3000,
    "topic.metadata.refresh.interval.ms": 10_000,
    "log_level": 0,
}


class Workload:
    """Threads that run until `stop`; what one of them raises is raised there."""

    def __init__(self, bootstrap: str, partitions: int, per_second: int) -> None:
        self.history = History()
        self.partitions = partitions
        self.bootstrap = bootstrap
        self._per_second = per_second
        self._values = itertools.count(1)
        self._lives = itertools.count(1)
        self._began = time.perf_counter()
        self._writing, self._reading = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self.errors: list[str] = []
        self.begun = False
        """There is a topic."""

    def now_s(self) -> float:
        return time.perf_counter() - self._began

    def create_topic(self, replicas: int) -> None:
        admin = confluent_kafka.admin.AdminClient(self._config())
        new = NewTopic(TOPIC, self.partitions, replicas)
        admin.create_topics([new], operation_timeout=30)[TOPIC].result(60)

    def start(self) -> None:
        self.begun = True
        self._writing.set()
        self._reading.set()
        for number in (1, 2):
            self._spawn(self._produce)
            self._spawn(self._consume, f"member-{number}")
        self._spawn(self._administer)

    def _spawn(self, run: Callable[..., None], *arguments: object) -> None:
        def guarded() -> None:
            try:
                run(*arguments)
            except Exception as error:  # noqa: BLE001 - told at the end of the run
                self.errors.append(f"{run.__name__}: {error!r}")

        thread = threading.Thread(target=guarded, name=run.__name__, daemon=True)
        self._threads.append(thread)
        thread.start()

    def finish(self) -> None:
        """No more writing; the group reads on until it is at the end, or has had its time."""
        self._writing.clear()
        self._join("_produce")
        wanted = {send.value for send in self.history.sends if send.acked}
        deadline = time.perf_counter() + READ_S
        while time.perf_counter() < deadline and not self._all_polled(wanted):
            time.sleep(0.5)
        self._reading.clear()
        self._join("_consume")
        self._join("_administer")

    def _all_polled(self, wanted: set[int]) -> bool:
        return wanted <= {poll.value for poll in list(self.history.polls)}

    def _join(self, name: str) -> None:
        for thread in self._threads:
            if thread.name == name:
                thread.join(READ_S)
                if thread.is_alive():
                    self.errors.append(f"{name}: did not end")

    def _config(self, **more: object) -> dict[str, Any]:
        named = {key.replace("_", "."): value for key, value in more.items()}
        return {**_IMPATIENT, "log_level": 0, "bootstrap.servers": self.bootstrap, **named}

    # -- writing

    def _new_producer(self) -> Writer:
        config = self._config(
            enable_idempotence=True,
            acks="all",
            linger_ms=5,
            message_timeout_ms=30_000,
            request_timeout_ms=5000,
            queue_buffering_max_messages=2000,
        )
        config["retry.backoff.max.ms"] = 500
        return Writer(config, f"producer-{next(self._lives)}", self)

    def send(self, producer: str, partition: int) -> Send:
        """Noted before it is sent."""
        send = Send(next(self._values), producer, partition, self.now_s())
        self.history.sends.append(send)
        return send

    def _produce(self) -> None:
        writer = self._new_producer()
        each_s = 2 / self._per_second
        for number in itertools.count():
            if not self._writing.is_set():
                break
            if writer.fatal:
                writer.close()
                writer = self._new_producer()
            writer.write(number % self.partitions)
            writer.poll(each_s)
        writer.close()

    def probe(self, timeout_s: float) -> dict[int, float | None]:
        """A new client writes to every partition: seconds until each has said yes, or None."""
        writer = self._new_producer()
        began = self.now_s()
        sends = [writer.write(partition) for partition in range(self.partitions)]
        while self.now_s() < began + timeout_s and not all(s.acked for s in sends if s):
            writer.poll(0.05)
        taken = {s.partition: s.ended_s - began for s in sends if s and s.acked and s.ended_s}
        writer.close()
        return {partition: taken.get(partition) for partition in range(self.partitions)}

    # -- reading

    def _consume(self, name: str) -> None:
        reader = Reader(name, self)
        while self._reading.is_set():
            reader.step()
        reader.close()

    def read_everything(self, reader: str) -> None:
        """One `FinalRead` for each partition."""
        consumer = confluent_kafka.Consumer(
            self._config(
                group_id="nobody",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                isolation_level="read_committed",
            )
        )
        try:
            for partition in range(self.partitions):
                self.history.reads.append(self._read_partition(consumer, reader, partition))
        finally:
            consumer.close()

    def _read_partition(self, consumer: Any, reader: str, partition: int) -> FinalRead:
        place = confluent_kafka.TopicPartition(TOPIC, partition, 0)
        low, high = self._watermarks(consumer, place)
        assert low == 0, f"partition {partition} begins at {low}"
        consumer.assign([place])
        found: list[tuple[int, int]] = []
        deadline = time.perf_counter() + READ_S
        while time.perf_counter() < deadline and (not found or found[-1][0] < high - 1):
            for message in consumer.consume(500, 0.5):
                if message.error() is None:
                    found.append((message.offset(), int(message.value())))
            if high == 0:
                break
        return FinalRead(reader, partition, tuple(found))

    def _watermarks(self, consumer: Any, place: Any) -> tuple[int, int]:
        """Asked again while its leader moves: the client leaves that to its caller."""
        deadline = time.perf_counter() + READ_S
        while True:
            try:
                low, high = consumer.get_watermark_offsets(place, timeout=ASK_S)
            except confluent_kafka.KafkaException:
                if time.perf_counter() >= deadline:
                    raise
                time.sleep(0.5)
            else:
                return low, high

    # -- administering

    def _administer(self) -> None:
        admin = confluent_kafka.admin.AdminClient(self._config())
        asker = confluent_kafka.Consumer(self._config(group_id=GROUP, enable_auto_commit=False))
        for number in itertools.count():
            if not self._reading.is_set():
                break
            self._ask_offsets(asker)
            if number % 3 == 0:
                self._try_topics(admin, number)
            self._pause(ADMIN_EVERY_S)
        asker.close()
        listed = admin.list_topics(timeout=READ_S)
        self.history.topics = set(listed.topics)

    def _pause(self, seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        while self._reading.is_set() and time.perf_counter() < deadline:
            time.sleep(0.1)

    def _ask_offsets(self, asker: Any) -> None:
        begun = self.now_s()
        places = [confluent_kafka.TopicPartition(TOPIC, p) for p in range(self.partitions)]
        try:
            found = asker.committed(places, timeout=ASK_S)
        except confluent_kafka.KafkaException:
            return
        told = {one.partition: one.offset for one in found if one.offset >= 0}
        if all(one.error is None for one in found):
            self.history.committed.append(Committed(begun, told))

    def _try_topics(self, admin: Any, number: int) -> None:
        """Create one; delete the one before, if that is known to exist."""
        made = [op for op in self.history.operations if op.kind == "create" and op.ok]
        gone = {op.topic for op in self.history.operations if op.kind == "delete"}
        create = TopicOperation("create", f"short-{number}")
        new = NewTopic(create.topic, 1, 3)
        self._operate(create, lambda: admin.create_topics([new], request_timeout=ASK_S))
        left = [op.topic for op in made if op.topic not in gone]
        if len(left) > 1:
            delete = TopicOperation("delete", left[0])
            self._operate(delete, lambda: admin.delete_topics([left[0]], request_timeout=ASK_S))

    def _operate(self, operation: TopicOperation, ask: Callable[[], Any]) -> None:
        self.history.operations.append(operation)
        try:
            ask()[operation.topic].result(2 * ASK_S)
            operation.ok = True
        except (confluent_kafka.KafkaException, TimeoutError):
            operation.ok = None


class Writer:
    """One life of one idempotent producer."""

    def __init__(self, config: dict[str, Any], name: str, workload: Workload) -> None:
        self._producer = confluent_kafka.Producer(config)
        self._name = name
        self._workload = workload
        self.fatal = False

    def write(self, partition: int) -> Send | None:
        """None when its queue is full, or it has given up."""
        send = self._workload.send(self._name, partition)
        try:
            self._producer.produce(
                TOPIC,
                (b"%d" % send.value).ljust(VALUE_BYTES),
                partition=partition,
                on_delivery=lambda error, message: self._delivered(send, error, message),
            )
        except BufferError:
            send.ended_s, send.error = self._workload.now_s(), "queue full"
            return None
        except confluent_kafka.KafkaException as error:
            send.ended_s, send.error = self._workload.now_s(), str(error)
            self.fatal = True
            return None
        return send

    def _delivered(self, send: Send, error: Any, message: Any) -> None:
        send.ended_s = self._workload.now_s()
        if error is None:
            send.offset = message.offset()
        else:
            send.error = str(error)
            self.fatal = self.fatal or error.fatal() or error.code() == _FATAL

    def poll(self, seconds: float) -> None:
        """Let it work this long."""
        deadline = time.perf_counter() + seconds
        self._producer.poll(0)
        while (left := deadline - time.perf_counter()) > 0:
            self._producer.poll(left)

    def close(self) -> None:
        self._producer.flush(READ_S / 2)
        self._producer.purge()
        self._producer.flush(1)


_FATAL = confluent_kafka.KafkaError._FATAL


class Reader:
    """One member of the group: polls, remembers, commits."""

    def __init__(self, name: str, workload: Workload) -> None:
        self._name = name
        self._workload = workload
        self._next: dict[int, int] = {}
        self._assignments = itertools.count(1)
        self._session = f"{name}.0"
        self._committed_s = 0.0
        self._consumer = confluent_kafka.Consumer(
            workload._config(
                group_id=GROUP,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout_ms=10_000,
                heartbeat_interval_ms=1000,
            )
        )
        self._consumer.subscribe(
            [TOPIC], on_assign=self._changed, on_revoke=self._changed, on_lost=self._changed
        )

    def _changed(self, consumer: Any, partitions: Any) -> None:
        """Another assignment: what was read before is not its business."""
        self._session = f"{self._name}.{next(self._assignments)}"
        self._next.clear()

    def step(self) -> None:
        for message in self._consumer.consume(500, 0.2):
            if message.error() is None:
                self._take(message)
        now = self._workload.now_s()
        if self._next and now >= self._committed_s + COMMIT_EVERY_S:
            self._committed_s = now
            self._commit()

    def _take(self, message: Any) -> None:
        partition, offset, value = message.partition(), message.offset(), int(message.value())
        now = self._workload.now_s()
        self._workload.history.polls.append(Poll(self._session, now, partition, offset, value))
        self._next[partition] = offset + 1

    def _commit(self) -> None:
        """Of several partitions, each answered by itself."""
        offsets = dict(self._next)
        self._next.clear()
        places = [confluent_kafka.TopicPartition(TOPIC, p, at) for p, at in offsets.items()]
        commit = Commit(self._workload.now_s(), offsets)
        self._workload.history.commits.append(commit)
        try:
            done = self._consumer.commit(offsets=places, asynchronous=False)
        except confluent_kafka.KafkaException:
            return
        if done is not None and all(one.error is None for one in done):
            commit.ended_s = self._workload.now_s()

    def close(self) -> None:
        self._consumer.close()
