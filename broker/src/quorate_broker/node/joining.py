"""Becoming a member of a cluster that is there already: the asking and the answering side.

    empty disk --"join"--> any member --"join"--> metadata leader: is another disk of that id
    connected? no -> AdmitBroker -> committed -> admitted

Whoever is admitted opens the metadata group without a vote; the leader feeds it as a learner and
promotes it when it has caught up. A disk that was replaced is told so by every member that it
greets, and is set aside (`main`). Read next: `cluster.members`, which decides.
"""

from __future__ import annotations

import msgspec

from quorate_broker import config
from quorate_broker.cluster import commands
from quorate_broker.cluster.genesis import AskToJoin
from quorate_broker.cluster.records import Member, known
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.peers import PeerLost, Peers
from quorate_broker.node.context import Parts

METHOD = "join"
TIMEOUT_MS = 12_000
"""Longer than a member tries to reach the metadata leader."""


class Ask(msgspec.Struct, frozen=True):
    """Who wants to join, and where it is reached by other brokers."""

    node_id: int
    incarnation: str
    rpc_host: str
    rpc_port: int
    feature_level: int
    forwarded: bool = False


async def ask(
    settings: config.Settings, incarnation: str, step: AskToJoin, peers: Peers
) -> str | None:
    """None when admitted; else why not, for people."""
    rpc = settings.rpc_advertised
    body = msgspec.msgpack.encode(
        Ask(
            settings.node_id,
            incarnation,
            rpc.host,
            rpc.port,
            known(settings.feature_level_known),
        )
    )
    reason = ""
    for node_id in step.members:
        try:
            answer = await peers.request(node_id, METHOD, body, timeout_ms=TIMEOUT_MS)
        except (PeerLost, TimeoutError, KafkaError) as error:
            reason = f"broker {node_id} does not let this one join: {error}"
            continue
        admitted = msgspec.msgpack.decode(answer, type=commands.Admitted)
        if admitted.cluster_id == step.genesis.cluster_id:
            return None
        reason = f"broker {node_id} answers for another cluster, {admitted.cluster_id}"
    return reason


async def serve(parts: Parts, body: bytes) -> bytes:
    """Decide where the metadata is led, else pass it on there, once. Raises KafkaError."""
    asked = msgspec.msgpack.decode(body, type=Ask)
    controller = parts.controller
    if not controller.leads:
        return await _forward(parts, asked)
    command = commands.AdmitBroker(
        asked.node_id,
        asked.incarnation,
        asked.rpc_host,
        asked.rpc_port,
        asked.feature_level,
        replace=not _is_connected(parts, controller.image.member(asked.node_id)),
    )
    return msgspec.msgpack.encode(await controller.command(command, parts.peers))


async def _forward(parts: Parts, asked: Ask) -> bytes:
    leader = parts.controller.leader_id
    if asked.forwarded or leader in (-1, parts.peers.me.node_id):
        raise KafkaError(ErrorCode.NOT_CONTROLLER, "the cluster has no leader for its metadata")
    body = msgspec.msgpack.encode(msgspec.structs.replace(asked, forwarded=True))
    try:
        return await parts.peers.request(leader, METHOD, body, timeout_ms=TIMEOUT_MS)
    except (PeerLost, TimeoutError) as error:
        raise KafkaError(ErrorCode.NOT_CONTROLLER, str(error)) from error


def _is_connected(parts: Parts, member: Member | None) -> bool:
    """Whether the process on that very disk is alive, as far as this broker can see."""
    if member is None:
        return False
    peers = parts.peers
    if member.node_id == peers.me.node_id:
        return member.incarnation == peers.me.incarnation
    return peers.alive(member.node_id) and peers.incarnation(member.node_id) == member.incarnation
