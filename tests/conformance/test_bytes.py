"""A second opinion on bytes: what we write, kio reads and writes back the same."""

from __future__ import annotations

import importlib
import io
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode as TheirErrorCode
from kio.serial import entity_reader, entity_writer

from quorate_broker.errors import ErrorCode
from quorate_broker.testing.messages import arbitrary
from quorate_broker.wire import codec
from quorate_broker.wire.apis import APIS

VERSIONED = [
    pytest.param(cls, version, id=f"{cls.__name__}-v{version}")
    for api in APIS.values()
    for cls in (api.request, api.response)
    for version in range(api.first_read, api.max_version + 1)
]


def their_class(cls: type, version: int) -> type:
    name = cls.__name__
    direction = "request" if name.endswith("Request") else "response"
    api = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[: -len(direction)]).lower()
    return getattr(importlib.import_module(f"kio.schema.{api}.v{version}.{direction}"), name)


@pytest.mark.parametrize(("cls", "version"), VERSIONED)
@settings(max_examples=10)
@given(source=st.randoms(use_true_random=False))
def test_kio_reads_what_we_write_and_writes_the_same(
    cls: type, version: int, source: random.Random
) -> None:
    data = b"".join(codec.encode(arbitrary(cls, version, source), version))
    theirs = their_class(cls, version)
    message, size = entity_reader(theirs)(data, 0)
    assert size == len(data)
    with io.BytesIO() as out:
        entity_writer(theirs)(out, message)
        assert out.getvalue() == data


def test_the_error_table_is_the_same() -> None:
    assert {(code.name, code.value, code.retriable) for code in ErrorCode} == {
        (code.name.upper(), code.value, code.retriable) for code in TheirErrorCode
    }
