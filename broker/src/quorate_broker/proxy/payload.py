"""Bodies of the HTTP Proxy: media types in, records out, answers back. Pure.

The Content-Type says how keys and values are written: as JSON, which goes into the log as compact
JSON text with every digit kept, or as base64 of arbitrary bytes. Everything wrong with a body is a
`Refusal` with the status and code that Redpanda's and Confluent's clients know.
"""

from __future__ import annotations

import base64
import binascii
import enum
from typing import Annotated

import msgspec

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.proxy.port import Placed, ProxyRecord

CONTROL = "application/vnd.kafka.v2+json"
ACCEPTABLE = (CONTROL, "application/vnd.kafka+json", "application/json")
WILDCARDS = ("*/*", "application/*")

MAX_RECORDS = 10_000
"""Of one request: they are handled in one go on the event loop."""


class Format(enum.StrEnum):
    """How keys and values are embedded; the values are the media types."""

    JSON = "application/vnd.kafka.json.v2+json"
    BINARY = "application/vnd.kafka.binary.v2+json"


class Refusal(Exception):
    """A request that cannot be met: `code` is the HTTP status, or the status times 100 and more."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        return self.code if self.code < 1000 else self.code // 100


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    value: msgspec.Raw = msgspec.Raw(b"null")
    key: msgspec.Raw = msgspec.Raw(b"null")
    partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    records: list[_Record]


_body_decoder = msgspec.json.Decoder(_Body)
_text_decoder = msgspec.json.Decoder(str)


def response_type(accept: str | None) -> str:
    """The media type to answer with; Refusal 406 if we have none that is wanted."""
    if accept is None or not accept.strip():
        return CONTROL
    wanted = {_essence(part) for part in accept.split(",")}
    for ours in ACCEPTABLE:
        if ours in wanted:
            return ours
    if wanted.intersection(WILDCARDS):
        return CONTROL
    raise Refusal(406, f"can answer {CONTROL}, not {accept}")


def record_format(content_type: str | None) -> Format:
    """How the records are embedded; Refusal 415."""
    try:
        return Format(_essence(content_type or ""))
    except ValueError:
        given = content_type or "a body without Content-Type"
        raise Refusal(415, f"takes {Format.JSON} and {Format.BINARY}, not {given}") from None


def _essence(media_type: str) -> str:
    """Without parameters (charset, q), in lower case."""
    return media_type.partition(";")[0].strip().lower()


def records(body: bytes, form: Format) -> list[ProxyRecord]:
    """The records of a POST /topics/{t}; Refusal 422."""
    try:
        decoded = _body_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(422, f"malformed body: {error}") from None
    if not 1 <= len(decoded.records) <= MAX_RECORDS:
        raise Refusal(422, f"records: 1 to {MAX_RECORDS} in one request")
    read = _json_bytes if form is Format.JSON else _base64_bytes
    found = []
    for index, record in enumerate(decoded.records):
        try:
            key, value = read(record.key), read(record.value)
        except (ValueError, RecursionError) as error:
            raise Refusal(422, f"records[{index}]: {error}") from None
        if key is None and value is None:
            raise Refusal(422, f"records[{index}]: needs a value or a key")
        found.append(ProxyRecord(key, value, record.partition))
    return found


def _json_bytes(raw: msgspec.Raw) -> bytes | None:
    """Compact, with numbers as they were written; null means none."""
    compact = msgspec.json.format(bytes(raw), indent=-1)
    return None if compact == b"null" else compact


def _base64_bytes(raw: msgspec.Raw) -> bytes | None:
    if bytes(raw) == b"null":
        return None
    try:
        return base64.b64decode(_text_decoder.decode(raw), validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise ValueError("keys and values must be base64 text or null") from None


def produced(placed: list[Placed]) -> dict[str, object]:
    """The answer to a POST: a failed record has Kafka's own error code, in a 200."""
    return {"offsets": [_offset(one) for one in placed]}


def _offset(one: Placed) -> dict[str, object]:
    if one.error is ErrorCode.NONE:
        return {"partition": one.partition, "offset": one.offset}
    return {
        "partition": one.partition,
        "offset": -1,
        "error_code": int(one.error),
        "error": one.error.name,
    }


CODES = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: 40402,
    ErrorCode.INVALID_TOPIC_EXCEPTION: 40002,
    ErrorCode.INVALID_REQUEST: 40002,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: 40301,
    ErrorCode.CLUSTER_AUTHORIZATION_FAILED: 40301,
    ErrorCode.LEADER_NOT_AVAILABLE: 50302,
    ErrorCode.BROKER_NOT_AVAILABLE: 50302,
    ErrorCode.NETWORK_EXCEPTION: 50302,
}
RETRIABLE = 50003
OTHER = 50002


def refusal_of(error: KafkaError) -> Refusal:
    """Kafka's error as the proxy's."""
    code = CODES.get(error.code, RETRIABLE if error.code.retriable else OTHER)
    return Refusal(code, str(error))
