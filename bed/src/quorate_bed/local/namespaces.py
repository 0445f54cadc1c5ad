"""The four system calls that Python's standard library lacks: unshare, mount, umount, setns.

Only the anchor and the keeper use them. Errors are OSError with the kernel's reason.
"""

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
EVERYTHING = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET

MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def mount(
    source: str | Path,
    target: str | Path,
    kind: str | None = None,
    flags: int = 0,
    options: str | None = None,
) -> None:
    """mount(2). The target of a bind is made where it is missing only by the caller."""
    _check(
        _libc.mount(
            str(source).encode(),
            str(target).encode(),
            None if kind is None else kind.encode(),
            ctypes.c_ulong(flags),
            None if options is None else options.encode(),
        ),
        f"mount {target}",
    )


def umount(target: str | Path) -> None:
    _check(_libc.umount2(str(target).encode(), 0), f"umount {target}")


def bind(source: str | Path, target: str | Path) -> None:
    mount(source, target, None, MS_BIND | MS_REC)
