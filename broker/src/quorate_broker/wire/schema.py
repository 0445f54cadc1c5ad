"""How a message is written down: a dataclass per struct, one for all versions.

    @struct
    class PartitionProduceData:
        index: int = field("int32")
        records: Records = field("records", nullable="0+")

    @message(versions=(3, 11), flexible=9)
    class ProduceRequest:
        transactional_id: str | None = field("string", "3+", nullable="3+", default=None)
        topic_data: Sequence[TopicProduceData] = array(TopicProduceData)

A field names its Kafka type, the versions that carry it ("0+", "3-7", "2"), the versions in which
it may be null, its default where a version lacks it (otherwise the type's zero), and its tag if it
is a tagged field; a tagged field is tagged in all of its versions. A tagged struct is None when it
is absent. Names are those of Kafka's own definitions in snake_case; `tests/conformance` compares
the tables with those definitions. Arrays are any sequence when written, tuples when read.

Messages are not frozen: a Fetch request is hundreds of these objects, and a frozen one takes three
times as long to make. Treat them as values all the same. Next: `codec`.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

Buffer = bytes | bytearray | memoryview
Records = Sequence[Buffer] | Buffer | None
"""Record batches: a memoryview when read; when written, buffers that go out one after the other."""

T = TypeVar("T")

ZERO_UUID = uuid.UUID(int=0)

FIXED = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "float64": "d",
    "uuid": "16s",
}
"""Types of fixed size, by their `struct` letter."""

_ZEROS: dict[str, object] = {
    **dict.fromkeys(FIXED, 0),
    "bool": False,
    "float64": 0.0,
    "uuid": ZERO_UUID,
    "string": "",
    "bytes": b"",
    "records": None,
}
_UNSET = object()
_NO_LAST = 1 << 15


@dataclass(frozen=True, slots=True)
class Versions:
    """A range of versions, both ends included."""

    first: int
    last: int

    def __contains__(self, version: int) -> bool:
        return self.first <= version <= self.last

    @staticmethod
    def parse(text: str) -> Versions:
        """ "3+", "3-7", "3" or "none"."""
        if text == "none":
            return Versions(1, 0)
        if text.endswith("+"):
            return Versions(int(text[:-1]), _NO_LAST)
        first, _, last = text.partition("-")
        return Versions(int(first), int(last or first))


@dataclass(frozen=True, slots=True)
class Field:
    """How one field lies on the wire."""

    name: str
    type: str | type
    """A Kafka primitive's name, or the dataclass of a struct; of the elements if an array."""
    is_array: bool
    versions: Versions
    nullable: Versions
    default: object
    tag: int | None

    @property
    def is_struct(self) -> bool:
        return not isinstance(self.type, str)

    @property
    def empty(self) -> object:
        """The value of its type that is nearest to null."""
        return () if self.is_array else _ZEROS.get(str(self.type))


@dataclass(frozen=True, slots=True)
class Message:
    """What a top-level message says of itself."""

    versions: Versions
    flexible: Versions


def field(
    kind: str | type,
    versions: str = "0+",
    *,
    nullable: str = "none",
    default: object = _UNSET,
    tag: int | None = None,
) -> Any:
    """A field of a primitive type or of one nested struct."""
    if default is _UNSET:
        default = _ZEROS[kind] if isinstance(kind, str) else None
    wire = Field("", kind, False, Versions.parse(versions), Versions.parse(nullable), default, tag)
    return dataclasses.field(default=default, metadata={"wire": wire})


def array(
    of: str | type,
    versions: str = "0+",
    *,
    nullable: str = "none",
    default: object = (),
    tag: int | None = None,
) -> Any:
    """A field that is an array of `of`."""
    wire = Field("", of, True, Versions.parse(versions), Versions.parse(nullable), default, tag)
    return dataclasses.field(default=default, metadata={"wire": wire})


@dataclass_transform(kw_only_default=True)
def struct(cls: type[T]) -> type[T]:
    """A struct inside messages."""
    made = dataclass(slots=True)(cls)
    _FIELDS[made] = tuple(
        dataclasses.replace(part.metadata["wire"], name=part.name)
        for part in dataclasses.fields(made)  # type: ignore[arg-type]
    )
    return made


@dataclass_transform(kw_only_default=True)
def message(
    *, versions: tuple[int, int], flexible: int | None = None
) -> Callable[[type[T]], type[T]]:
    """A top-level message, its versions (both ends included) and the first flexible one."""

    def decorate(cls: type[T]) -> type[T]:
        made = struct(cls)
        first_flexible = Versions.parse("none") if flexible is None else Versions(flexible, 1 << 15)
        _MESSAGES[made] = Message(Versions(*versions), first_flexible)
        return made

    return decorate


def fields_of(cls: type) -> tuple[Field, ...]:
    """The fields of a struct or message, in wire order."""
    return _FIELDS[cls]


def message_of(cls: type) -> Message:
    """What a top-level message says of itself."""
    return _MESSAGES[cls]


_FIELDS: dict[type, tuple[Field, ...]] = {}
_MESSAGES: dict[type, Message] = {}
