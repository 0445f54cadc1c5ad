"""How long nobody is acknowledged when the leader goes: by SIGKILL, and by SIGTERM.

One partition, one idempotent producer with acks=all, a value every few milliseconds, unmodified
client with its ordinary back-off. The gap is the longest time between two acknowledgements around
the moment. The node is started again, and the next round waits until every replica is in sync.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import threading
import time
from collections.abc import Callable

import confluent_kafka
import confluent_kafka.admin
from confluent_kafka.cimpl import NewTopic

from quorate_broker.testing.chaos.machines import Machines
from quorate_broker.testing.chaos.runner import say

TOPIC = "steady"
EACH_S = 0.005
BEFORE_S, AFTER_S = 1.0, 2.0
PATIENCE_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Gaps:
    """Longest times without an acknowledgement, one for each round, in seconds."""

    how: str
    seconds: tuple[float, ...]

    def row(self) -> str:
        ordered = sorted(self.seconds)
        p50 = ordered[(len(ordered) - 1) // 2]
        p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
        return f"{self.how:8} {len(ordered):6} {p50:8.2f} {p95:8.2f} {ordered[-1]:8.2f}"


class Steady:
    """Writes all the time; remembers when each was acknowledged, and what was not."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "log.connection.close": False,
                "log_level": 0,
            }
        )
        self.acked_s: list[float] = []
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                self._producer.produce(TOPIC, b"%d" % number, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            deadline = time.perf_counter() + EACH_S
            while (left := deadline - time.perf_counter()) > 0:
                self._producer.poll(left)
        self._producer.flush(30)

    def _delivered(self, error: object, message: object) -> None:
        if error is None:
            self.acked_s.append(time.perf_counter())
        else:
            self.failed.append(str(error))

    def gap(self, since_s: float, until_s: float) -> float:
        """The longest time between two acknowledgements that touches these times."""
        times = [at for at in list(self.acked_s) if since_s - 1 <= at <= until_s]
        times.append(until_s)
        return max(
            (b - a for a, b in itertools.pairwise(times) if b >= since_s),
            default=until_s - since_s,
        )

    def close(self) -> None:
        self._stop.set()
        self._thread.join(40)


def measure(folder: pathlib.Path, rounds: int) -> list[Gaps]:
    """Both ways, `rounds` times each."""
    machines = Machines(folder, sabotage=False)
    try:
        machines.start()
        wait_whole(machines)
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": machines.bootstrap})
        admin.create_topics([NewTopic(TOPIC, 1, 3)])[TOPIC].result(60)
        wait_whole(machines)
        found = []
        for how, act in (("SIGKILL", machines.kill), ("SIGTERM", machines.terminate)):
            steady = Steady(machines.bootstrap)
            seconds = tuple(_round(machines, steady, act, how) for _ in range(rounds))
            steady.close()
            assert not steady.failed, f"writes failed: {steady.failed[:3]}"
            found.append(Gaps(how, seconds))
        return found
    finally:
        machines.close()


def _round(machines: Machines, steady: Steady, act: Callable[[int], object], how: str) -> float:
    acked = len(steady.acked_s)
    until(lambda: len(steady.acked_s) > acked + 50, "steady writes")
    time.sleep(BEFORE_S)
    leader = machines.leader(TOPIC, 0)
    assert leader is not None, "nobody leads"
    began_s = time.perf_counter()
    act(leader)
    acted_s = time.perf_counter()
    until(lambda: bool(steady.acked_s) and steady.acked_s[-1] > acted_s + 0.5, "writes again")
    time.sleep(AFTER_S)
    gap = steady.gap(began_s, time.perf_counter())
    machines.start(leader)
    wait_whole(machines)
    say(f"{how} of node {leader}: {gap:.2f} s without an acknowledgement")
    return gap


def wait_whole(machines: Machines) -> None:
    until(lambda: all(machines.is_whole(i) for i in machines.node_ids), "every replica in sync")


def until(look: Callable[[], bool], what: str) -> None:
    deadline = time.perf_counter() + PATIENCE_S
    while not look():
        assert time.perf_counter() < deadline, f"not in {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.05)


def table(found: list[Gaps]) -> str:
    head = f"{'leader':8} {'rounds':>6} {'p50 s':>8} {'p95 s':>8} {'max s':>8}"
    return "\n".join([head, *(gaps.row() for gaps in found)])
