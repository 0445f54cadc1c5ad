"""Fixtures for the log's tests: batches by the dozen, and a disk that forgets."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from quorate_broker.log.log import Log, LogSettings
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.wire import batch

PATH = "/data/groups/g"
FOUNDING = b"founders"
SMALL = LogSettings(
    segment_bytes=2000, index_interval_bytes=250, preallocate_bytes=1000, cache_bytes=600
)


class Bench:
    """One log on one simulated disk, with the short ways that tests want."""

    def __init__(self, settings: LogSettings = SMALL, seed: int = 1) -> None:
        self.disk = SimDisk(random.Random(seed))
        self.settings = settings
        self.log = self.open()

    def open(self) -> Log:
        self.log = Log.open(self.disk, PATH, self.settings, 1_000, founding=FOUNDING)
        return self.log

    def append(self, records: int = 1, term: int = 1, size: int = 40, time: int = 1_000) -> bytes:
        made = [batch.Record(None, b"v" * size, timestamp_delta=n) for n in range(records)]
        data = batch.build(made, timestamp_ms=time)
        batch.stamp(data, self.log.next_offset, term)
        self.log.append(data)
        return bytes(data)

    def begin_term(self, term: int) -> int:
        return self.log.append_internal(batch.InternalKind.TERM_START, term, b"leader", 1_000)

    def sync(self) -> None:
        while (job := self.log.take_job()) is not None:
            job.run()
            self.log.job_done(job)

    def checkpoint(self) -> None:
        self.log.checkpoint(self.log.last_index, b"extra")
        self.sync()

    def start_at(self, offset: int) -> None:
        """As a replica does when a committed entry says so."""
        self.log.advance_start(offset)
        self.log.checkpoint(self.log.synced_index, b"extra")

    def crash(self) -> Log:
        self.disk.crash()
        return self.open()

    def entries(self) -> list[bytes]:
        return [bytes(data) for _, _, data in self.log.walk(self.log.first_index, 500)]

    def files(self, ending: str = ".log") -> list[str]:
        return [f"{PATH}/{name}" for name in self.disk.listdir(PATH) if name.endswith(ending)]

    def overwrite(self, path: str, at: int, data: bytes) -> None:
        handle = self.disk.open(path)
        self.disk.pwrite(handle, [data], at)
        self.disk.sync(handle)
        self.disk.close(handle)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def new_bench() -> Callable[..., Bench]:
    return Bench
