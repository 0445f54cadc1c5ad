"""How long the others take while one broker's disk takes a second for every sync.

A few partitions, led by all three; values with acks=all at a steady pace; the time from the call to
the acknowledgement of each, before and while one disk is slow. `others` are the partitions that
the slow broker did not lead when its disk became slow; `its own` those that it led.
Read next: `availability`.
"""

from __future__ import annotations

import dataclasses
import pathlib
import threading
import time
from collections.abc import Container, Iterable
from typing import Any

import confluent_kafka
import confluent_kafka.admin
from confluent_kafka.cimpl import NewTopic

from quorate_broker.testing.chaos.availability import until, wait_whole
from quorate_broker.testing.chaos.machines import Machines
from quorate_broker.testing.chaos.runner import say
from quorate_broker.testing.sabotage import Trouble

TOPIC = "paced"
PARTITIONS = 6
EACH_S = 0.01
SYNC_S = 1.0
WARM_S = 3.0


@dataclasses.dataclass(frozen=True, slots=True)
class Slowness:
    """p99 of the time to an acknowledgement, in milliseconds."""

    before_ms: float
    others_ms: float
    own_ms: float
    alone_ms: float
    """One write to the slow broker that waits for its own disk only: the disk was slow indeed."""
    failed: int

    def table(self) -> str:
        return (
            f"p99 of an acknowledgement, one disk at {SYNC_S:g} s a sync\n"
            f"{'before':>10} {'others':>10} {'its own':>10} {'acks=1':>10} {'failed':>7}\n"
            f"{self.before_ms:7.1f} ms {self.others_ms:7.1f} ms {self.own_ms:7.1f} ms "
            f"{self.alone_ms:7.0f} ms {self.failed:7}"
        )


class Pace:
    """Writes all the time; (partition, begun, took) of each acknowledged value."""

    def __init__(self, bootstrap: str) -> None:
        config: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 0,
            "log_level": 0,
        }
        self._producer = confluent_kafka.Producer(config)
        self.acked: list[tuple[int, float, float]] = []
        self.failed = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        due = time.perf_counter()
        while not self._stop.is_set():
            number += 1
            self._write(number % PARTITIONS, b"%d" % number)
            due += EACH_S
            while (left := due - time.perf_counter()) > 0:
                self._producer.poll(left)
        self._producer.flush(30)

    def _write(self, partition: int, value: bytes) -> None:
        begun = time.perf_counter()

        def delivered(error: object, message: object) -> None:
            if error is None:
                self.acked.append((partition, begun, time.perf_counter() - begun))
            else:
                self.failed += 1

        self._producer.produce(TOPIC, value, partition=partition, on_delivery=delivered)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(40)


def measure(folder: pathlib.Path, seconds: float) -> Slowness:
    """`seconds` without trouble, and as long with one slow disk."""
    machines = Machines(folder)
    try:
        machines.start()
        wait_whole(machines)
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": machines.bootstrap})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3)])[TOPIC].result(60)
        wait_whole(machines)
        leaders = _spread(machines)
        slow = leaders[0]
        pace = Pace(machines.bootstrap)
        until(lambda: len(pace.acked) > WARM_S / EACH_S, "a warm start")
        began = time.perf_counter()
        time.sleep(seconds)
        turned = time.perf_counter()
        machines.trouble(slow, Trouble(sync_s=SYNC_S))
        time.sleep(seconds)
        ended = time.perf_counter()
        alone_s = _write_alone(machines, slow)
        machines.heal()
        pace.close()
        times = (began, turned, ended)
        say(f"leaders {leaders}, slow: node {slow}")
        return _judge(pace, {p for p in leaders if leaders[p] == slow}, alone_s, times)
    finally:
        machines.close()


def _write_alone(machines: Machines, slow: int) -> float:
    """How long one value takes that only the slow broker's own disk must hold."""
    led = [p for p in range(PARTITIONS) if machines.leader(TOPIC, p) == slow]
    if not led:
        return 0.0
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": machines.bootstrap, "acks": "1", "log_level": 0}
    )
    begun = time.perf_counter()
    producer.produce(TOPIC, b"0", partition=led[0])
    producer.flush(30)
    return time.perf_counter() - begun


def _spread(machines: Machines) -> dict[int, int]:
    """Each broker leads as many partitions as the others."""
    wanted = {p: machines.node_ids[p % len(machines.node_ids)] for p in range(PARTITIONS)}

    def spread() -> bool:
        led = {partition: machines.leader(TOPIC, partition) for partition in wanted}
        for partition, node_id in wanted.items():
            leader = led[partition]
            if leader is not None and leader != node_id:
                path = f"/v1/partitions/kafka/{TOPIC}/{partition}/transfer_leadership"
                machines.post(leader, f"{path}?target={node_id}")
        return led == wanted

    until(spread, "leaders spread evenly")
    return wanted


def _judge(
    pace: Pace, own: Container[int], alone_s: float, times: tuple[float, float, float]
) -> Slowness:
    began, turned, ended = times
    before = [took for _, begun, took in pace.acked if began <= begun < turned]
    during = [(p, took) for p, begun, took in pace.acked if turned <= begun < ended]
    return Slowness(
        before_ms=p99_ms(before),
        others_ms=p99_ms(took for partition, took in during if partition not in own),
        own_ms=p99_ms(took for partition, took in during if partition in own),
        alone_ms=alone_s * 1000,
        failed=pace.failed,
    )


def p99_ms(seconds: Iterable[float]) -> float:
    ordered = sorted(seconds)
    assert ordered, "nothing was acknowledged"
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000
