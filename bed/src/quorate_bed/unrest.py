"""An operator that is killed again and again, at moments that a seed chooses.

Whatever a test does meanwhile has to come out the same: the next operator knows only what it sees.
"""

import contextlib
import random
import threading
from collections.abc import Iterator

from quorate_bed import cluster
from quorate_bed.kube import Json, Kubectl
from quorate_bed.progress import BedError
from quorate_bed.shell import CommandError

LABEL = "app.kubernetes.io/name=quorate-operator"
EVERY_S = (2.0, 15.0)
"""Python starts within some seconds here, so lives of all lengths come about."""


class Unrest:
    """`kills` counts."""

    def __init__(self, kubectl: Kubectl, seed: int) -> None:
        self.kills = 0
        self._kubectl = kubectl
        self._random = random.Random(seed)
        self._stop = threading.Event()

    def run(self) -> None:
        lives_s = self._random.uniform(0, EVERY_S[0])  # what is over soon meets a death, too
        while not self._stop.wait(lives_s):
            lives_s = self._random.uniform(*EVERY_S)
            with contextlib.suppress(CommandError, BedError):  # the API server may be away
                self._kill()

    def stop(self) -> None:
        self._stop.set()

    def _kill(self) -> None:
        for pod in self._kubectl.list("pods", LABEL):
            if ready(pod):
                self._kubectl.cluster.kill(
                    pod["metadata"]["name"], namespace=self._kubectl.namespace
                )
                self.kills += 1


def ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@contextlib.contextmanager
def unrest(target: cluster.Cluster, namespace: str, seed: int) -> Iterator[Unrest]:
    """The operator is killed at random while the block runs."""
    running = Unrest(Kubectl(target, namespace), seed)
    thread = threading.Thread(target=running.run, name="unrest", daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join()
