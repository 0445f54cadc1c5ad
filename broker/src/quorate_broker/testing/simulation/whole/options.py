"""What one seed of whole brokers draws. See `simulation.options` for the idea."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Options:
    """Times in microseconds unless the name says otherwise; rates are per chance."""

    nodes: int
    joins: bool
    """One more broker comes later."""
    producers: int
    consumers: int
    partitions: int
    record_bytes: int
    think_us: int

    delay_low_us: int
    delay_high_us: int
    reset: float
    """Chance that something sent breaks its connection."""

    work_low_us: int
    work_high_us: int
    disk_error: float
    misread: float
    """Chance that a read of a segment shows one wrong byte, once, on the one bad machine."""
    drift: int
    older: float
    """Chance that a machine begins with the version before this one."""

    segment_bytes: int
    retention_bytes: int
    compacted: bool
    """A topic that keeps the latest of each key is written to."""
    scrub_ms: int

    fault_every_us: int
    crash: int
    kill: int
    stop: int
    pause: int
    crash_all: int
    partition: int
    one_way: int
    bridge: int
    cut_connections: int
    cut_clients: int
    slow_disk: int
    full_disk: int
    clock_jump: int
    admin: int
    trim: int
    wipe: int
    old_disk: int
    rot: int
    upgrade: int
    downgrade: int

    chaos_us: int

    def describe(self) -> str:
        return " ".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


def draw(dice: random.Random) -> Options:
    """The options of a run."""
    delay_low = dice.choice((100, 500))
    work_low = dice.choice((100, 1_000))

    def weight() -> int:
        return dice.choice((0, 0, 1, 2))

    is_mixed = dice.random() < 0.4
    wipe = dice.choice((0, 0, 2))
    return Options(
        nodes=dice.choice((1, 3, 3, 3, 3)),
        joins=dice.random() < 0.3,
        producers=dice.randint(1, 2),
        consumers=dice.randint(1, 2),
        partitions=dice.randint(1, 2),
        record_bytes=dice.choice((10, 300)),
        think_us=dice.choice((50_000, 150_000)),
        delay_low_us=delay_low,
        delay_high_us=delay_low * dice.choice((2, 10)),
        reset=dice.choice((0.0, 0.0, 0.002)),
        work_low_us=work_low,
        work_high_us=work_low * dice.choice((2, 20)),
        disk_error=dice.choice((0.0, 0.0, 0.0005)),
        misread=dice.choice((0.0, 0.0, 0.002)),
        drift=dice.choice((0, 200)),
        older=dice.choice((0.3, 1.0)) if is_mixed else 0.0,
        segment_bytes=dice.choice((2_048, 8_192, 1 << 30)),
        retention_bytes=dice.choice((-1, -1, 10_000)),
        compacted=dice.random() < 0.4,
        scrub_ms=dice.choice((500, 3_000)),
        fault_every_us=dice.choice((1_500_000, 3_000_000)),
        crash=weight(),
        kill=weight(),
        stop=weight(),
        pause=weight(),
        crash_all=dice.choice((0, 0, 0, 1)),
        partition=weight(),
        one_way=weight(),
        bridge=dice.choice((0, 0, 1)),
        cut_connections=weight(),
        cut_clients=dice.choice((0, 0, 1)),
        slow_disk=dice.choice((0, 0, 1)),
        full_disk=dice.choice((0, 0, 1)),
        clock_jump=dice.choice((0, 1)),
        admin=dice.choice((0, 1, 2)),
        trim=dice.choice((0, 0, 1)),
        wipe=wipe,
        old_disk=2 if wipe else 0,
        rot=dice.choice((0, 0, 1)),
        upgrade=dice.choice((1, 2)) * is_mixed,
        downgrade=dice.choice((0, 1)) * is_mixed,
        chaos_us=dice.choice((8_000_000, 12_000_000)),
    )
