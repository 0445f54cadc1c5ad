from __future__ import annotations

import pytest

from quorate_broker.groups import placement


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("a", 97),
        ("hello", 99162322),
        ("polygenelubricants", -(1 << 31)),  # the classic one without a positive twin
        ("hello world", 1794106052),
        ("😀", 1772899),  # two UTF-16 units
    ],
)
def test_the_hash_is_javas(text: str, value: int) -> None:
    assert placement.java_hash(text) == value


@pytest.mark.parametrize(
    ("group_id", "count", "partition"),
    [("hello", 16, 2), ("hello", 50, 22), ("polygenelubricants", 50, 0), ("", 50, 0)],
)
def test_a_group_lies_where_kafka_would_put_it(group_id: str, count: int, partition: int) -> None:
    assert placement.partition_for(group_id, count) == partition
