"""What one seed draws: every run has its own sizes, delays and fault rates (swarm testing).

A fault that is off in a run lets the others go further; over many seeds each meets each.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Options:
    """Times in microseconds unless the name says otherwise; rates are per chance."""

    nodes: int
    """Who found the group."""
    spares: int
    """Who may join it later."""
    clients: int
    idempotent: float
    depth: int
    record_bytes: int
    think_us: int
    lulls: float
    """Chance that a producer pauses for seconds: groups come to rest."""
    zombies: float
    """Chance that an idempotent producer begins anew while it thinks."""

    delay_low_us: int
    delay_high_us: int
    loss: float
    duplicate: float
    reset: float

    sync_low_us: int
    sync_high_us: int
    slow_sync: float
    """Chance that a sync takes a second."""
    sync_error: float
    disk_error: float
    """Chance that any operation at all fails with EIO."""
    misread: float
    """Chance that a read shows one wrong byte, once."""
    hole: float
    """Chance that the write that a power cut meets keeps any of its sectors."""
    drift: int
    """Parts per million by which the monotonic clocks may run fast or slow."""

    fault_every_us: int
    """Mean time between two faults of the list below."""
    crash: int
    kill: int
    stop: int
    pause: int
    crash_all: int
    partition: int
    one_way: int
    bridge: int
    clog: int
    transfer: int
    rot: int
    slow_disk: int
    full_disk: int
    clock_jump: int
    change: int
    cancel: int
    wipe: int
    trim: int
    no_room: int
    scrub: int
    """Weights of the faults."""

    append_bytes: int
    inflight: int
    segment_bytes: int
    cache_bytes: int
    checkpoint_ms: int
    eager_commit: bool

    chaos_us: int
    dies_at_rest: bool
    """In the end the leader loses power, and only gossip can say so."""

    def describe(self) -> str:
        """All of it in one line: a seed alone does not survive the next change of the code."""
        return " ".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


def draw(dice: random.Random, younger: random.Random) -> Options:
    """The options of a run. What is `younger` than most leaves their draws alone, so that a seed
    goes on to mean what it meant wherever that is off."""
    delay_low = dice.choice((100, 500, 2_000))
    delay_high = delay_low * dice.choice((2, 10, 50))
    is_far = delay_high > 25_000  # one small append per round trip would be slower than the load
    sync_low = dice.choice((100, 1_000))

    def weight() -> int:
        return dice.choice((0, 0, 1, 2, 4))

    return Options(
        nodes=dice.choice((1, 3, 3, 3, 3, 3, 3, 5, 5)),
        spares=dice.choice((0, 1, 2)),
        clients=dice.randint(1, 3),
        idempotent=dice.choice((0.0, 0.7, 1.0)),
        depth=dice.randint(1, 5),
        record_bytes=dice.choice((1, 60, 400)),
        think_us=dice.choice((10_000, 30_000, 60_000)),
        lulls=dice.choice((0.0, 0.0, 0.1)),
        zombies=dice.choice((0.0, 0.0, 0.02)),
        delay_low_us=delay_low,
        delay_high_us=delay_high,
        loss=dice.choice((0.0, 0.0, 0.01, 0.1)),
        duplicate=dice.choice((0.0, 0.0, 0.02, 0.2)),
        reset=dice.choice((0.0, 0.001, 0.01)),
        sync_low_us=sync_low,
        sync_high_us=sync_low * dice.choice((2, 10, 50)),
        slow_sync=dice.choice((0.0, 0.0, 0.005)),
        sync_error=dice.choice((0.0, 0.0, 0.002)),
        disk_error=dice.choice((0.0, 0.0, 0.0, 0.001)),
        misread=dice.choice((0.0, 0.0, 0.01, 0.1)),
        hole=dice.choice((0.0, 0.0, 0.5, 1.0)),
        drift=dice.choice((0, 200, 10_000)),
        fault_every_us=dice.choice((200_000, 500_000, 1_000_000)),
        crash=weight(),
        kill=weight(),
        stop=weight(),
        pause=weight(),
        crash_all=dice.choice((0, 0, 0, 1)),
        partition=weight(),
        one_way=weight(),
        bridge=dice.choice((0, 0, 1)),
        clog=dice.choice((0, 1, 2)),
        transfer=weight(),
        rot=dice.choice((0, 0, 0, 1)),
        slow_disk=dice.choice((0, 0, 1)),
        full_disk=dice.choice((0, 0, 1)),
        clock_jump=dice.choice((0, 0, 1)),
        change=dice.choice((0, 0, 1, 3)),
        cancel=dice.choice((0, 1)),
        wipe=dice.choice((0, 0, 1)),
        trim=dice.choice((0, 0, 2, 6)),
        no_room=dice.choice((0, 0, 1)),
        scrub=younger.choice((0, 0, 0, 1)),
        append_bytes=dice.choice((1, 500, 4_000, 1 << 20)),
        inflight=dice.choice((4, 16, 64) if is_far else (1, 4, 64)),
        segment_bytes=dice.choice((1_000, 4_000, 1 << 20)),
        cache_bytes=dice.choice((200, 2_000, 1 << 20)),
        checkpoint_ms=dice.choice((200, 1_000, 5_000)),
        eager_commit=dice.random() < 0.3,
        chaos_us=dice.choice((4_000_000, 6_000_000, 8_000_000)),
        dies_at_rest=younger.random() < 0.2,
    )
