"""Arbitrary Kafka messages, drawn from the tables of `wire`: what codec tests are fed with."""

from __future__ import annotations

import random
import uuid
from typing import Any, TypeVar

from quorate_broker.errors import ErrorCode
from quorate_broker.wire import schema

T = TypeVar("T")

_NUMBERS = {"int8": 7, "int16": 15, "uint16": 16, "int32": 31, "uint32": 32, "int64": 63}
_ERROR_CODES = [code.value for code in ErrorCode]
_LETTERS = "aZ09-_.é漢"


def arbitrary(cls: type[T], version: int, source: random.Random) -> T:
    """A message of any content. Fields that `version` lacks keep their defaults.

    Error codes are ones that exist and times are ones that a calendar has, so that other
    implementations, which turn them into enums and dates, can read the message too.
    """
    return cls(
        **{
            part.name: _value(part, version, source)
            for part in schema.fields_of(cls)
            if version in part.versions
        }
    )


def _value(part: schema.Field, version: int, source: random.Random) -> Any:
    if version in part.nullable and source.random() < 0.25:
        return None
    if part.tag is not None and source.random() < 0.5:
        return part.default
    if not part.is_array:
        return _element(part, version, source)
    return tuple(_element(part, version, source) for _ in range(source.randrange(4)))


def _element(part: schema.Field, version: int, source: random.Random) -> Any:
    kind = part.type
    if not isinstance(kind, str):
        return arbitrary(kind, version, source)
    if part.name.endswith("error_code"):
        return source.choice(_ERROR_CODES)
    if part.name.endswith(("_ms", "timestamp")):
        return source.randrange(1 << min(_NUMBERS[kind], 41))
    if kind in _NUMBERS:
        return _number(kind, source)
    match kind:
        case "bool":
            return source.random() < 0.5
        case "float64":
            return float(source.randrange(1000))
        case "uuid":
            return uuid.UUID(int=source.getrandbits(128))
        case "string":
            return "".join(source.choice(_LETTERS) for _ in range(_length(source)))
        case _:
            return bytes(source.randrange(256) for _ in range(_length(source)))


def _number(kind: str, source: random.Random) -> int:
    magnitude = source.randrange(1 << source.randrange(1, _NUMBERS[kind] + 1))
    return magnitude if kind.startswith("u") or source.random() < 0.7 else -magnitude


def _length(source: random.Random) -> int:
    """Mostly short; now and then beyond what one byte of a varint can say."""
    return source.randrange(12) if source.random() < 0.95 else source.randrange(120, 140)
