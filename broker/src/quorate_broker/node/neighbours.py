"""Which brokers the lines reach, as metadata says: where they are, and who is out for good.

Seeds keep the address of this node's own configuration: metadata may know an older one, and only
a majority that is connected could correct it. And a broker that metadata here does not know yet
tells its address itself, by gossip: it may be the very leader without whom this broker, which can
answer only those it has dialled, would never learn anything. Read next: `net.peers`.
"""

from __future__ import annotations

from collections.abc import Collection

from quorate_broker.cluster.image import Image
from quorate_broker.net.peers import Peers
from quorate_broker.raft.messages import Peer


class Neighbours:
    """Tells the lines what has changed, each thing once."""

    def __init__(self, peers: Peers, seeds: Collection[int]) -> None:
        self._peers = peers
        self._seeds = frozenset(seeds)
        self._told: dict[int, tuple[str, int]] = {}
        self._heard: set[int] = set()
        """Those that metadata does not know, or not yet."""
        self._retired = 0

    def look(self, image: Image) -> None:
        """Metadata has moved."""
        if len(image.retired) != self._retired:
            self._retired = len(image.retired)
            self._peers.retire(
                frozenset(Peer(node_id, disk) for disk, node_id in image.retired.items())
            )
        for node_id, address in image.addresses.items():
            if node_id not in self._seeds and self._told.get(node_id) != address:
                self._peers.set_address(node_id, *address)
                self._told[node_id] = address
        self._heard -= image.addresses.keys()
        for node_id in self._told.keys() - image.addresses.keys() - self._heard:
            self._peers.forget(node_id)
            del self._told[node_id]

    def heard(self, node_id: int, address: tuple[str, int], image: Image) -> None:
        """A broker said where it is reached."""
        known = node_id in self._seeds or node_id in image.addresses
        if not known and self._told.get(node_id) != address:
            self._heard.add(node_id)
            self._told[node_id] = address
            self._peers.set_address(node_id, *address)
