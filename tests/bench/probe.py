"""A pass-through probe: the least that a durable broker in Python can do with a Produce.

It accepts one partition's batches, checks their CRC, appends them to one file, syncs in groups
and answers; no Raft, index, offsets of its own, or second client. What it reaches is the ceiling
of our data path, and the distance to it is what the rest of the broker costs. ApiVersions,
Metadata and InitProducerId are answered by the broker's own codec, outside of what is measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import crc32c

from quorate_broker.wire import frames
from quorate_broker.wire.apis import APIS, ApiKey
from quorate_broker.wire.messages import api_versions, metadata, produce

BUFFER = 4 << 20
PARTITION = 0
PREALLOCATE = 16 << 20


class Flusher(threading.Thread):
    """Collects what arrives while it syncs, writes it at once, syncs once, wakes all."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._loop = loop
        self._ready = threading.Event()
        self._pending: list[tuple[bytes, Connection, bytes]] = []
        self._at = 0
        self._allocated = 0

    def put(self, batch: bytes, connection: Connection, answer: bytes) -> None:
        self._pending.append((batch, connection, answer))
        self._ready.set()

    def run(self) -> None:
        while True:
            self._ready.wait()
            self._ready.clear()
            taken, self._pending = self._pending, []
            if not taken:
                continue
            size = sum(len(batch) for batch, _, _ in taken)
            while self._at + size > self._allocated:
                os.posix_fallocate(self._file, self._allocated, PREALLOCATE)
                self._allocated += PREALLOCATE
            for first in range(0, len(taken), 512):
                buffers = [batch for batch, _, _ in taken[first : first + 512]]
                self._at += os.pwritev(self._file, buffers, self._at)
            os.fdatasync(self._file)
            self._loop.call_soon_threadsafe(_answer, taken)


def _answer(taken: list[tuple[bytes, Connection, bytes]]) -> None:
    by_connection: dict[Connection, list[bytes]] = {}
    for _, connection, answer in taken:
        by_connection.setdefault(connection, []).append(answer)
    for connection, answers in by_connection.items():
        connection.transport.writelines(answers)


class Connection(asyncio.BufferedProtocol):
    """Cuts frames out of one buffer and passes batches on."""

    transport: asyncio.Transport

    def __init__(self, flusher: Flusher, port: int) -> None:
        self._flusher = flusher
        self._port = port
        self._buffer = bytearray(BUFFER)
        self._have = 0
        self._offset = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._have :]

    def buffer_updated(self, nbytes: int) -> None:
        self._have += nbytes
        at = 0
        while self._have - at >= 4:
            size = int.from_bytes(self._buffer[at : at + 4], "big")
            if self._have - at - 4 < size:
                break
            self._frame(memoryview(self._buffer)[at + 4 : at + 4 + size])
            at += 4 + size
        rest = self._have - at
        self._buffer[:rest] = self._buffer[at : self._have]
        self._have = rest

    def _frame(self, frame: memoryview) -> None:
        header, request = frames.decode_request(frame)
        if header.api_key == ApiKey.PRODUCE:
            self._produce(header, request)
        else:
            self.transport.writelines(frames.encode_response(header, self._other(request)))

    def _produce(self, header: frames.RequestHeader, request: produce.ProduceRequest) -> None:
        topic = request.topic_data[0]
        batch = bytes(topic.partition_data[0].records)
        stored = int.from_bytes(batch[17:21], "big")
        assert crc32c.crc32c(memoryview(batch)[21:]) == stored
        placed = produce.PartitionProduceResponse(index=PARTITION, base_offset=self._offset)
        self._offset += int.from_bytes(batch[57:61], "big")
        response = produce.ProduceResponse(
            responses=[produce.TopicProduceResponse(name=topic.name, partition_responses=[placed])]
        )
        answer = b"".join(frames.encode_response(header, response))
        self._flusher.put(batch, self, answer)

    def _other(self, request: object) -> object:
        if isinstance(request, metadata.MetadataRequest):
            return self._metadata(request)
        keys = (ApiKey.PRODUCE, ApiKey.METADATA, ApiKey.API_VERSIONS, ApiKey.FETCH)
        return api_versions.ApiVersionsResponse(
            api_keys=[
                api_versions.ApiVersion(
                    api_key=key,
                    min_version=APIS[key].min_version,
                    max_version=APIS[key].max_version,
                )
                for key in keys
            ]
        )

    def _metadata(self, request: metadata.MetadataRequest) -> metadata.MetadataResponse:
        partition = metadata.MetadataResponsePartition(
            partition_index=PARTITION, leader_id=1, replica_nodes=[1], isr_nodes=[1]
        )
        return metadata.MetadataResponse(
            brokers=[metadata.MetadataResponseBroker(node_id=1, host="127.0.0.1", port=self._port)],
            controller_id=1,
            topics=[
                metadata.MetadataResponseTopic(name=topic.name, partitions=[partition])
                for topic in request.topics or ()
            ],
        )


async def main(port: int, path: str) -> None:
    loop = asyncio.get_running_loop()
    flusher = Flusher(path, loop)
    flusher.start()
    server = await loop.create_server(lambda: Connection(flusher, port), "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
