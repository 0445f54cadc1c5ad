"""Configurations as Kafka's clients see them: every key with its value, and where that came from.

The registry (`config.SETTINGS`) says what can be set. Beside it stand a few keys of Kafka's that
clients set or look for as a matter of course and for which this broker knows one way only: setting
them to that way is fine, anything else is refused in words rather than swallowed.
Next: `describe_configs` and `create_topics`, which use this.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from quorate_broker import config
from quorate_broker.config.live import text_of
from quorate_broker.config.setting import Kind


class Resource(enum.IntEnum):
    """Kafka's codes of what has a configuration (they are not those of the ACLs)."""

    TOPIC = 2
    BROKER = 4


class Source(enum.IntEnum):
    """Where a value came from; Kafka's codes."""

    TOPIC = 1
    ONE_BROKER = 2
    ALL_BROKERS = 3
    STATIC_BROKER = 4
    DEFAULT = 5


class Type(enum.IntEnum):
    """Kafka's codes of configuration types."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    LONG = 5
    DOUBLE = 6
    LIST = 7


@dataclass(frozen=True, slots=True)
class Entry:
    """One key."""

    name: str
    value: str
    source: Source
    type: Type
    doc: str
    read_only: bool
    synonyms: tuple[tuple[str, str, Source], ...]
    """(name, value, source) of everything that could have given the value, the winner first."""


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A key with one possible value."""

    value: str
    type: Type
    doc: str


_FIXED = {
    "compression.type": _Fixed("producer", Type.STRING, "Batches stay as they were produced."),
    "message.timestamp.type": _Fixed("CreateTime", Type.STRING, "Whose time records carry."),
    "unclean.leader.election.enable": _Fixed(
        "false", Type.BOOLEAN, "Only a replica that has every acknowledged record can lead."
    ),
}

_INT_MAX = (1 << 31) - 1
_RETENTION_MS, _RETENTION_HOURS = "log.retention.ms", "log.retention.hours"


class BadConfig(Exception):
    """A topic may not be configured so; the text says why."""


def check_topic(pairs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """The configuration of a new topic; raises BadConfig."""
    checked: dict[str, str] = {}
    for name, value in pairs:
        if value is None:
            raise BadConfig(f"Null value not supported for topic configs: {name}")
        fixed = _FIXED.get(name)
        if fixed is not None:
            if value.strip() != fixed.value:
                raise BadConfig(f"{name}: {fixed.value} is the only value supported, not {value}")
            continue
        row = config.TOPIC_SETTINGS.get(name)
        if row is None:
            raise BadConfig(f"Unknown topic config name: {name}")
        try:
            checked[name] = text_of(row.parse(value))
        except ValueError as error:
            raise BadConfig(f"Invalid value {value} for configuration {name}: {error}") from error
    return checked


def is_known(name: str) -> bool:
    """Whether a topic has such a key."""
    return name in _FIXED or name in config.TOPIC_SETTINGS


def of_topic(live: config.Live, own: Mapping[str, str]) -> Iterator[Entry]:
    """Every key of a topic that has set `own`."""
    for name, row in config.TOPIC_SETTINGS.items():
        inherited = tuple(_broker_synonyms(live, row))
        synonyms = ((name, own[name], Source.TOPIC), *inherited) if name in own else inherited
        yield _entry(name, row, synonyms, read_only=False)
    for name, fixed in _FIXED.items():
        # Internal topics are made by the broker itself, which may know more ways than one.
        source = Source.TOPIC if name in own else Source.DEFAULT
        value = own.get(name, fixed.value)
        # Kafka calls no key of a topic read-only, and this one may be set: to what it is.
        yield Entry(name, value, source, fixed.type, fixed.doc, False, ((name, value, source),))


def of_all_brokers(live: config.Live) -> Iterator[Entry]:
    """What the cluster sets for all of them."""
    for name, value in live.said.everybody.items():
        if (row := config.SETTINGS.get(name)) is not None:
            yield _entry(name, row, ((name, value, Source.ALL_BROKERS),), read_only=False)


def of_broker(live: config.Live) -> Iterator[Entry]:
    """Every key of this broker."""
    settings = live.now
    for name, row in config.SETTINGS.items():
        read_only = row.scope is config.Scope.NODE or name in live.pinned
        yield _entry(name, row, tuple(_broker_synonyms(live, row)), read_only=read_only)
    # Kafka's own names of what the registry holds under others: clients and consoles look for them.
    fixed = tuple(each for each in settings.listeners if not each.is_told)
    advertised = text_of(fixed)
    doc = "Addresses told to clients; set with listeners."
    yield _static("advertised.listeners", advertised, Type.LIST, doc)
    yield _static("broker.id", str(settings.node_id), Type.INT, "The same as node.id.")


def _static(name: str, value: str, kind: Type, doc: str) -> Entry:
    source = Source.STATIC_BROKER
    return Entry(name, value, source, kind, doc, True, ((name, value, source),))


def _entry(
    name: str,
    row: config.Setting,
    synonyms: tuple[tuple[str, str, Source], ...],
    *,
    read_only: bool,
) -> Entry:
    _, value, source = synonyms[0]
    return Entry(name, value, source, _type(row), row.doc, read_only, synonyms)


def _broker_synonyms(live: config.Live, row: config.Setting) -> Iterator[tuple[str, str, Source]]:
    """The winner first, in the order that `config.live` has."""
    said, name = live.said, row.name
    if name == _RETENTION_MS and not {name, _RETENTION_HOURS}.isdisjoint(said.everybody):
        source = Source.ALL_BROKERS  # the hours count where nobody gave milliseconds
        yield name, said.everybody.get(name, text_of(live.now[name])), source
    elif name in live.pinned or row.scope is config.Scope.NODE or not said.version:
        if live.file[name] != row.default:
            yield name, text_of(live.file[name]), Source.STATIC_BROKER
    else:
        if name in said.own:
            yield name, said.own[name], Source.ONE_BROKER
        if name in said.everybody:
            yield name, said.everybody[name], Source.ALL_BROKERS
    yield name, text_of(row.default), Source.DEFAULT


def _type(row: config.Setting) -> Type:
    match row.kind:
        case Kind.BOOLEAN:
            return Type.BOOLEAN
        case Kind.INTEGER:
            small = row.maximum is not None and row.maximum <= _INT_MAX
            return Type.INT if small else Type.LONG
        case Kind.NUMBER:
            return Type.DOUBLE
        case Kind.STRING:
            return Type.STRING
        case _:
            return Type.LIST
