"""A node's disk and wall clock as a test wants them: it dies at a named step, syncs slowly, fails.

Only `testing.sabotaged`, a command line of its own, puts these in place; the product's refuses the
environment variables below in words (`config.load`), so that nothing of it is ever on by mistake.

    QUORATE_CRASH_POINT=after sync checkpoint 3   the process ends there, at once, without a word
    QUORATE_CRASH_SEEN=FILE                       each point on its first passing, one a line
    QUORATE_SABOTAGE=FILE                         JSON that is read again when it changes: `Trouble`

A crash point is a moment (`before`, `after`; `during`: half of the bytes are written, half of the
files are gone), an operation of the `Disk` protocol that changes something, a kind of file, and the
how-manieth time. The list is whole by construction: every change goes through `SabotagedDisk`, and
with one of the first two variables set, a change that is not in `STEPS` ends the process with
EXIT_UNLISTED. Read next: `testing.crashes`, which lets a cluster die at each of them.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import pathlib
import posixpath
import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import msgspec

from quorate_broker import seams
from quorate_broker.log.disk import Buffer, OsDisk

EXIT_CRASHED = 91
EXIT_UNLISTED = 92
POINT, SEEN, TROUBLE = "QUORATE_CRASH_POINT", "QUORATE_CRASH_SEEN", "QUORATE_SABOTAGE"

_GROUP = r"[0-9a-f]{8}-[0-9a-f-]{27}-\d+"
KINDS: Mapping[str, re.Pattern[str]] = {
    "lock": re.compile(r"LOCK"),
    "identity": re.compile(r"node\.json(\.tmp)?"),
    "settings": re.compile(r"settings\.json(\.tmp)?"),
    "journal": re.compile(r"raft/state\.log(\.tmp)?"),
    "segment": re.compile(rf"groups/{_GROUP}/\d+\.log"),
    "index": re.compile(rf"groups/{_GROUP}/\d+\.qindex"),
    "copy": re.compile(rf"groups/{_GROUP}/\d+\.log\.copy"),
    "cleaned": re.compile(rf"groups/{_GROUP}/\d+\.(log|qindex)\.cleaned"),
    "checkpoint": re.compile(rf"groups/{_GROUP}/checkpoint(\.tmp)?"),
    "state": re.compile(rf"groups/{_GROUP}/state(\.tmp)?"),
    "group-folder": re.compile(rf"groups/{_GROUP}"),
    "groups": re.compile(r"groups"),
    "raft": re.compile(r"raft"),
    "retired": re.compile(rf"retired(/({_GROUP}|node-\d+)\.[\w.-]+(/[\w.]+)?)?"),
    "data": re.compile(r"|\.\.(/\.\.)*"),  # the data directory and what is above it
}
"""What lies where, below the data directory. A rename is named by its target."""

Step = tuple[str, str]
"""(operation, kind)."""


class Trouble(msgspec.Struct, frozen=True):
    """What the file of QUORATE_SABOTAGE says. A missing file says nothing is wrong."""

    sync_s: float = 0.0
    """How much longer every sync takes."""
    fails: tuple[str, ...] = ()
    """Operations that end in EIO: any of `OPERATIONS`."""
    wall_ms: int = 0
    """By how much the wall clock is off."""


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """Where to die."""

    moment: str
    operation: str
    kind: str
    nth: int = 1

    @classmethod
    def parse(cls, text: str) -> Point:
        """`after sync segment` or `after sync segment 3`. ValueError with a sentence."""
        words = text.split()
        if len(words) == 3:
            words.append("1")
        if len(words) != 4 or not words[3].isdigit():
            raise ValueError(f"{text!r} is no crash point: before|during|after operation kind nth")
        point = cls(words[0], words[1], words[2], int(words[3]))
        if (point.moment, point.operation, point.kind) not in all_points():
            raise ValueError(f"{text!r} is no crash point that a broker can reach")
        return point

    def __str__(self) -> str:
        return f"{self.moment} {self.operation} {self.kind} {self.nth}"


OPERATIONS = (
    "create",
    "lock",
    "mkdirs",
    "preallocate",
    "pwrite",
    "rename",
    "rmtree",
    "sync",
    "sync_dir",
    "truncate",
    "unlink",
)
"""Those that change a disk; `create` is `open(create=True)`."""
LOOKS = (
    *("close", "exists", "free_bytes", "listdir", "next_data", "open", "pread", "size", "size_of"),
)
"""Those that do not: no points."""

STEPS: tuple[Step, ...] = (
    ("mkdirs", "data"),
    ("lock", "lock"),
    *((operation, "identity") for operation in ("create", "truncate", "pwrite", "sync", "rename")),
    *((operation, "settings") for operation in ("create", "truncate", "pwrite", "sync", "rename")),
    ("sync_dir", "data"),
    ("mkdirs", "raft"),
    *((operation, "journal") for operation in ("create", "truncate", "pwrite", "sync", "rename")),
    ("preallocate", "journal"),
    ("sync_dir", "raft"),
    ("mkdirs", "groups"),
    ("mkdirs", "group-folder"),
    *((op, "checkpoint") for op in ("create", "truncate", "pwrite", "sync", "rename")),
    ("sync_dir", "group-folder"),
    *((op, "segment") for op in ("create", "preallocate", "pwrite", "truncate", "sync")),
    ("rename", "segment"),
    ("unlink", "segment"),
    *((operation, "index") for operation in ("create", "pwrite", "truncate", "sync", "unlink")),
    *((operation, "copy") for operation in ("create", "truncate", "pwrite", "sync")),
    *((op, "cleaned") for op in ("create", "truncate", "pwrite", "sync")),
    ("rename", "index"),
    *((operation, "state") for operation in ("create", "truncate", "pwrite", "sync", "rename")),
    ("rmtree", "group-folder"),
    ("sync_dir", "groups"),
    ("mkdirs", "retired"),
    ("rename", "retired"),
    ("sync_dir", "retired"),
)
"""Every durable step that a broker takes."""


RARE: tuple[Step, ...] = (("unlink", "checkpoint"), ("unlink", "cleaned"), ("unlink", "state"))
"""Steps that only an accident before brings about: what it left half written is removed at the next
opening. Listed, but no story leads to them by itself."""


def all_points() -> list[tuple[str, str, str]]:
    """(moment, operation, kind) of each."""
    moments = dict.fromkeys(("pwrite", "rmtree"), ("before", "during", "after"))
    return [
        (moment, operation, kind)
        for operation, kind in STEPS
        for moment in moments.get(operation, ("before", "after"))
    ]


def kind_of(path: str, root: str) -> str | None:
    """What a path below the data directory is; None for what is in no list."""
    name = posixpath.relpath(path, root)
    name = "" if name == "." else name
    return next((kind for kind, pattern in KINDS.items() if pattern.fullmatch(name)), None)


class Saboteur:
    """What is to go wrong, by the environment; several threads ask."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._point = Point.parse(environ[POINT]) if POINT in environ else None
        self._seen_file = environ.get(SEEN)
        self._trouble_file = environ.get(TROUBLE)
        self._seen: set[str] = set()
        self._passed = 0
        self._lock = threading.Lock()
        self._trouble = Trouble()
        self._read_at: tuple[int, int] | None = None

    @property
    def trouble(self) -> Trouble:
        """As the file says now."""
        if self._trouble_file is None:
            return self._trouble
        try:
            facts = os.stat(self._trouble_file)
        except FileNotFoundError:
            return Trouble()
        version = (facts.st_mtime_ns, facts.st_ino)
        if version != self._read_at:
            content = pathlib.Path(self._trouble_file).read_bytes()
            self._trouble = msgspec.json.decode(content, type=Trouble)
            self._read_at = version
        return self._trouble

    def unlisted(self, what: str) -> None:
        """A durable step without a crash point: the list must grow, so nothing goes on."""
        if self._point is not None or self._seen_file is not None:
            end(EXIT_UNLISTED, f"a durable step that is in no list of crash points: {what}")

    def passes(self, moment: str, operation: str, kind: str) -> bool:
        """Whether to die here; `during` is asked before the bytes are written."""
        name = f"{moment} {operation} {kind}"
        with self._lock:
            if self._seen_file is not None and name not in self._seen:
                self._seen.add(name)
                with open(self._seen_file, "a", encoding="utf-8") as file:
                    file.write(name + "\n")
            point = self._point
            if point is None or (moment, operation, kind) != (
                point.moment,
                point.operation,
                point.kind,
            ):
                return False
            self._passed += 1
            return self._passed == point.nth


def end(code: int, sentence: str) -> None:
    """As if killed: no clean-up, no flush, no other thread's next step."""
    os.write(sys.stderr.fileno(), f"{sentence}\n".encode())
    os._exit(code)


class SabotagedDisk(OsDisk):
    """Linux files, watched over by a saboteur."""

    def __init__(self, saboteur: Saboteur, root: str) -> None:
        self._saboteur = saboteur
        self._root = root
        self._kinds: dict[int, str] = {}

    def open(self, path: str, create: bool = False) -> int:
        kind = self._kind(path)
        is_new = create and not os.path.lexists(path)
        if is_new:
            self._before("create", kind)
        handle = super().open(path, create)
        self._kinds[handle] = kind
        if is_new:
            self._passes("after", "create", kind)
        return handle

    def close(self, handle: int) -> None:
        self._kinds.pop(handle, None)
        super().close(handle)

    def pwrite(self, handle: int, buffers: Sequence[Buffer], at: int) -> None:
        kind = self._kinds[handle]
        self._before("pwrite", kind)
        if self._saboteur.passes("during", "pwrite", kind):
            whole = b"".join(buffers)
            super().pwrite(handle, [whole[: len(whole) // 2]], at)
            end(EXIT_CRASHED, f"crash point during pwrite {kind}")
        super().pwrite(handle, buffers, at)
        self._passes("after", "pwrite", kind)

    def sync(self, handle: int) -> None:
        kind = self._kinds[handle]
        self._before("sync", kind)
        self._linger()
        super().sync(handle)
        self._passes("after", "sync", kind)

    def preallocate(self, handle: int, at: int, size: int) -> None:
        kind = self._kinds[handle]
        self._before("preallocate", kind)
        super().preallocate(handle, at, size)
        self._passes("after", "preallocate", kind)

    def truncate(self, handle: int, size: int) -> None:
        kind = self._kinds[handle]
        self._before("truncate", kind)
        super().truncate(handle, size)
        self._passes("after", "truncate", kind)

    def rename(self, source: str, target: str) -> None:
        kind = self._kind(target)
        self._before("rename", kind)
        super().rename(source, target)
        self._passes("after", "rename", kind)

    def unlink(self, path: str) -> None:
        kind = self._kind(path)
        if not os.path.lexists(path):
            super().unlink(path)  # changes nothing, and says so
        self._before("unlink", kind)
        super().unlink(path)
        self._passes("after", "unlink", kind)

    def mkdirs(self, path: str) -> None:
        if os.path.isdir(path):
            return
        kind = self._kind(path)
        self._before("mkdirs", kind)
        OsDisk().mkdirs(path)  # its parts are not steps of their own: each leaves it half made
        self._passes("after", "mkdirs", kind)

    def rmtree(self, path: str) -> None:
        kind = self._kind(path)
        self._before("rmtree", kind)
        if self._saboteur.passes("during", "rmtree", kind):
            for name in self.listdir(path)[::2]:
                os.unlink(f"{path}/{name}")
            end(EXIT_CRASHED, f"crash point during rmtree {kind}")
        super().rmtree(path)
        self._passes("after", "rmtree", kind)

    def sync_dir(self, path: str) -> None:
        kind = self._kind(path)
        self._before("sync_dir", kind)
        self._linger()
        super().sync_dir(path)
        self._passes("after", "sync_dir", kind)

    def lock(self, path: str) -> int | None:
        kind = self._kind(path)
        self._before("lock", kind)
        handle = OsDisk().lock(path)
        if handle is not None:
            self._kinds[handle] = kind
        self._passes("after", "lock", kind)
        return handle

    # -- what goes wrong

    def _kind(self, path: str) -> str:
        kind = kind_of(path, self._root)
        if kind is None:
            self._saboteur.unlisted(path)
        return kind or "unlisted"

    def _before(self, operation: str, kind: str) -> None:
        if (operation, kind) not in (*STEPS, *RARE):
            self._saboteur.unlisted(f"{operation} {kind}")
        if operation in self._saboteur.trouble.fails:
            raise OSError(errno.EIO, "as the test wishes")
        self._passes("before", operation, kind)

    def _passes(self, moment: str, operation: str, kind: str) -> None:
        if self._saboteur.passes(moment, operation, kind):
            end(EXIT_CRASHED, f"crash point {moment} {operation} {kind}")

    def _linger(self) -> None:
        seconds = self._saboteur.trouble.sync_s
        if seconds > 0:
            time.sleep(seconds)


class SabotagedClock(seams.SystemClock):
    """The machine's clocks, the wall's off by as much as the file says."""

    def __init__(self, saboteur: Saboteur) -> None:
        self._saboteur = saboteur

    def wall_ms(self) -> int:
        return super().wall_ms() + self._saboteur.trouble.wall_ms


def without_switches(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that configures the node."""
    return {key: value for key, value in environ.items() if key not in (POINT, SEEN, TROUBLE)}
