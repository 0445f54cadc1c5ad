"""Our message tables say what Kafka's own definitions say: field by field, version by version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from quorate_broker.wire import schema
from quorate_broker.wire.apis import APIS
from quorate_broker.wire.messages import consumer_protocol, group_records

Definition = dict[str, Any]
Fields = list[dict[str, Any]]

OTHERS = (
    group_records.OffsetCommitKey,
    group_records.OffsetCommitValue,
    group_records.GroupMetadataKey,
    group_records.GroupMetadataValue,
    consumer_protocol.ConsumerProtocolSubscription,
    consumer_protocol.ConsumerProtocolAssignment,
)
MESSAGES = [*(cls for api in APIS.values() for cls in (api.request, api.response)), *OTHERS]


def versions_of(cls: type) -> range:
    versions = schema.message_of(cls).versions
    return range(versions.first, versions.last + 1)


VERSIONED = [
    pytest.param(cls, version, id=f"{cls.__name__}-v{version}")
    for cls in MESSAGES
    for version in versions_of(cls)
]


# A field as both sides describe it: (path, type, array, nullable, tag, default).
Described = tuple[str, str, bool, bool, int | None, object]


def ours(cls: type, version: int, path: str = "") -> Iterator[Described]:
    for part in schema.fields_of(cls):
        if version not in part.versions:
            continue
        here = f"{path}/{part.name}"
        kind = part.type if isinstance(part.type, str) else "struct"
        nullable = version in part.nullable
        default = None if part.is_array or part.is_struct else part.default
        yield here, kind, part.is_array, nullable, part.tag, default
        if isinstance(part.type, type):
            yield from ours(part.type, version, here)


def theirs(definition: Definition, version: int) -> Iterator[Described]:
    shared = {struct["name"]: struct["fields"] for struct in definition.get("commonStructs", [])}
    yield from _theirs(definition["fields"], shared, version, "")


def _theirs(
    fields: Fields, shared: dict[str, Fields], version: int, path: str
) -> Iterator[Described]:
    for part in fields:
        if not covers(part["versions"], version):
            continue
        here = f"{path}/{snake(part['name'])}"
        kind = part["type"].removeprefix("[]")
        is_array = kind != part["type"]
        is_struct = kind[0].isupper()
        nullable = covers(part.get("nullableVersions", "none"), version)
        tag = part["tag"] if covers(part.get("taggedVersions", "none"), version) else None
        default = None if is_array or is_struct else default_of(kind, part.get("default"))
        yield here, "struct" if is_struct else kind, is_array, nullable, tag, default
        if is_struct:
            nested = part.get("fields") or shared[kind]
            yield from _theirs(nested, shared, version, here)


def covers(text: str, version: int) -> bool:
    if text == "none":
        return False
    first, _, last = text.removesuffix("+").partition("-")
    return int(first) <= version and (text.endswith("+") or version <= int(last or first))


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def default_of(kind: str, text: object) -> object:
    if text == "null":
        return None
    if kind == "string":
        return text or ""
    if kind == "bool":
        return str(text).lower() == "true"
    if kind in ("bytes", "records"):
        return b"" if kind == "bytes" else None
    if kind == "uuid":
        return schema.ZERO_UUID
    return int(str(text or 0), 0)


def test_the_comparison_would_notice_a_difference(definitions: dict[str, Definition]) -> None:
    request, response = APIS[3].request, definitions["MetadataResponse"]
    assert list(ours(request, 12)) != list(theirs(response, 12))
    assert len(list(theirs(response, 12))) == 22


@pytest.mark.parametrize(("cls", "version"), VERSIONED)
def test_the_fields_are_those_of_kafka(
    cls: type, version: int, definitions: dict[str, Definition]
) -> None:
    mine, kafka = list(ours(cls, version)), list(theirs(definitions[cls.__name__], version))
    assert [field[:-1] for field in mine] == [field[:-1] for field in kafka]
    for (path, _, _, nullable, _, default), (*_, expected) in zip(mine, kafka, strict=True):
        # Where Kafka's classes have an empty string that may as well be null, ours have None.
        assert default == expected or (default is None and not expected), (path, nullable)


@pytest.mark.parametrize("cls", MESSAGES)
def test_versions_are_kafkas_and_the_same_ones_are_flexible(
    cls: type, definitions: dict[str, Definition]
) -> None:
    definition = definitions[cls.__name__]
    spec = schema.message_of(cls)
    for version in versions_of(cls):
        assert covers(definition["validVersions"], version)
        assert (version in spec.flexible) == covers(definition["flexibleVersions"], version)


def test_no_older_version_that_kafka_serves_is_missing(
    definitions: dict[str, Definition],
) -> None:
    for api in APIS.values():
        definition = definitions[api.request.__name__]
        assert definition["apiKey"] == api.key
        assert not covers(definition["validVersions"], api.first_read - 1), api.key.name


def test_kinds_of_group_keys_are_kafkas(definitions: dict[str, Definition]) -> None:
    for cls in (group_records.OffsetCommitKey, group_records.GroupMetadataKey):
        data = group_records.encode_key(cls())
        assert data[:2] == definitions[cls.__name__]["apiKey"].to_bytes(2, "big")
