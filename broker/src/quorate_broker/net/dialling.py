"""The lines that this broker dials: two to each other broker, dialled anew whenever they end.

Each dial asks for the address anew, since a broker may have moved; between two dials that failed
it waits longer and longer, up to a second. A lost control line is told to the node at once.
Read next: `accepting`, the other ends of such lines.
"""

from __future__ import annotations

import asyncio
import logging
import random

import msgspec

from quorate_broker.net import rpc
from quorate_broker.net.exchange import Asking
from quorate_broker.net.greeting import Ourselves, Welcome, decode
from quorate_broker.net.lines import BULK, CONTROL, Line, Remote, Roster
from quorate_broker.net.lookup import Addresses
from quorate_broker.net.peers import Handler, PeerLost
from quorate_broker.net.rpc import Frame, Kind, RpcProtocol
from quorate_broker.raft.messages import Peer

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S = 3.0
REDIAL_MIN_S = 0.1
REDIAL_MAX_S = 1.0


class Dialling:
    """Keeps the lines."""

    def __init__(
        self,
        ourselves: Ourselves,
        roster: Roster,
        asking: Asking,
        handler: Handler,
        source: random.Random,
    ) -> None:
        self._ourselves = ourselves
        self._roster = roster
        self._asking = asking
        self._handler = handler
        self._random = source

    def keep(self, remote: Remote, tasks: asyncio.TaskGroup) -> None:
        """Begin to dial a broker, until its `keepers` are cancelled."""
        for purpose in (CONTROL, BULK):
            name = f"{purpose} line to {remote.node_id}"
            remote.keepers.append(tasks.create_task(self._keep(remote, purpose), name=name))

    async def _keep(self, remote: Remote, purpose: str) -> None:
        delay = REDIAL_MIN_S
        while True:
            try:
                line = await self._dial(remote, purpose)
            except (OSError, TimeoutError, PeerLost) as error:
                self._report(remote, purpose, str(error) or type(error).__name__)
                await asyncio.sleep(delay * (0.5 + self._random.random()))
                delay = min(delay * 2, REDIAL_MAX_S)
                continue
            delay = REDIAL_MIN_S
            self._attach(remote, purpose, line)
            try:
                await line.lost.wait()
            finally:
                self._drop(remote, purpose, line)

    def _report(self, remote: Remote, purpose: str, reason: str) -> None:
        if purpose == CONTROL and remote.reported != reason:
            remote.reported = reason
            log.info("broker %d at %s:%d: %s", remote.node_id, *remote.address, reason)

    async def _dial(self, remote: Remote, purpose: str) -> Line:
        line = Line(purpose=purpose, welcome=asyncio.get_running_loop().create_future())
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            protocol = await self._connect(await remote.lookup.addresses())
            line.protocol = protocol
            self._roster.dialled[protocol] = line
            try:
                hello = msgspec.msgpack.encode(self._ourselves.hello(purpose))
                protocol.send(rpc.encode(Kind.HELLO, 0, hello))
                assert line.welcome is not None
                self._check(remote, await line.welcome)
            except BaseException:
                protocol.abort()
                raise
        welcome = line.welcome.result()
        line.peer = Peer(welcome.node_id, welcome.incarnation)
        line.cluster_id, line.boot = welcome.cluster_id, welcome.boot
        line.version = welcome.version
        protocol.greeted()
        return line

    def _check(self, remote: Remote, welcome: Welcome) -> None:
        """Raises PeerLost."""
        peer = Peer(welcome.node_id, welcome.incarnation)
        if welcome.retired and welcome.cluster_id == self._ourselves.cluster_id != "":
            self._handler.on_retired(peer)
        if welcome.refused is not None:
            raise PeerLost(welcome.refused)
        if welcome.node_id != remote.node_id:
            raise PeerLost(f"it says it is broker {welcome.node_id}")
        if peer in self._ourselves.retired:
            raise PeerLost(f"incarnation {welcome.incarnation} has been retired")

    async def _connect(self, addresses: Addresses) -> RpcProtocol:
        """To the first of them that answers."""
        loop = asyncio.get_running_loop()
        failure: OSError = OSError("its name has no address")
        for host, port in addresses:
            try:
                _, protocol = await loop.create_connection(
                    lambda: RpcProtocol(self._frame, self._lost), host, port
                )
            except OSError as error:
                failure = error
            else:
                return protocol
        raise failure

    def _attach(self, remote: Remote, purpose: str, line: Line) -> None:
        assert line.peer is not None
        self._roster.hear(line.peer)
        if purpose == BULK:
            remote.bulk = line
            return
        remote.control = line
        remote.reported = ""
        self._handler.on_connected(line.peer)

    def _drop(self, remote: Remote, purpose: str, line: Line) -> None:
        self._asking.line_lost(line.protocol, PeerLost(f"broker {remote.node_id} went away"))
        if purpose == BULK:
            remote.bulk = None
            return
        remote.control = None
        self._handler.on_lost(remote.node_id)

    def _lost(self, protocol: RpcProtocol) -> None:
        line = self._roster.dialled.pop(protocol, None)
        if line is None:
            return
        line.lost.set()
        if line.welcome is not None and not line.welcome.done():
            line.welcome.set_exception(PeerLost("it closed the connection"))
            line.welcome.exception()

    def _frame(self, protocol: RpcProtocol, frame: Frame) -> None:
        line = self._roster.dialled.get(protocol)
        if line is None:
            return
        if frame.kind is Kind.WELCOME and line.welcome is not None and not line.welcome.done():
            line.welcome.set_result(decode(frame, Welcome))
            return
        self._roster.hear(line.peer)
        if frame.kind is not Kind.RESPONSE:
            raise rpc.FrameError(f"{frame.kind.name} on a dialled line")
        self._asking.answered(frame)
