"""The repository that this code runs in: which commit it is, and what an earlier one held.

For the tools that run a long time and say at the end what they ran on, and for two versions beside
each other. Used by `simulate` and `chaos`.
"""

from __future__ import annotations

import pathlib
import subprocess

PREVIOUS = "3fad5ddfdc09"
"""The version before this one: brokers of both must be able to make one cluster, and to take over
each other's disks while they are upgraded one by one. Moves on with each release."""
_HERE = pathlib.Path(__file__).parent


def commit() -> str:
    """Of the tree it runs in; with a + when that has changes in the broker."""
    try:
        head = _git("rev-parse", "--short", "HEAD").decode()
        changes = _git("status", "--porcelain", ":/broker/src")
    except (OSError, subprocess.CalledProcessError):
        return "no-commit+"
    return head.strip() + "+" * bool(changes)


def has(revision: str) -> bool:
    """Whether that commit is here; a shallow clone lacks it."""
    try:
        _git("cat-file", "-e", f"{revision}^{{commit}}")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def source_of(revision: str, folder: pathlib.Path) -> pathlib.Path:
    """The broker's code of that commit, unpacked below `folder`: a path to import from."""
    folder.mkdir(exist_ok=True)
    root = _git("rev-parse", "--show-toplevel").decode().strip()
    packed = _git("-C", root, "archive", "--format=tar", revision, "broker/src")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    return folder / "broker" / "src"


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(_HERE), *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout
