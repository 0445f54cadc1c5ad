"""What other brokers may ask of this one, by method name.

The answers before membership are few: a node that is not a member yet only tells what it holds.
Read next: `net.peers`.
"""

from __future__ import annotations

import uuid

import msgspec

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.peers import PeerLost
from quorate_broker.node import controller, flank, formation, joining, leaving, transfer
from quorate_broker.node.context import Parts
from quorate_broker.node.shelf import group_name
from quorate_broker.wire import batch as batches

PRODUCE = "produce"
PRODUCE_TIMEOUT_MS = 10_000


class Produce(msgspec.Struct, frozen=True):
    """One batch for a partition that the asked broker leads; the batch itself is the bulk."""

    topic_id: str
    index: int
    timeout_ms: int


class Produced(msgspec.Struct, frozen=True):
    base_offset: int


class Requests:
    """Serves the methods; `parts` and the rest are there once the node is a member."""

    def __init__(self, forming: formation.Formation) -> None:
        self._forming = forming
        self._parts: Parts | None = None
        self._flank: flank.Flank | None = None
        self._transfers: transfer.Transfers | None = None

    def attach(self, parts: Parts, flanking: flank.Flank, transfers: transfer.Transfers) -> None:
        self._parts, self._flank, self._transfers = parts, flanking, transfers

    async def serve(self, method: str, body: bytes, bulk: memoryview) -> bytes:
        """The response's body. Raises KafkaError."""
        if method == formation.METHOD:
            return msgspec.msgpack.encode(self._forming.state)
        if self._parts is None or self._flank is None or self._transfers is None:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "this broker is still starting")
        try:
            match method:
                case controller.METHOD:
                    return await self._parts.controller.serve(body)
                case joining.METHOD:
                    return await joining.serve(self._parts, body)
                case leaving.METHOD:
                    return leaving.serve(self._parts, body)
                case flank.REGISTER | flank.REMOVE:
                    return await self._flank.serve(method, body)
                case transfer.METHOD | transfer.BY_HAND:
                    return await self._transfers.serve(method, body)
                case _ if method == PRODUCE:
                    return await self._produce(body, bulk)
        except (msgspec.MsgspecError, ValueError) as error:  # also: not a UUID
            raise KafkaError(ErrorCode.INVALID_REQUEST, str(error)) from error
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"no method {method!r} between brokers")

    async def _produce(self, body: bytes, bulk: memoryview) -> bytes:
        asked = msgspec.msgpack.decode(body, type=Produce)
        assert self._parts is not None
        offset = await append_here(self._parts, asked, bulk)
        return msgspec.msgpack.encode(Produced(offset))


async def append_here(parts: Parts, asked: Produce, batch: batches.Buffer) -> int:
    """Append one batch with acks=all to a partition that this broker leads; its base offset.

    The log gets a copy of its own: a batch that failed here may be tried again elsewhere.
    """
    owned = bytearray(batch)
    header = batches.validate_produced(owned)
    partition = parts.shelf.get(uuid.UUID(asked.topic_id), asked.index)
    if partition is None:
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, None)
    appended = await partition.append(memoryview(owned), header, -1, asked.timeout_ms)
    return appended.base_offset


async def append_anywhere(parts: Parts, asked: Produce, batch: batches.Buffer) -> int:
    """The same, wherever the partition is led: here, or forwarded once to the leader."""
    group = group_name(uuid.UUID(asked.topic_id), asked.index)
    leader = parts.leaders.get(group).leader_id
    if leader == parts.settings.node_id:
        return await append_here(parts, asked, batch)
    if leader == -1:
        raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, None)
    body = msgspec.msgpack.encode(asked)
    try:
        answer = await parts.peers.request(
            leader, PRODUCE, body, (batch,), timeout_ms=asked.timeout_ms
        )
    except (PeerLost, TimeoutError) as error:
        raise KafkaError(ErrorCode.NETWORK_EXCEPTION, str(error)) from error
    return msgspec.msgpack.decode(answer, type=Produced).base_offset
