"""Frames: headers around messages, in both directions.

    size u32 | api key i16 | api version i16 | correlation id i32 | client id | (tags) | request
    size u32 | correlation id i32 | (tags) | response

A flexible request has header v2, whose client id is still a string of the old kind; its response
has header v1. The response to ApiVersions always has header v0. `net` takes the size off before a
request comes here, and checks it against the limits before anything is buffered.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

from quorate_broker.errors import ErrorCode
from quorate_broker.wire import codec, primitives
from quorate_broker.wire.apis import APIS, BY_REQUEST, Api, ApiKey
from quorate_broker.wire.codec import WireError as WireError
from quorate_broker.wire.messages import api_versions
from quorate_broker.wire.schema import Buffer as Buffer

_SIZE = struct.Struct(">I")
_REQUEST = struct.Struct(">hhih")
_RESPONSE = struct.Struct(">i")
_SIZE_AND_RESPONSE = struct.Struct(">Ii")
_SIZE_AND_REQUEST = struct.Struct(">Ihhih")


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """What stands before every request."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None


class UnsupportedVersion(Exception):
    """An API or version that is not served. `reply` is the answer; None: close the connection."""

    def __init__(self, header: RequestHeader) -> None:
        super().__init__(f"API {header.api_key} v{header.api_version} is not served")
        self.header = header
        self.reply = _version_refused(header) if header.api_key == ApiKey.API_VERSIONS else None


def decode_request(frame: memoryview) -> tuple[RequestHeader, Any]:
    """The header and message of one frame (without its size).

    Raises UnsupportedVersion, or WireError if the frame is malformed. Bytes behind the message are
    left alone, as Kafka does. Records are slices of `frame`.
    """
    header, at = _decode_header(frame)
    api = APIS.get(header.api_key)
    if api is None or not api.reads(header.api_version):
        raise UnsupportedVersion(header)
    if header.api_version >= api.first_flexible:
        at = _skip_header_tags(frame, at)
    message, _ = codec.decode(api.request, header.api_version, frame, at)
    return header, message


def encode_response(header: RequestHeader, message: object) -> list[Buffer]:
    """The whole frame of the response to `header`, size included, to be sent piece by piece."""
    api = APIS[header.api_key]
    assert type(message) is api.response, f"{type(message).__name__} does not answer {api.key.name}"
    head = bytearray(_SIZE_AND_RESPONSE.pack(0, header.correlation_id))
    if _response_has_tags(api, header.api_version):
        head.append(0)
    return _frame(head, message, header.api_version)


def encode_request(
    message: object, version: int, correlation_id: int, client_id: str | None = None
) -> list[Buffer]:
    """The whole frame of a request, as a client sends it."""
    api = BY_REQUEST[type(message)]
    name = b"" if client_id is None else client_id.encode()
    size = -1 if client_id is None else len(name)
    head = bytearray(_SIZE_AND_REQUEST.pack(0, api.key, version, correlation_id, size))
    head += name
    if version >= api.first_flexible:
        head.append(0)
    return _frame(head, message, version)


def decode_response(api_key: int, version: int, frame: memoryview) -> tuple[int, Any]:
    """Correlation id and message of a response (without its size), as a client reads it."""
    api = APIS[api_key]
    if len(frame) < _RESPONSE.size:
        raise WireError("a response without a header")
    correlation_id: int = _RESPONSE.unpack_from(frame)[0]
    at = _RESPONSE.size
    if _response_has_tags(api, version):
        at = _skip_header_tags(frame, at)
    return correlation_id, codec.decode(api.response, version, frame, at)[0]


def _decode_header(frame: memoryview) -> tuple[RequestHeader, int]:
    try:
        key, version, correlation_id, size = _REQUEST.unpack_from(frame)
    except struct.error:
        raise WireError("a request header is cut short") from None
    at = _REQUEST.size
    if size == -1:
        return RequestHeader(key, version, correlation_id, None), at
    end = at + size
    if size < 0 or end > len(frame):
        raise WireError("a client id reaches beyond its frame")
    # Client ids are for people: one that is not UTF-8 is no reason to close a connection.
    client_id = str(frame[at:end], "utf-8", "replace")
    return RequestHeader(key, version, correlation_id, client_id), end


def _skip_header_tags(frame: memoryview, at: int) -> int:
    try:
        return primitives.skip_tags(frame, at + 1, frame[at], len(frame))
    except IndexError:
        raise WireError("a header is cut short") from None


def _response_has_tags(api: Api, version: int) -> bool:
    return version >= api.first_flexible and api.key is not ApiKey.API_VERSIONS


def _frame(head: bytearray, message: object, version: int) -> list[Buffer]:
    out: list[Buffer] = []
    out.append(codec.encode_into(message, version, head, out))
    _SIZE.pack_into(head, 0, sum(map(len, out)) - _SIZE.size)
    return out


def _version_refused(header: RequestHeader) -> list[Buffer]:
    """The v0 answer to an ApiVersions request newer than ours: 35, and our own range."""
    served = APIS[ApiKey.API_VERSIONS]
    own_range = api_versions.ApiVersion(
        api_key=served.key, min_version=served.min_version, max_version=served.max_version
    )
    message = api_versions.ApiVersionsResponse(
        error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=(own_range,)
    )
    return encode_response(replace(header, api_version=0), message)
