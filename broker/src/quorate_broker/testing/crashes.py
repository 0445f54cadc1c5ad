"""Let a broker die at one durable step, start it again, and check that nothing is missing.

A course is a fixed story that makes a broker take its durable steps: a new disk, a cluster formed,
topics made and deleted, segments filled, a kill, a recovery, a clean stop. It is told once for each
crash point; wherever the broker dies, it is started again and the story goes on. At the end every
value that was acknowledged must be there, once, at the offset that was promised.
Read next: `sabotage`, the points; `processes`, the brokers.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import confluent_kafka
import confluent_kafka.admin
from confluent_kafka.cimpl import NewTopic

from quorate_broker.testing import sabotage
from quorate_broker.testing.processes import Cluster, eventually

KEPT, DROPPED, SHRUNK, COMPACTED = "kept", "dropped", "shrunk", "compacted"
KEYS = 7
VALUE_BYTES = 10_000
PATIENCE_S = 40.0
LEAST_ACKED = 300
"""Of any story: a check of nothing proves nothing."""
SETTINGS = ("log.segment.bytes=1048576", "log.preallocate.bytes=65536")
HOUSEKEEPING = (
    "log.retention.check.interval.ms=200",
    "log.cleaner.backoff.ms=200",
    "metadata.log.max.record.bytes.between.snapshots=1024",
)
_SMALL = {"segment.bytes": "131072"}
_CLIENT = {
    "socket.timeout.ms": 3000,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 200,
    "topic.metadata.refresh.interval.ms": 1000,
    "log_level": 0,
}


@dataclasses.dataclass(slots=True)
class Outcome:
    """What became of one story."""

    died: int = 0
    """How often the broker died at its point: 1, or the point was not reached."""
    seen: frozenset[str] = frozenset()
    """Points that were passed."""
    acked: dict[int, int] = dataclasses.field(default_factory=dict)
    """Value to offset, of each partition's values."""
    faults: list[str] = dataclasses.field(default_factory=list)
    """What must not be; empty when all is well."""


Course = Callable[[pathlib.Path, sabotage.Point | None], Outcome]
"""A story: told in a folder, with the point where to die, or None."""


class Victim:
    """A broker of a cluster that is started again whenever it died at its point."""

    def __init__(self, cluster: Cluster, node_id: int, point: sabotage.Point | None) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.outcome = Outcome()
        self._seen_file = cluster.nodes[node_id].directory / "seen"
        self._switches = {sabotage.SEEN: str(self._seen_file)}
        if point is not None:
            self._switches[sabotage.POINT] = str(point)
        self._lock = threading.RLock()
        self._watching = threading.Event()
        self._watching.set()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """With its switches; from now on it is watched."""
        with self._lock:
            self.cluster.switches[self.node_id] = dict(self._switches)
            self.cluster.start(self.node_id)
        if not self._thread.is_alive():
            self._thread.start()

    def _watch(self) -> None:
        while self._watching.is_set():
            with self._lock:
                if self.node_id in self.cluster.running:
                    self._look()
            time.sleep(0.02)

    def _look(self) -> None:
        code = self.cluster.exit_code(self.node_id)
        if code is None or not self._watching.is_set():
            return
        if code == sabotage.EXIT_CRASHED:
            self.outcome.died += 1
            self._switches.pop(sabotage.POINT, None)
        else:
            self.outcome.faults.append(f"ended with {code}:\n{self.cluster.log(self.node_id)}")
            self._watching.clear()
            return
        self.start()

    @property
    def data(self) -> pathlib.Path:
        return self.cluster.nodes[self.node_id].directory / "data"

    @contextmanager
    def down(self) -> Iterator[None]:
        """SIGKILL; started again at the end."""
        with self._lock:
            if self.node_id in self.cluster.running:
                self.cluster.kill(self.node_id)
            yield
            self.start()

    def kill(self) -> None:
        """SIGKILL, and start again."""
        with self._lock:
            if self.node_id in self.cluster.running:
                self.cluster.kill(self.node_id)
                self.start()

    def stop(self) -> None:
        """SIGTERM, and start again, whether it ended well or died on the way at its point."""
        with self._lock:
            if self.node_id not in self.cluster.running:
                return
            self.cluster.signal(self.node_id, signal.SIGTERM)
            code = self.cluster.wait_ended(self.node_id)
            if code == sabotage.EXIT_CRASHED:
                self.outcome.died += 1
                self._switches.pop(sabotage.POINT, None)
            elif code != 0:
                self.outcome.faults.append(f"SIGTERM ended with {code}")
            self.start()

    def close(self) -> Outcome:
        """No more watching; what was seen."""
        self._watching.clear()
        self._thread.join()
        if self._seen_file.exists():
            self.outcome.seen = frozenset(self._seen_file.read_text().splitlines())
        return self.outcome


class Writer:
    """An idempotent producer of 0, 1, 2 …; each value is written until it is acknowledged."""

    def __init__(self, cluster: Cluster, outcome: Outcome, topic: str = KEPT) -> None:
        more = {"enable.idempotence": True, "linger.ms": 1, "batch.size": 3 * VALUE_BYTES}
        self._producer = confluent_kafka.Producer(
            {**_CLIENT, **more, "bootstrap.servers": cluster.bootstrap}
        )
        self._outcome = outcome
        self._topic = topic
        self.acked = outcome.acked if topic == KEPT else {}
        self._next = 0

    def write(self, count: int) -> None:
        """As many more, all acknowledged."""
        before = len(self.acked)
        for _ in range(count):
            self._producer.produce(
                self._topic,
                (b"%d " % self._next).ljust(VALUE_BYTES, b"."),
                key=b"%d" % (self._next % KEYS),
                partition=0,
                on_delivery=self._delivered,
            )
            self._next += 1
        self._producer.flush(PATIENCE_S)
        missing = count - (len(self.acked) - before)
        if missing:
            self._outcome.faults.append(f"{missing} of {count} writes were not acknowledged")

    def _delivered(self, error: object, message: Any) -> None:
        if error is None:
            self.acked[number(message.value())] = message.offset()
        else:
            self._outcome.faults.append(f"a write failed: {error}")


def number(value: bytes) -> int:
    return int(value.split(b" ", 1)[0])


def alone(folder: pathlib.Path, point: sabotage.Point | None) -> Outcome:
    """One broker's whole life: what is acknowledged stands on its disk alone."""
    cluster = Cluster(folder, nodes=1, settings=SETTINGS)
    victim = Victim(cluster, 1, point)
    outcome = victim.outcome
    try:
        victim.start()
        topics = Topics(cluster)
        topics.make(KEPT, {})
        topics.make(DROPPED, {})
        writer = Writer(cluster, outcome)
        writer.write(150)
        topics.drop(DROPPED)
        folders = victim.data / "groups"  # left are those of metadata and of what is kept
        eventually(lambda: len(list(folders.iterdir())) == 2, "its folder gone", PATIENCE_S)
        victim.kill()
        writer.write(150)
        victim.stop()
        writer.write(20)
        outcome.faults += check(cluster, outcome.acked)
    finally:
        victim.close()
        cluster.stop()
    return outcome


def housekept(folder: pathlib.Path, point: sabotage.Point | None) -> Outcome:
    """One broker whose old segments go and whose keys are compacted while it is killed."""
    cluster = Cluster(folder, nodes=1, settings=(*SETTINGS, *HOUSEKEEPING))
    victim = Victim(cluster, 1, point)
    outcome = victim.outcome
    try:
        victim.start()
        topics = Topics(cluster)
        topics.make(KEPT, {})
        topics.make(SHRUNK, {**_SMALL, "retention.bytes": "262144"})
        topics.make(
            COMPACTED, {**_SMALL, "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}
        )
        writers = [Writer(cluster, outcome, topic) for topic in (KEPT, SHRUNK, COMPACTED)]
        kept, shrunk, compacted = writers
        for turn in range(3):
            for writer in writers:
                writer.write(100)
            _wait_housekept(victim, turn + 1)
            if turn == 1:
                victim.kill()
        outcome.faults += check(cluster, kept.acked)
        outcome.faults += _check_shrunk(cluster, shrunk.acked)
        outcome.faults += _check_compacted(cluster, compacted.acked)
    finally:
        victim.close()
        cluster.stop()
    return outcome


def _wait_housekept(victim: Victim, times: int) -> None:
    """By what the broker tells: what was just written is read from memory, as it was written."""
    log_file = victim.cluster.nodes[victim.node_id].log_file

    def kept() -> bool:
        compacted = log_file.read_text(errors="replace").count("compacted to offset")
        return compacted >= times and read_all(victim.cluster, SHRUNK)[0][1] > 0

    eventually(kept, "old segments gone and keys compacted", PATIENCE_S)


def _check_shrunk(cluster: Cluster, acked: Mapping[int, int]) -> list[str]:
    """Some of the oldest are gone, none of the others."""
    read = read_all(cluster, SHRUNK)
    wanted = [(value, offset) for value, offset in acked.items() if offset >= read[0][1]]
    return [] if read == sorted(wanted) else ["retention took or left what it must not"]


def _check_compacted(cluster: Cluster, acked: Mapping[int, int]) -> list[str]:
    """The newest value of each key is there, where it was."""
    newest = {value % KEYS: value for value in sorted(acked)}
    read = dict(read_all(cluster, COMPACTED))
    wrong = [value for value in newest.values() if read.get(value) != acked[value]]
    strange = [value for value, offset in read.items() if acked.get(value) != offset]
    return [f"compaction: {value} is not where it was" for value in (*wrong, *strange)]


def among_three(folder: pathlib.Path, point: sabotage.Point | None) -> Outcome:
    """What only a broker with others comes to: its log cut, its disk refused, its replica rotten.

    The writes that nobody else has are with acks=1: they may be lost, and are not counted.
    """
    cluster = Cluster(folder, nodes=3, settings=SETTINGS)
    victim = Victim(cluster, 2, point)
    others = (1, 3)
    try:
        cluster.start(*others)
        victim.start()
        Topics(cluster).make(KEPT, {})
        writer = Writer(cluster, victim.outcome)
        writer.write(100)
        saved = folder / "saved"
        _diverge(victim, others)
        writer.write(100)
        _lead(victim)
        with victim.down():
            shutil.copytree(victim.data, saved)
            shutil.rmtree(victim.data)
        writer.write(60)
        _lead(victim)
        with victim.down():  # an old disk comes back, of somebody who was replaced
            shutil.rmtree(victim.data)
            saved.rename(victim.data)
        writer.write(60)
        _lead(victim)
        with victim.down():
            _rot_checkpoints(victim.data)
        _lead(victim)
        victim.outcome.faults += check(cluster, victim.outcome.acked)
    finally:
        victim.close()
        cluster.stop()
    return victim.outcome


def _diverge(victim: Victim, others: Sequence[int]) -> None:
    """More than a segment that the victim alone has; then the others go on without it."""
    cluster = victim.cluster
    _lead(victim)
    more = {"acks": "1", "bootstrap.servers": cluster.bootstrap_of(victim.node_id)}
    producer = confluent_kafka.Producer({**_CLIENT, **more, "message.timeout.ms": 3000})
    filling = b"-1 ".ljust(VALUE_BYTES, b"-")
    producer.produce(KEPT, filling, partition=0)
    producer.flush(PATIENCE_S)
    for node_id in others:  # killed, not paused: what is sent to the paused, they take in later
        cluster.kill(node_id)
    for _ in range(150):
        producer.produce(KEPT, filling, partition=0)
    producer.flush(5)
    with victim.down():
        cluster.start(*others)
        eventually(lambda: _leader(cluster, others[0]) in others, "another leader", PATIENCE_S)


def _leader(cluster: Cluster, asked: int) -> int:
    state = cluster.get(asked, f"/v1/partitions/kafka/{KEPT}/0")
    return -1 if state is None else int(state.get("leader_id", -1))


def _lead(victim: Victim) -> None:
    """Until the victim leads, by its own word: then it has all that the others have."""
    cluster, node_id = victim.cluster, victim.node_id

    def leads() -> bool:
        assert not victim.outcome.faults, victim.outcome.faults
        leader = _leader(cluster, node_id)
        if leader not in (-1, node_id):
            path = f"/v1/partitions/kafka/{KEPT}/0/transfer_leadership?target={node_id}"
            cluster.post(leader, path)
        return leader == node_id

    eventually(leads, f"node {node_id} leads", PATIENCE_S)


def _rot_checkpoints(data: pathlib.Path) -> None:
    for file in data.glob("groups/*/checkpoint"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0x40
        file.write_bytes(content)


COURSES: Mapping[Course, frozenset[sabotage.Step]] = {
    housekept: frozenset(
        {
            *((op, "cleaned") for op in ("create", "truncate", "pwrite", "sync")),
            ("rename", "index"),
            *((op, "state") for op in ("create", "truncate", "pwrite", "sync", "rename")),
            ("unlink", "segment"),
            ("unlink", "index"),
        }
    ),
    among_three: frozenset((op, "retired") for op in ("mkdirs", "rename", "sync_dir")),
    alone: frozenset(sabotage.STEPS),
}
"""The first that has a step is the one to be told for it."""


def course_of(point: sabotage.Point) -> Course:
    """The story in which a broker comes to this point."""
    step = (point.operation, point.kind)
    return next(course for course, steps in COURSES.items() if step in steps)


class Topics:
    """Makes and drops topics, until that is done."""

    def __init__(self, cluster: Cluster) -> None:
        config: dict[str, Any] = {**_CLIENT, "bootstrap.servers": cluster.bootstrap}
        self._admin = confluent_kafka.admin.AdminClient(config)

    def make(self, name: str, config: Mapping[str, str], replicas: int = -1) -> None:
        def made() -> bool:
            new = NewTopic(name, 1, replicas, config=dict(config))
            self._ask(lambda: self._admin.create_topics([new], request_timeout=3)[name])
            return self._is_there(name) is True

        eventually(made, f"topic {name}", PATIENCE_S)

    def drop(self, name: str) -> None:
        def dropped() -> bool:
            self._ask(lambda: self._admin.delete_topics([name], request_timeout=3)[name])
            return self._is_there(name) is False

        eventually(dropped, f"no topic {name}", PATIENCE_S)

    def _ask(self, question: Callable[[], Any]) -> None:
        """Whether it worked is seen by looking."""
        try:
            question().result(5)
        except (confluent_kafka.KafkaException, TimeoutError):
            return

    def _is_there(self, name: str) -> bool | None:
        """None: nobody answers."""
        try:
            return name in self._admin.list_topics(timeout=3).topics
        except confluent_kafka.KafkaException:
            return None


def check(cluster: Cluster, acked: Mapping[int, int]) -> list[str]:
    """Everything that was acknowledged is there, once, in order, at its offset."""
    read = [(value, offset) for value, offset in read_all(cluster) if value >= 0]
    values = [value for value, _ in read]
    faults = []
    if values != sorted(set(values)):
        faults.append("values are doubled or out of order")
    at = dict(read)
    for value, offset in acked.items():
        if at.get(value) != offset:
            faults.append(f"value {value}, acknowledged at {offset}, is at {at.get(value)}")
    return faults


def read_all(cluster: Cluster, topic: str = KEPT) -> list[tuple[int, int]]:
    """(value, offset) of all that partition 0 holds."""
    more = {"group.id": "nobody", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = confluent_kafka.Consumer({**_CLIENT, **more, "bootstrap.servers": cluster.bootstrap})
    try:
        place = confluent_kafka.TopicPartition(topic, 0, 0)
        low, high = eventually(lambda: _watermarks(consumer, place), "watermarks", PATIENCE_S)
        place.offset = low
        consumer.assign([place])
        found: list[tuple[int, int]] = []
        deadline = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < deadline and (not found or found[-1][1] < high - 1):
            messages: list[Any] = consumer.consume(500, 0.2)
            for message in messages:
                if message.error() is None:
                    found.append((number(message.value()), message.offset()))
        return found
    finally:
        consumer.close()


def _watermarks(consumer: Any, place: Any) -> tuple[int, int] | None:
    try:
        low, high = consumer.get_watermark_offsets(place, timeout=3)
    except confluent_kafka.KafkaException:
        return None
    return int(low), int(high)
