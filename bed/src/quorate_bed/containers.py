"""Find and signal a pod's containers from the node's side, through containerd's own client.

Both providers have containerd in their nodes; they differ only in how its `ctr` is reached.
"""

import contextlib
import signal
from collections.abc import Callable

from quorate_bed.shell import CommandError

Ctr = Callable[..., str]


def running(ctr: Ctr, namespace: str, pod: str) -> list[str]:
    """Ids of the running containers of a pod, its sandbox not counted.

    The node is asked, not the API server, which may lag behind.
    """
    labels = (
        f'labels."io.kubernetes.pod.namespace"=={namespace},'
        f'labels."io.kubernetes.pod.name"=={pod},labels."io.cri-containerd.kind"==container'
    )
    wanted = set(ctr("containers", "ls", "-q", labels).split())
    if not wanted:
        return []
    tasks = (line.split() for line in ctr("tasks", "ls").splitlines()[1:])
    return [words[0] for words in tasks if words[0] in wanted and words[2] == "RUNNING"]


def kill(ctr: Ctr, namespace: str, pod: str, which: signal.Signals) -> bool:
    """Signal the first process of each running container; False when there was none."""
    found = running(ctr, namespace, pod)
    for container in found:
        with contextlib.suppress(CommandError):  # it may have ended by itself meanwhile
            ctr("tasks", "kill", "--signal", which.name, container)
    return bool(found)
