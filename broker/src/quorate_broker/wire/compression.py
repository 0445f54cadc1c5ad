"""Decompression of record batches, each codec with a cap on its output.

Batches pass through the broker as they came; only what must look at single records comes here
(compaction, recompression, the HTTP Proxy, tests). A few kilobytes may claim to be gigabytes, so
every codec is asked for one byte more than the cap and no further. Compression is here for the
proxy and the tests. Next: `records`.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from enum import IntEnum

import cramjam
import lz4.frame
import zstandard


class Codec(IntEnum):
    """The low three bits of a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


class CompressionError(Exception):
    """The payload is not what its codec says, or grows beyond the cap."""


_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_SIZE = 16  # magic, version, least compatible version
_XERIAL_BLOCK = 32 * 1024
_LENGTH = struct.Struct(">i")


def compress(codec: Codec, payload: bytes) -> bytes:
    """`payload` as Kafka's own producer would compress it."""
    match codec:
        case Codec.NONE:
            return payload
        case Codec.GZIP:
            return gzip.compress(payload, mtime=0)
        case Codec.SNAPPY:
            return _compress_xerial(payload)
        case Codec.LZ4:
            return bytes(lz4.frame.compress(payload))
        case Codec.ZSTD:
            return zstandard.ZstdCompressor().compress(payload)


def decompress(codec: int, payload: memoryview, cap: int) -> bytes:
    """The bytes behind `payload`, at most `cap` of them; raises CompressionError."""
    reader = _READERS.get(codec)
    if reader is None:
        raise CompressionError(f"unknown codec {codec}")
    try:
        plain = reader(payload, cap)
    except (EOFError, RuntimeError, ValueError, zlib.error, zstandard.ZstdError) as error:
        raise CompressionError(f"not {Codec(codec).name.lower()}: {error}") from error
    except cramjam.DecompressionError as error:
        raise CompressionError(f"not {Codec(codec).name.lower()}: {error}") from error
    if len(plain) > cap:
        raise CompressionError(f"grows beyond {cap} bytes")
    return plain


def _none(payload: memoryview, cap: int) -> bytes:
    return bytes(payload[: cap + 1])


def _gzip(payload: memoryview, cap: int) -> bytes:
    plain = bytearray()
    rest: memoryview | bytes = payload
    while rest and len(plain) <= cap:  # members may follow each other (RFC 1952, 2.2)
        member = zlib.decompressobj(wbits=31)
        plain += member.decompress(rest, cap + 1 - len(plain))
        if not member.eof and len(plain) <= cap:
            raise EOFError("cut short")
        rest = member.unused_data
    return bytes(plain)


def _snappy(payload: memoryview, cap: int) -> bytes:
    if payload[: len(_XERIAL_MAGIC)] != _XERIAL_MAGIC:  # librdkafka sends one bare block
        return _snappy_block(payload, cap)
    plain = bytearray()
    at = _XERIAL_HEADER_SIZE
    while at < len(payload) and len(plain) <= cap:
        if at + 4 > len(payload):
            raise EOFError("cut short")
        size = _LENGTH.unpack_from(payload, at)[0]
        at += 4
        if not 0 <= size <= len(payload) - at:
            raise EOFError("cut short")
        plain += _snappy_block(payload[at : at + size], cap - len(plain))
        at += size
    return bytes(plain)


def _snappy_block(block: memoryview, cap: int) -> bytes:
    if _snappy_size(block) > cap:
        raise CompressionError(f"grows beyond {cap} bytes")
    return bytes(memoryview(cramjam.snappy.decompress_raw(block)))


def _snappy_size(block: memoryview) -> int:
    """A block opens with its plain size: little-endian groups of seven bits."""
    size = 0
    for position, byte in enumerate(block[:5]):
        size |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return size
    raise EOFError("no length")


def _compress_xerial(payload: bytes) -> bytes:
    out = bytearray(_XERIAL_MAGIC + struct.pack(">ii", 1, 1))
    for at in range(0, len(payload), _XERIAL_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(payload[at : at + _XERIAL_BLOCK]))
        out += _LENGTH.pack(len(block)) + block
    return bytes(out)


def _lz4(payload: memoryview, cap: int) -> bytes:
    frame = lz4.frame.LZ4FrameDecompressor()
    plain = frame.decompress(payload, cap + 1)
    if not frame.eof and len(plain) <= cap:
        raise EOFError("cut short")
    return bytes(plain)


def _zstd(payload: memoryview, cap: int) -> bytes:
    # The window is memory taken before a byte comes out; 128 MiB is what Kafka's library allows.
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    with decompressor.stream_reader(payload, read_across_frames=True) as stream:
        return stream.read(cap + 1)


_READERS: dict[int, Callable[[memoryview, int], bytes]] = {
    Codec.NONE: _none,
    Codec.GZIP: _gzip,
    Codec.SNAPPY: _snappy,
    Codec.LZ4: _lz4,
    Codec.ZSTD: _zstd,
}
