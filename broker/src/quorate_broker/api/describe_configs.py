"""DescribeConfigs (32): the configuration of topics and of this broker, defaults and all.

Next: `configs`, where the entries come from.
"""

from __future__ import annotations

from quorate_broker.api import configs, topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import CLUSTER_NAME, Operation, ResourceType
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import describe_configs as messages


def handle(
    context: Context, call: Call, request: messages.DescribeConfigsRequest
) -> messages.DescribeConfigsResponse:
    return messages.DescribeConfigsResponse(
        results=[_result(context, call, request, wanted) for wanted in request.resources]
    )


def failed(
    call: Call, request: messages.DescribeConfigsRequest, code: ErrorCode
) -> messages.DescribeConfigsResponse:
    return messages.DescribeConfigsResponse(
        results=[_refused(wanted, KafkaError(code)) for wanted in request.resources]
    )


def _result(
    context: Context,
    call: Call,
    request: messages.DescribeConfigsRequest,
    wanted: messages.DescribeConfigsResource,
) -> messages.DescribeConfigsResult:
    try:
        entries = _entries(context, call, wanted)
    except KafkaError as error:
        return _refused(wanted, error)
    keys = None if wanted.configuration_keys is None else frozenset(wanted.configuration_keys)
    return messages.DescribeConfigsResult(
        error_code=0,
        resource_type=wanted.resource_type,
        resource_name=wanted.resource_name,
        configs=[
            _written(request, entry) for entry in entries if keys is None or entry.name in keys
        ],
    )


def _entries(
    context: Context, call: Call, wanted: messages.DescribeConfigsResource
) -> list[configs.Entry]:
    match wanted.resource_type:
        case configs.Resource.TOPIC:
            return _of_topic(context, call, wanted.resource_name)
        case configs.Resource.BROKER:
            return _of_broker(context, call, wanted.resource_name)
        case _:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"Resources of type {wanted.resource_type} have no configuration here.",
            )


def _of_topic(context: Context, call: Call, name: str) -> list[configs.Entry]:
    if not topics.allowed(context, call, Operation.DESCRIBE_CONFIGS, name):
        raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    problem = topics.name_problem(name)
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, problem)
    topic = context.image.topics.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    return list(configs.of_topic(context.live, topic.config))


def _of_broker(context: Context, call: Call, name: str) -> list[configs.Entry]:
    if not context.authorizer.allows(
        call.principal, Operation.DESCRIBE_CONFIGS, ResourceType.CLUSTER, CLUSTER_NAME
    ):
        raise KafkaError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    if not name:
        return list(configs.of_all_brokers(context.live))
    if name != str(context.me):
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"Unexpected broker id, expected {context.me} or empty string, but received {name}",
        )
    return list(configs.of_broker(context.live))


def _written(
    request: messages.DescribeConfigsRequest, entry: configs.Entry
) -> messages.DescribeConfigsResourceResult:
    synonyms = entry.synonyms if request.include_synonyms else ()
    return messages.DescribeConfigsResourceResult(
        name=entry.name,
        value=entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        config_type=entry.type,
        documentation=entry.doc if request.include_documentation else None,
        synonyms=[
            messages.DescribeConfigsSynonym(name=name, value=value, source=source)
            for name, value, source in synonyms
        ],
    )


def _refused(
    wanted: messages.DescribeConfigsResource, error: KafkaError
) -> messages.DescribeConfigsResult:
    return messages.DescribeConfigsResult(
        error_code=error.code,
        error_message=error.message,
        resource_type=wanted.resource_type,
        resource_name=wanted.resource_name,
    )
