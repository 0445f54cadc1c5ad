"""Find and end processes of the cluster's own process namespace, by what /proc says of them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from quorate_bed.local import state

POLL_S = 0.02


def with_word(word: str) -> set[int]:
    """Processes that have exactly this word in their command line, and all their descendants."""
    chosen, children = set(), dict[int, list[int]]()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may have ended
            pid, stat = int(process.name), (process / "stat").read_text()
            parent = int(stat[stat.rindex(")") + 2 :].split()[1])
            children.setdefault(parent, []).append(pid)
            if word.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                chosen.add(pid)
    waiting = list(chosen)
    while waiting:
        found = set(children.get(waiting.pop(), [])) - chosen
        chosen |= found
        waiting += found
    return chosen


def end_all(pids: Iterable[int]) -> None:
    """Returns when none of them runs any more."""
    ended = list(pids)
    for pid in ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while any(state.started_ticks(pid) is not None for pid in ended):
        time.sleep(POLL_S)
