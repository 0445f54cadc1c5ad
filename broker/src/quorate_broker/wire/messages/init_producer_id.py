"""InitProducerId (key 22): a producer id, for idempotence and transactions.

v3 lets a transactional producer recover by naming the id and epoch it has.
"""

from __future__ import annotations

from quorate_broker.wire.schema import field, message


@message(versions=(0, 5), flexible=2)
class InitProducerIdRequest:
    transactional_id: str | None = field("string", nullable="0+", default=None)
    transaction_timeout_ms: int = field("int32")
    producer_id: int = field("int64", "3+", default=-1)
    producer_epoch: int = field("int16", "3+", default=-1)


@message(versions=(0, 5), flexible=2)
class InitProducerIdResponse:
    throttle_time_ms: int = field("int32")
    error_code: int = field("int16")
    producer_id: int = field("int64", default=-1)
    producer_epoch: int = field("int16")
