"""What runs inside the namespaces: it brings the cluster up, then relays and provisions.

Progress goes to standard output as lines of `begin <step>`, `ready` or `failed <why>`, until the
cluster serves; the one who called `create` reads them. Afterwards nobody may be listening any more,
and everything is written to logs/keeper.log.
"""

import asyncio
import contextlib
import functools
import json
import os
import socket
import time
import traceback

from quorate_bed.local import (
    control_plane,
    daemons,
    dns,
    layout,
    network,
    node,
    pki,
    relay,
    volumes,
)
from quorate_bed.local.api import Api, ApiError, Object
from quorate_bed.shell import run

POLL_S = 0.4


def main(listener: socket.socket) -> int:
    """The keeper's exit code."""
    (layout.HOME / "logs").mkdir(exist_ok=True)
    log = os.open(layout.HOME / "logs" / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    settings = json.loads((layout.HOME / "settings.json").read_text())
    try:
        api = bring_up([layout.Node(number + 1) for number in range(settings["nodes"])], settings)
    except Exception as error:  # noqa: BLE001 - the one who waits has to hear of any failure
        traceback.print_exc()
        say(f"failed {error!s}".replace("\n", " ⏎ "))
        return 1
    asyncio.run(
        keep(listener, volumes.Provisioner(api, layout.HOME / "volumes" / settings["name"]))
    )
    return 0


def say(line: str) -> None:
    """Tell the one who called `create`; the cluster comes up all the same when it has gone."""
    with contextlib.suppress(OSError):
        os.write(1, f"{line}\n".encode())


def bring_up(nodes: list[layout.Node], settings: dict[str, str]) -> Api:
    say("begin Network, keys")
    network.create(nodes)
    pki.create(layout.HOME / "pki", len(nodes))
    say("begin Control plane")
    control_plane.start_store()
    api_process = control_plane.start_api()
    runtimes = [(one, node.start_runtime(one)) for one in nodes]
    control_plane.await_api(api_process)
    control_plane.start_controllers()
    say("begin Nodes")
    token = (layout.HOME / "pki" / "admin.token").read_text()
    api = Api("127.0.0.1", layout.API_PORT, layout.HOME / "pki" / "ca.crt", token)
    kubelets = []
    for one, process in runtimes:
        node.await_runtime(one, process)
        _import_sandbox(one)
        kubelets.append((one, node.start_kubelet(one, settings["cgroup"])))
    dns.publish(api)
    volumes.publish(api)
    dns_process = dns.start()
    for one, process in kubelets:
        found = functools.partial(_node, api, one)
        daemons.await_true(f"{one.name}: registered", found, process)
        node.start_proxy(one)  # it would wait half a minute for a node that is not there yet
    for one, process in kubelets:
        ready = functools.partial(_ready, api, one)
        daemons.await_true(f"{one.name}: Ready", ready, process)
    dns.await_ready(dns_process)
    return api


def _import_sandbox(one: layout.Node) -> None:
    """The pause image, made with the binaries."""
    archive = layout.BINARIES / "pause.tar"
    run(["ctr", "--address", one.containerd, "-n", "k8s.io", "images", "import", archive])


def _node(api: Api, one: layout.Node) -> Object | None:
    try:
        return api.get(f"/api/v1/nodes/{one.name}")
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _ready(api: Api, one: layout.Node) -> bool:
    """Ready, and the taint of a node that has just come is gone."""
    found = _node(api, one)
    if found is None:
        return False
    conditions = {entry["type"]: entry["status"] for entry in found["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and not found["spec"].get("taints")


async def keep(listener: socket.socket, provisioner: volumes.Provisioner) -> None:
    """Relay and provision for as long as the cluster lives."""
    await relay.serve(listener, "127.0.0.1", layout.API_PORT)
    say("ready")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    await asyncio.to_thread(_provision, provisioner)


def _provision(provisioner: volumes.Provisioner) -> None:
    while True:
        _report_dead()
        try:
            provisioner.step()
        except Exception:  # noqa: BLE001 - a level-triggered loop: logged, and tried again
            traceback.print_exc()
            provisioner.reconnect()
        time.sleep(POLL_S)


def _report_dead() -> None:
    """Name the parts that died, for the one who asks whether this cluster can be used."""
    file = layout.HOME / layout.DEAD
    names = "\n".join(daemons.dead())
    if names and (not file.exists() or file.read_text() != names):
        file.write_text(names)
