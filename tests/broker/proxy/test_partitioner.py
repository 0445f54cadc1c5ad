"""Records sent over HTTP meet those of other clients with the same key."""

from __future__ import annotations

import aiokafka.partitioner
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate_broker.errors import KafkaError
from quorate_broker.proxy import partitioner
from quorate_broker.proxy.partitioner import Turns
from quorate_broker.proxy.port import ProxyRecord


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # from Kafka's own UtilsTest
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_the_java_clients(text: bytes, expected: int) -> None:
    assert partitioner.murmur2(text) == expected & 0xFFFFFFFF


@given(key=st.binary(max_size=64), count=st.integers(1, 64))
def test_a_key_goes_where_aiokafka_sends_it(key: bytes, count: int) -> None:
    theirs = aiokafka.partitioner.DefaultPartitioner()(key, list(range(count)), [])
    assert partitioner.partition_for_key(key, count) == theirs


def test_records_of_one_request_without_a_key_stay_together_and_requests_take_turns() -> None:
    turns = Turns(first=0)
    records = [ProxyRecord(None, b"a"), ProxyRecord(None, b"b")]
    seen = [turns.spread(records, 3, [0, 1, 2]) for _ in range(3)]
    assert all(first == second for first, second in seen)
    assert {first for first, _ in seen} == {0, 1, 2}


def test_partitions_without_a_leader_are_passed_over_unless_a_key_insists() -> None:
    turns = Turns(first=0)
    keyed = ProxyRecord(b"k", b"v")
    home = partitioner.partition_for_key(b"k", 4)
    others = [index for index in range(4) if index != home]
    for _ in range(8):
        sticky, by_key, named = turns.spread(
            [ProxyRecord(None, b"v"), keyed, ProxyRecord(None, b"v", 9)], 4, others
        )
        assert sticky in others
        assert by_key == home
        assert named == 9


def test_without_any_leader_a_partition_is_chosen_all_the_same() -> None:
    assert Turns(first=0).spread([ProxyRecord(None, b"v")], 2, []) in ([0], [1])


def test_a_topic_without_partitions_is_refused() -> None:
    with pytest.raises(KafkaError):
        Turns(first=0).spread([ProxyRecord(None, b"v")], 0, [])
