"""The error table is Kafka's."""

from __future__ import annotations

import pytest

from quorate_broker.errors import ErrorCode, KafkaError


def test_the_table_has_no_gap() -> None:
    assert [code.value for code in ErrorCode] == list(range(-1, 134))


@pytest.mark.parametrize(
    ("code", "retriable"),
    [
        (ErrorCode.NONE, False),
        (ErrorCode.UNKNOWN_SERVER_ERROR, False),
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, True),
        (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, True),
        (ErrorCode.REBALANCE_IN_PROGRESS, False),
        (ErrorCode.TOPIC_ALREADY_EXISTS, False),
    ],
)
def test_clients_are_told_what_to_retry(code: ErrorCode, retriable: bool) -> None:
    assert code.retriable is retriable


def test_an_error_reads_as_a_sentence() -> None:
    assert str(KafkaError(ErrorCode.INVALID_CONFIG, "no such key")) == "INVALID_CONFIG: no such key"
    assert str(KafkaError(ErrorCode.NOT_CONTROLLER)) == "NOT_CONTROLLER"


def test_success_is_not_an_error() -> None:
    with pytest.raises(AssertionError):
        KafkaError(ErrorCode.NONE)
