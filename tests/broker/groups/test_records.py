from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate_broker.groups import records
from quorate_broker.groups.records import (
    GroupKey,
    GroupValue,
    MemberValue,
    OffsetKey,
    OffsetValue,
)
from quorate_broker.wire.batch import Record

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
i32 = st.integers(-(1 << 31), (1 << 31) - 1)
i64 = st.integers(-(1 << 63), (1 << 63) - 1)
wall = st.integers(0, 1 << 45)
offset_values = st.builds(
    OffsetValue, offset=i64, leader_epoch=i32, metadata=names, commit_wall_ms=wall
)
member_values = st.builds(
    MemberValue,
    member_id=names,
    instance_id=st.none() | names,
    client_id=names,
    client_host=names,
    rebalance_timeout_ms=i32,
    session_timeout_ms=i32,
    subscription=st.binary(),
    assignment=st.binary(),
)
group_values = st.builds(
    GroupValue,
    protocol_type=names,
    generation=i32,
    protocol=st.none() | names,
    leader=st.none() | names,
    changed_wall_ms=i64,
    members=st.lists(member_values, max_size=4).map(tuple),
)


@given(st.builds(OffsetKey, names, names, i32), st.none() | offset_values)
def test_an_offset_survives_its_record(key: OffsetKey, value: OffsetValue | None) -> None:
    assert records.parse(records.offset_record(key, value)) == (key, value)


@given(names, st.none() | group_values)
def test_a_group_survives_its_record(group_id: str, value: GroupValue | None) -> None:
    assert records.parse(records.group_record(group_id, value)) == (GroupKey(group_id), value)


def test_an_offset_is_written_in_kafkas_bytes() -> None:
    record = records.offset_record(
        OffsetKey("grp", "topic", 5), OffsetValue(9, 2, "note", commit_wall_ms=256)
    )
    assert record.key == bytes.fromhex("0001 0003 677270 0005 746f706963 00000005")
    assert record.value == bytes.fromhex(
        "0003 0000000000000009 00000002 0004 6e6f7465 0000000000000100"
    )


def test_an_offset_with_its_own_time_to_live_is_written_as_version_1() -> None:
    value = OffsetValue(9, -1, "", commit_wall_ms=256, expire_wall_ms=512)
    record = records.offset_record(OffsetKey("grp", "topic", 5), value)
    assert record.value == bytes.fromhex(
        "0001 0000000000000009 0000 0000000000000100 0000000000000200"
    )
    assert records.parse(record) == (OffsetKey("grp", "topic", 5), value)


def test_a_group_is_written_in_kafkas_bytes() -> None:
    member = MemberValue("m1", None, "c", "/h", 7, 8, b"\x01", b"\x02\x03")
    record = records.group_record("g", GroupValue("consumer", 4, "range", "m1", 256, (member,)))
    assert record.key == bytes.fromhex("0002 0001 67")
    assert record.value == bytes.fromhex(
        "0003 0008 636f6e73756d6572 00000004 0005 72616e6765 0002 6d31 0000000000000100"
        "00000001 0002 6d31 ffff 0001 63 0002 2f68 00000007 00000008 00000001 01 00000002 0203"
    )


def test_older_versions_of_kafkas_values_are_read() -> None:
    key = records.offset_record(OffsetKey("g", "t", 0), None).key
    v0 = bytes.fromhex("0000 0000000000000009 0001 78 0000000000000100")
    assert records.parse(Record(key, v0)) == (
        OffsetKey("g", "t", 0),
        OffsetValue(9, -1, "x", 256),
    )
    group_v0 = bytes.fromhex(
        "0000 0001 63 00000004 0001 72 0001 6d 00000001 0001 6d 0000 0000 0000000800000000 00000000"
    )
    assert records.parse(Record(bytes.fromhex("0002 0001 67"), group_v0)) == (
        GroupKey("g"),
        GroupValue("c", 4, "r", "m", -1, (MemberValue("m", None, "", "", 8, 8, b"", b""),)),
    )


def test_keys_of_other_kinds_are_left_alone() -> None:
    assert records.parse(Record(bytes.fromhex("0003 0001 67"), b"anything")) is None


@given(st.binary(max_size=60), st.binary(max_size=80))
def test_bytes_that_are_no_record_are_an_error_and_nothing_worse(key: bytes, value: bytes) -> None:
    try:
        parsed = records.parse(Record(b"\x00" + key, value))
    except records.RecordError:
        return
    assert parsed is None or isinstance(parsed, tuple)


@pytest.mark.parametrize("value", ["0005 00", "0003 0000000000000009 00000002 7fff 00", "0003"])
def test_values_that_are_newer_or_cut_short_are_errors(value: str) -> None:
    key = records.offset_record(OffsetKey("g", "t", 0), None).key
    with pytest.raises(records.RecordError):
        records.parse(Record(key, bytes.fromhex(value)))
