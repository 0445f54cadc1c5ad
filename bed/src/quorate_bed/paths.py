"""Where the test bed keeps things: one cache directory, so that removing it removes everything.

`QUORATE_CACHE` names it; it is `~/.cache/quorate` otherwise. What is costly to make is keyed by a
hash of what it was made from, so that branches never disturb each other. Next: `cluster.py`.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parents[2]


def cache() -> Path:
    """The cache directory, made if it is not there."""
    configured = os.environ.get("QUORATE_CACHE")
    path = Path(configured) if configured else Path.home() / ".cache" / "quorate"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def cluster_directory(name: str) -> Path:
    """Everything that belongs to the local cluster of that name."""
    return cache() / "clusters" / name


def hash_files(files: Iterable[Path], root: Path, *extra: str) -> str:
    """A short hash of names (relative to `root`), modes and contents, for use as a cache key."""
    digest = hashlib.sha256()
    for file in sorted(files):
        content = file.read_bytes()
        executable = file.stat().st_mode & 0o111 != 0
        head = f"{file.relative_to(root)}\0{len(content)}\0{executable:d}\0"
        digest.update(head.encode())
        digest.update(content)
    for text in extra:
        digest.update(f"\0{text}".encode())
    return digest.hexdigest()[:16]
