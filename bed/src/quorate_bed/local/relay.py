"""The way into the cluster from an ordinary shell: a port on 127.0.0.1 that leads to the API
server.

A socket belongs to the network namespace in which it was made. The listening one was made outside,
before the step into the namespaces; the connections it leads to are made inside.
"""

import asyncio
import socket

CHUNK = 1 << 16


async def serve(listener: socket.socket, host: str, port: int) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _lead(reader, writer, host, port)

    return await asyncio.start_server(connected, sock=listener)


async def _lead(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
) -> None:
    try:
        inner_reader, inner_writer = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    async with asyncio.TaskGroup() as both:
        both.create_task(_copy(reader, inner_writer))
        both.create_task(_copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass  # either end may go at any time; the other one is told by the close below
    finally:
        writer.close()
