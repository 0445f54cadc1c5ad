"""Start a long-running part of the cluster and tell when it answers.

Each part writes to logs/<name>.log; its process id stands in pids/<name>. Nothing is started again
by itself: a part that dies is a fault that a person should see, and a cluster that lacks a part is
not used again. A part that is ended on purpose (`faults.py`) takes its pids/<name> with it: it is
not one that died.
"""

import contextlib
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from quorate_bed.local import layout, state
from quorate_bed.progress import BedError

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLL_S = 0.05
READY_S = 200
"""Some seconds, but on a machine that is busy with other things."""
PIDS = layout.HOME / "pids"


def environment() -> dict[str, str]:
    return {"PATH": f"{layout.BINARIES}:{SEARCH_PATH}", "HOME": "/root", "LANG": "C.UTF-8"}


def start(
    name: str, command: Sequence[str | Path], *, node: layout.Node | None = None
) -> subprocess.Popen[bytes]:
    """Start it in the control plane's network namespace, or in that of `node`."""
    words = [str(word) for word in command]
    if node is not None:
        words = ["nsenter", f"--net={node.network_namespace}", *words]
    for directory in (layout.HOME / "logs", PIDS):
        directory.mkdir(exist_ok=True)
    with (layout.HOME / "logs" / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            words,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    written = layout.HOME / f"{name}.pid"
    written.write_text(str(process.pid))
    written.rename(PIDS / name)
    return process


def end(name: str) -> None:
    """Kill it and return when it runs no more. Nothing happens where it does not run."""
    file = PIDS / name
    if not file.exists():
        return
    pid = int(file.read_text())
    file.unlink()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while state.started_ticks(pid) is not None:
        time.sleep(POLL_S)


def dead() -> list[str]:
    """Parts that were started, run no more, and were not ended on purpose."""
    found = []
    for file in PIDS.iterdir():
        with contextlib.suppress(FileNotFoundError):  # one that is just being ended
            if state.started_ticks(int(file.read_text())) is None:
                found.append(file.name)
    return sorted(found)


def await_true(
    what: str,
    check: Callable[[], object],
    process: subprocess.Popen[bytes],
    deadline_s: float = READY_S,
) -> None:
    """Poll until `check` gives something true; BedError when `process` dies or time is up."""
    until = time.monotonic() + deadline_s
    while not check():
        if process.poll() is not None:
            raise BedError(f"{what}: the process ended with {process.returncode}")
        if time.monotonic() > until:
            raise BedError(f"{what}: not ready after {deadline_s:.0f} s")
        time.sleep(POLL_S)


def answers(url: str) -> bool:
    """Whether a GET is answered with 200. Certificates are not looked at."""
    context = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False
