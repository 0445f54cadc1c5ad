"""The connections between brokers, over TCP: implements `peers.Peers`.

Every broker dials every other twice: a control line (votes, heartbeats, requests and their
responses, soft state) and a bulk line (appends with their batches), so that a megabyte on its way
to a follower never holds up a heartbeat. What a broker sends goes out on the lines it dialled;
responses come back on the line of their request. Both ends of a line know the other's (node id,
incarnation), and Raft messages to or from another incarnation are dropped here.

A lost control line is told at once: Raft takes it as a hint, and the peer counts as not alive
until it is heard again. A line may also be dead without anyone having said so, when a machine or
an address vanished: a peer that calls from a new process, or stays silent where it should gossip,
has its lines dropped and dialled anew, under whatever address its name has then (`lookup`).
Read next: `lines` (what is known), `dialling`, `accepting`, `exchange` (requests).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping, Sequence

import msgspec

from quorate_broker import seams
from quorate_broker.net import rpc
from quorate_broker.net.accepting import Accepting
from quorate_broker.net.dialling import Dialling
from quorate_broker.net.exchange import Asking, RequestHead, Serving
from quorate_broker.net.greeting import Ourselves
from quorate_broker.net.lines import SILENCE_MS, Address, Remote, Roster
from quorate_broker.net.lookup import Lookup
from quorate_broker.net.peers import REQUEST_TIMEOUT_MS, Handler, PeerLost
from quorate_broker.net.rpc import Buffer, Kind, RaftHead
from quorate_broker.raft import encoding
from quorate_broker.raft.messages import Message, Peer

log = logging.getLogger(__name__)

WATCH_S = 0.5


class Mesh:
    """All lines of one broker, listening at `bind`."""

    def __init__(
        self, me: Peer, handler: Handler, clock: seams.Clock, source: random.Random, bind: Address
    ) -> None:
        self._clock = clock
        self._bind = bind
        self._watched_ms = clock.monotonic_ms()
        self._ourselves = Ourselves(me, boot=f"{source.getrandbits(64):x}")
        self._roster = Roster(clock)
        self._asking = Asking()
        self._serving = Serving(handler)
        self._dialling = Dialling(self._ourselves, self._roster, self._asking, handler, source)
        self._accepting = Accepting(self._ourselves, self._roster, self._serving, handler, clock)
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def me(self) -> Peer:
        return self._ourselves.me

    @property
    def cluster_id(self) -> str:
        return self._ourselves.cluster_id

    @cluster_id.setter
    def cluster_id(self, cluster_id: str) -> None:
        self._ourselves.cluster_id = cluster_id

    def speak(self, version: int) -> None:
        """Lines of this version at most, as an older broker does."""
        self._ourselves.version = version

    # -- life

    async def run(self, seeds: Mapping[int, Address], ready: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for node_id, address in seeds.items():
            self.set_address(node_id, *address)
        server = await loop.create_server(
            self._accepting.accept, *self._bind, reuse_address=True, start_serving=False
        )
        try:
            await server.start_serving()
            async with asyncio.TaskGroup() as tasks:
                self._tasks = self._serving.tasks = tasks
                for remote in self._roster.remotes.values():
                    self._dialling.keep(remote, tasks)
                ready.set()
                while True:
                    await asyncio.sleep(WATCH_S)
                    self.watch()
        finally:
            self._tasks = self._serving.tasks = None
            server.close()
            for protocol, _ in self._roster.lines():
                protocol.abort()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await server.wait_closed()

    def joined(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id
        for protocol, line in self._roster.lines():
            if line.cluster_id not in ("", cluster_id):
                protocol.close()

    def set_address(self, node_id: int, host: str, port: int) -> None:
        if node_id == self.me.node_id:
            return
        remote = self._roster.get(node_id)
        if remote is None:
            remote = Remote(node_id, (host, port), Lookup(host, port))
            self._roster.remotes[node_id] = remote
            if self._tasks is not None:
                self._dialling.keep(remote, self._tasks)
        elif remote.address != (host, port):
            remote.address, remote.lookup = (host, port), Lookup(host, port)

    def forget(self, node_id: int) -> None:
        remote = self._roster.remotes.pop(node_id, None)
        if remote is not None:
            for keeper in remote.keepers:
                keeper.cancel()
            self._roster.drop(node_id)

    def retire(self, retired: frozenset[Peer]) -> None:
        self._ourselves.retired = retired
        for protocol, line in self._roster.lines():
            if line.peer in retired:
                protocol.abort()

    # -- what goes out

    def send(self, to: Peer, group: str, message: Message) -> None:
        remote = self._roster.get(to.node_id)
        if remote is None:
            return
        head, bulk = encoding.encode(message)
        line = remote.bulk if bulk else remote.control
        if line is None or line.protocol is None or line.peer != to:
            return
        packed = RaftHead(group, head)
        if not bulk and line.version >= 2:
            line.protocol.send_beat(packed)
        else:
            line.protocol.send(rpc.encode(Kind.RAFT, 0, msgspec.msgpack.encode(packed), bulk))

    def broadcast(self, body: bytes) -> None:
        frame = rpc.encode(Kind.SOFT, 0, body)
        for remote in self._roster.remotes.values():
            if remote.control is not None and remote.control.protocol is not None:
                remote.control.protocol.send(frame)

    async def request(
        self,
        node_id: int,
        method: str,
        body: bytes,
        bulk: Sequence[Buffer] = (),
        timeout_ms: int = REQUEST_TIMEOUT_MS,
    ) -> bytes:
        remote = self._roster.get(node_id)
        line = (remote.bulk if bulk else remote.control) if remote is not None else None
        if line is None or line.protocol is None:
            raise PeerLost(f"broker {node_id} is not connected")
        asked = RequestHead(method, body)
        return await self._asking.ask(line.protocol, asked, bulk, timeout_ms)

    # -- what is known

    def alive(self, node_id: int) -> bool:
        return node_id == self.me.node_id or self._roster.alive(node_id)

    def incarnation(self, node_id: int) -> str | None:
        return self._roster.incarnation(node_id)

    def watch(self) -> None:
        """Drop the lines of peers that are silent, and of callers that never said who they are."""
        now_ms = self._clock.monotonic_ms()
        late = now_ms - self._watched_ms >= SILENCE_MS
        self._watched_ms = now_ms
        if late:
            return  # we were silent ourselves: what they said meanwhile is still to be read
        self._accepting.drop_ungreeted(now_ms)
        for remote in self._roster.silent(now_ms):
            log.info("broker %d is silent: its lines are dropped", remote.node_id)
            self._roster.drop(remote.node_id)
