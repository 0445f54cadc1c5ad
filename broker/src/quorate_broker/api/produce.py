"""Produce (0): batches in.

Each partition's batch is checked in place (header, CRC, size; its records are walked only for a
compacted topic, where each needs a key), copied once out of the connection's buffer into bytes of
its own, and appended. With acks=all the response waits for the commits; nothing here runs in a
task. One partition's error is that partition's error code and nobody else's. Next: the partition,
behind `context.PartitionView.append`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from quorate_broker.api import topics
from quorate_broker.api.context import Appended, Call, Context, PartitionView, Pending
from quorate_broker.api.failures import CloseConnection
from quorate_broker.api.principal import Operation
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire import batch
from quorate_broker.wire.messages import produce

if TYPE_CHECKING:
    from quorate_broker.cluster.image import Topic

log = logging.getLogger(__name__)

_ZSTD_SINCE_VERSION = 7

Answer = produce.PartitionProduceResponse


def handle(context: Context, call: Call, request: produce.ProduceRequest) -> Any:
    """The response; with acks=all a `Pending` of it; with acks=0 nothing."""
    if request.acks not in (-1, 0, 1):
        return failed(call, request, ErrorCode.INVALID_REQUIRED_ACKS)
    if request.transactional_id is not None:
        # There are no transactions yet: the one code that every client takes as final.
        return failed(call, request, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    image_topics = context.image.topics
    waiting: list[tuple[Answer, Awaitable[Appended]]] = []
    responses = []
    for data in request.topic_data:
        topic = image_topics.get(data.name)
        answers = []
        for one in data.partition_data:
            answer = Answer(index=one.index, error_code=0, base_offset=-1)
            answers.append(answer)
            try:
                appended = _append(context, call, request, topic, one)
            except KafkaError as error:
                _fail(answer, error)
            else:
                waiting.append((answer, appended))
        responses.append(produce.TopicProduceResponse(name=data.name, partition_responses=answers))
    return _reply(request.acks, produce.ProduceResponse(responses=responses), waiting)


def failed(call: Call, request: produce.ProduceRequest, code: ErrorCode) -> Any:
    """Every partition says `code`; with acks=0 the connection is all there is to say it with."""
    if request.acks == 0:
        raise CloseConnection(f"Produce with acks=0 failed: {code.name}")
    return produce.ProduceResponse(
        responses=[
            produce.TopicProduceResponse(
                name=data.name,
                partition_responses=[
                    Answer(index=one.index, error_code=code, base_offset=-1)
                    for one in data.partition_data
                ],
            )
            for data in request.topic_data
        ]
    )


def _append(
    context: Context,
    call: Call,
    request: produce.ProduceRequest,
    topic: Topic | None,
    one: produce.PartitionProduceData,
) -> Awaitable[Appended]:
    """Check one partition's batch and append it; raises KafkaError."""
    view = topics.leading(context, topic, one.index)
    assert topic is not None
    if topic.internal:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"{topic.name} is internal")
    if not topics.allowed(context, call, Operation.WRITE, topic.name):
        raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    records = one.records
    if records is None:
        raise KafkaError(ErrorCode.INVALID_RECORD, "no record batch")
    assert isinstance(records, memoryview), "records are read as a slice of the frame"
    if len(records) > topics.max_message_bytes(context.settings, topic):
        raise KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"a batch of {len(records)} bytes")
    if request.acks == -1:
        _require_in_sync(context, topic, one.index, view)
    header = batch.validate_produced(records)
    if header.codec == batch.Codec.ZSTD and call.version < _ZSTD_SINCE_VERSION:
        raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce v7")
    if header.is_transactional:
        raise KafkaError(ErrorCode.INVALID_TXN_STATE, "no transaction is open")
    if topics.is_compacted(context.settings, topic):
        _require_keys(records)
    # The one copy: `records` lies in the connection's buffer, the next frame overwrites it. The
    # request lives until its answer: it must not keep that buffer alive.
    own = memoryview(bytearray(records))
    one.records = None
    return view.append(own, header, request.acks, request.timeout_ms)


class _Keyless(KafkaError):
    """Records of a compacted topic that have no key: they would never go from it again."""

    def __init__(self, records: list[int]) -> None:
        super().__init__(
            ErrorCode.INVALID_RECORD, "A compacted topic takes no records without a key."
        )
        self.records = records


def _require_keys(records: memoryview) -> None:
    """The one check that walks the records, and only for compacted topics."""
    keyless = [at for at, record in enumerate(batch.records(records)) if record.key is None]
    if keyless:
        raise _Keyless(keyless)


def _require_in_sync(context: Context, topic: Topic, index: int, view: PartitionView) -> None:
    """`min.insync.replicas`: a majority always acknowledges, this may ask for more."""
    asked = int(topic.config.get("min.insync.replicas", context.settings.min_insync_replicas))
    if asked == 1:
        return
    have = len(context.leader(topic.id, index).isr)
    if have < min(asked, len(topic.partitions[index].wanted)):
        view.refused()
        raise KafkaError(
            ErrorCode.NOT_ENOUGH_REPLICAS, f"{have} replicas are in sync, {asked} are asked for"
        )


def _reply(
    acks: int,
    response: produce.ProduceResponse,
    waiting: list[tuple[Answer, Awaitable[Appended]]],
) -> Any:
    """How the response comes about, by what there is to wait for."""
    futures = [appended for _, appended in waiting if isinstance(appended, asyncio.Future)]
    if len(futures) < len(waiting):
        return _collect(acks, response, waiting)
    finish = functools.partial(_finish, acks, response, waiting)
    return Pending(tuple(futures), finish) if waiting else finish()


async def _collect(
    acks: int,
    response: produce.ProduceResponse,
    waiting: list[tuple[Answer, Awaitable[Appended]]],
) -> Any:
    """For a partition whose append is a coroutine: one after the other."""
    for answer, appended in waiting:
        try:
            _succeed(answer, await appended)
        except KafkaError as error:
            _fail(answer, error)
    return _finish(acks, response, [])


def _finish(
    acks: int, response: produce.ProduceResponse, waiting: list[tuple[Answer, Any]]
) -> produce.ProduceResponse | None:
    """Fill in what became of the appends."""
    for answer, future in waiting:
        error = future.exception()
        if error is None:
            _succeed(answer, future.result())
        elif isinstance(error, KafkaError):
            _fail(answer, error)
        else:
            log.error("append failed", exc_info=error)
            _fail(answer, KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR))
    if acks != 0:
        return response
    for topic in response.responses:
        for answer in topic.partition_responses:
            if answer.error_code:
                # As Kafka does: the client must learn somehow that it should look for the leader.
                code = ErrorCode(answer.error_code).name
                raise CloseConnection(f"{topic.name}-{answer.index} with acks=0: {code}")
    return None


def _succeed(answer: Answer, appended: Appended) -> None:
    answer.base_offset = appended.base_offset
    answer.log_append_time_ms = appended.log_append_time_ms
    answer.log_start_offset = appended.start_offset


def _fail(answer: Answer, error: KafkaError) -> None:
    answer.error_code = error.code
    answer.error_message = error.message
    if isinstance(error, _Keyless):
        answer.record_errors = [
            produce.BatchIndexAndErrorMessage(
                batch_index=at, batch_index_error_message=error.message
            )
            for at in error.records
        ]
