"""InitProducerId (22): an identity for an idempotent producer.

Every call gives a producer id that nobody had before, at epoch 0, as Kafka does for producers
without a transactional id. There are no transactions yet: a transactional id is refused with the
code that every client takes as final rather than asking for ever. Next: `context.new_producer_id`.
"""

from __future__ import annotations

from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import CLUSTER_NAME, Operation, ResourceType
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import init_producer_id


async def handle(
    context: Context, call: Call, request: init_producer_id.InitProducerIdRequest
) -> init_producer_id.InitProducerIdResponse:
    if request.transactional_id is not None:
        final = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        code = final if request.transactional_id else ErrorCode.INVALID_REQUEST
        return failed(call, request, code)
    if not context.authorizer.allows(
        call.principal, Operation.IDEMPOTENT_WRITE, ResourceType.CLUSTER, CLUSTER_NAME
    ):
        return failed(call, request, ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    try:
        producer_id = await context.new_producer_id()
    except KafkaError as error:
        # Clients ask again on this code, whatever kept the metadata leader from answering.
        code = ErrorCode.COORDINATOR_NOT_AVAILABLE if error.code.retriable else error.code
        return failed(call, request, code)
    return init_producer_id.InitProducerIdResponse(
        error_code=0, producer_id=producer_id, producer_epoch=0
    )


def failed(
    call: Call, request: init_producer_id.InitProducerIdRequest, code: ErrorCode
) -> init_producer_id.InitProducerIdResponse:
    return init_producer_id.InitProducerIdResponse(
        error_code=code, producer_id=-1, producer_epoch=-1
    )
