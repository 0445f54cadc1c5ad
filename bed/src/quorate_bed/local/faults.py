"""Take parts of the cluster away and bring them back. Runs inside the namespaces.

    python -m quorate_bed.local.faults cut node-2 | restore node-2 | stop-api | start-api

A power cut first takes the node off the network, so that to all others it is silent and no
connection is closed; then it kills everything that ran there. What its containerd and kubelet left
on the disk is theirs to clear up, as after a real one.
"""

import json
import sys

from quorate_bed.local import control_plane, daemons, layout, network, node, processes
from quorate_bed.progress import BedError


def cut(one: layout.Node) -> None:
    network.link(one, up=False)
    for part in ("kubelet", "containerd", "kube-proxy"):
        daemons.end(f"{one.name}.{part}")
    processes.end_all(processes.with_word(str(one.containerd)))  # its shims, and what they run


def restore(one: layout.Node) -> None:
    settings = json.loads((layout.HOME / "settings.json").read_text())
    network.link(one, up=True)
    node.await_runtime(one, node.start_runtime(one))
    node.start_kubelet(one, settings["cgroup"])
    node.start_proxy(one)


def stop_api() -> None:
    daemons.end("kube-apiserver")


def start_api() -> None:
    control_plane.await_api(control_plane.start_api())


def main(words: list[str]) -> None:
    match words:
        case ["cut", name]:
            cut(_node(name))
        case ["restore", name]:
            restore(_node(name))
        case ["stop-api"]:
            stop_api()
        case ["start-api"]:
            start_api()
        case _:
            raise BedError(f"no such fault: {' '.join(words)}")


def _node(name: str) -> layout.Node:
    settings = json.loads((layout.HOME / "settings.json").read_text())
    for number in range(1, settings["nodes"] + 1):
        if layout.Node(number).name == name:
            return layout.Node(number)
    raise BedError(f"no node {name!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
