"""Keep a pod dead: a file per held pod, which the runtime's wrapper looks for.

Killing again and again would let the process live for moments, and stopping the kubelet would leave
a dead pod looking alive. A runtime that refuses to create the container is what a broken machine
does: the kubelet reports the pod as not ready, tries again, and starts it when the hold is gone.
"""

from pathlib import Path
from types import TracebackType

DIRECTORY = "holds"


class FileHold:
    """One held pod. Without `path` it holds nothing and releasing it does nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def release(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> "FileHold":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def hold(cluster_directory: Path, namespace: str, pod: str) -> FileHold:
    directory = cluster_directory / DIRECTORY
    directory.mkdir(exist_ok=True)
    path = directory / f"{namespace}_{pod}"
    path.touch()
    return FileHold(path)
