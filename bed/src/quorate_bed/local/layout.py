"""Names, addresses and paths of a local cluster, as seen from inside its namespaces.

Inside, the cluster's directory is bound to /run/quorate and the binaries to /run/quorate-bin, so
that paths are short (a Unix socket's path has 107 bytes) whatever the cache directory is called.
"""

from dataclasses import dataclass
from pathlib import Path

HOME = Path("/run/quorate")
BINARIES = Path("/run/quorate-bin")
SOCKETS = Path("/run/sockets")
DEAD = "dead"  # the file that names the parts which died

CONTROL_ADDRESS = "10.200.0.1"
NODE_NETWORK_BITS = 24
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
POD_NETWORK = "10.244.0.0/16"
API_PORT = 6443
DOMAIN = "cluster.local"
ZONES = 3


@dataclass(frozen=True, slots=True)
class Node:
    """One node; `number` counts from 1."""

    number: int

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return f"10.200.0.{10 + self.number}"

    @property
    def pod_network(self) -> str:
        return f"10.244.{self.number}.0/24"

    @property
    def zone(self) -> str:
        return f"zone-{(self.number - 1) % ZONES + 1}"

    @property
    def home(self) -> Path:
        return HOME / "nodes" / self.name

    @property
    def containerd(self) -> Path:
        return SOCKETS / f"{self.name}.containerd"

    @property
    def network_namespace(self) -> Path:
        return Path("/run/netns") / self.name
