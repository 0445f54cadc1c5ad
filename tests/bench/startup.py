"""How long the logs of a killed node take to open: `python tests/bench/startup.py --help`.

Makes partitions of some megabytes each, the last part of them behind the checkpoint, leaves them
as a killed process does, and opens all of them in as many threads as a node has for its disk. What
a replica reads at its start (the headers behind the checkpoint) is read too. Not a test: what it
says depends on the disk below.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from quorate_broker.log.disk import OsDisk
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.wire import batch
from quorate_broker.wire.batch import Record

BATCH_BYTES = 16 << 10


def make(disk: OsDisk, path: str, checkpointed: int, tail: int) -> None:
    """One partition with `checkpointed` and then `tail` bytes."""
    log = Log.open(disk, path, LogSettings(), 0, founding=b"founders")
    log.append_internal(batch.InternalKind.TERM_START, 1, b"", 0)
    value = os.urandom(BATCH_BYTES - 200)
    for size, ends in ((checkpointed, True), (tail, False)):
        for _ in range(size // BATCH_BYTES):
            data = batch.build([Record(None, value)], timestamp_ms=log.next_offset)
            batch.stamp(data, log.next_offset, 1)
            log.append(data)
        if ends:
            log.checkpoint(log.last_index, b"producers")
        job = log.take_job()
        if job is not None:
            job.run()
            log.job_done(job)
    log._close_files()


def open_one(disk: OsDisk, path: str) -> Log:
    """As a replica does."""
    log = Log.open(disk, path, LogSettings(), 0)
    assert log.corrupt is None
    for _ in log.replay_headers(log.checkpoint_index + 1):
        pass
    return log


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--tail-kilobytes", type=int, default=64)
    parser.add_argument("--threads", type=int, default=6)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    disk = OsDisk()
    folder: Path = arguments.folder
    tail = arguments.tail_kilobytes << 10
    size = int(arguments.megabytes * (1 << 20))
    paths = [str(folder / f"g-{number}") for number in range(arguments.partitions)]
    with ThreadPoolExecutor(arguments.threads) as threads:
        began = time.monotonic()
        list(threads.map(lambda path: make(disk, path, size - tail, tail), paths))
        os.sync()
        print(f"made in {time.monotonic() - began:.1f} s")
        for state in ("after a kill", "after a clean stop"):
            began, cpu = time.monotonic(), time.process_time()
            logs = list(threads.map(lambda path: open_one(disk, path), paths))
            took, cpu = time.monotonic() - began, time.process_time() - cpu
            copied = sum(log.recovery.copied_bytes for log in logs) / (1 << 20)
            print(f"{state}: {took:.2f} s, {cpu:.2f} s CPU, {copied:.1f} MB copied")
            began = time.monotonic()
            list(threads.map(lambda log: log.close(), logs))
            print(f"  closed in {time.monotonic() - began:.2f} s")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
