"""What `delete` has to know after a crash: which process is the cluster's first one.

A process id alone may have been given to somebody else since, so its start time and the boot it
belongs to are kept with it. The file is written before the process does anything.
"""

import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from quorate_bed.progress import BedError

FILE = "state.json"


@dataclass(frozen=True, slots=True)
class State:
    """The first process, as this machine sees it, and the relay's port on 127.0.0.1."""

    pid: int
    started_ticks: int
    boot: str
    port: int
    ready: bool = False

    def alive(self) -> bool:
        """Whether that very process still runs (a zombie does not)."""
        return self.boot == boot_id() and started_ticks(self.pid) == self.started_ticks

    def end(self, deadline_s: float = 30) -> None:
        """Kill it, and with it everything in its namespaces; returns when all of it is gone."""
        if not self.alive():
            return
        handle = os.pidfd_open(self.pid)
        try:
            if self.alive():  # now it cannot become somebody else any more
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
        until = time.monotonic() + deadline_s
        while self.alive():
            if time.monotonic() > until:
                raise BedError(f"process {self.pid} of the cluster does not end")
            time.sleep(0.02)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def started_ticks(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat; None when there is no such process or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def read(directory: Path) -> State | None:
    """None where no cluster was ever started, or where the file was cut short."""
    try:
        return State(**json.loads((directory / FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write(directory: Path, state: State) -> None:
    temporary = directory / (FILE + ".new")
    temporary.write_text(json.dumps(asdict(state)))
    temporary.rename(directory / FILE)
