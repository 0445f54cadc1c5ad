"""One bridge, one network namespace per node, and no way out of the machine.

The control plane sits in the cluster's own namespace with a bridge; each node has a namespace
joined to it by a veth pair. Pods get routed veth pairs (CNI `ptp`) rather than ports of a bridge:
replies between two pods of one node then pass the node's translation of Service addresses without
br_netfilter. The default route of the control plane points onto the bridge, where nobody answers: a
blackhole would break the node's own access to Service addresses.
"""

from pathlib import Path

from quorate_bed.local import layout
from quorate_bed.shell import run

BRIDGE = "nodes"


def create(nodes: list[layout.Node]) -> None:
    """Bridge, namespaces, addresses and routes. Runs inside the cluster's namespaces."""
    _ip("link", "set", "lo", "up")
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("addr", "add", f"{layout.CONTROL_ADDRESS}/{layout.NODE_NETWORK_BITS}", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    _ip("route", "add", "default", "dev", BRIDGE)
    _forward(None)
    for node in nodes:
        _node(node, [peer for peer in nodes if peer != node])
    # Webhooks and aggregated APIs: the API server's way to Services leads over a node's proxy.
    _ip("route", "add", layout.SERVICE_NETWORK, "via", nodes[0].address)
    for node in nodes:
        _ip("route", "add", node.pod_network, "via", node.address)


def link(node: layout.Node, *, up: bool) -> None:
    """Take a node off the bridge, so that nothing of it is heard any more; or put it back."""
    _ip("link", "set", _outer(node), "up" if up else "down")


def _outer(node: layout.Node) -> str:
    return f"to-{node.name}"


def _node(node: layout.Node, peers: list[layout.Node]) -> None:
    outer = _outer(node)
    _ip("netns", "add", node.name)
    _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", node.name)
    _ip("link", "set", outer, "master", BRIDGE, "up")
    _ip("link", "set", "lo", "up", at=node)
    _ip("addr", "add", f"{node.address}/{layout.NODE_NETWORK_BITS}", "dev", "eth0", at=node)
    _ip("link", "set", "eth0", "up", at=node)
    _ip("route", "add", "default", "via", layout.CONTROL_ADDRESS, at=node)
    for peer in peers:
        _ip("route", "add", peer.pod_network, "via", peer.address, at=node)
    _forward(node)


def _ip(*words: str, at: layout.Node | None = None) -> None:
    run(["ip", *(("-n", at.name) if at else ()), *words])


def _forward(node: layout.Node | None) -> None:
    """/proc/sys/net shows the namespace of whoever looks, so the writer has to be inside."""
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    if node is None:
        switch.write_text("1")
        return
    run(["nsenter", f"--net={node.network_namespace}", "sh", "-c", f"echo 1 > {switch}"])
