"""DeleteTopics (key 20). Up to v5 names, from v6 names or ids."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class DeleteTopicState:
    name: str | None = field("string", "6+", nullable="6+", default=None)
    topic_id: uuid.UUID = field("uuid", "6+")


@message(versions=(1, 6), flexible=4)
class DeleteTopicsRequest:
    topics: Sequence[DeleteTopicState] = array(DeleteTopicState, "6+")
    topic_names: Sequence[str] = array("string", "0-5")
    timeout_ms: int = field("int32")


@struct
class DeletableTopicResult:
    name: str | None = field("string", nullable="6+")
    topic_id: uuid.UUID = field("uuid", "6+")
    error_code: int = field("int16")
    error_message: str | None = field("string", "5+", nullable="5+", default=None)


@message(versions=(1, 6), flexible=4)
class DeleteTopicsResponse:
    throttle_time_ms: int = field("int32", "1+")
    responses: Sequence[DeletableTopicResult] = array(DeletableTopicResult)
