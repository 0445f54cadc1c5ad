"""AlterConfigs (33) and IncrementalAlterConfigs (44). Source: KIP-133, KIP-339.

Topics only: a broker's own settings come from its file. Values are checked here, and the metadata
leader puts them in; appending to a list, or taking from it, is worked out on this broker's image,
so that of two such changes at the same moment the later one wins whole.
Next: `configs`, the check.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from quorate_broker.api import admin, configs, topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation
from quorate_broker.cluster import commands
from quorate_broker.cluster.commands import ConfigChange
from quorate_broker.cluster.image import Topic
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import alter_configs, incremental_alter_configs

_TIMEOUT_MS = 10_000
_LISTS = frozenset({"cleanup.policy"})

Pairs = list[tuple[str, str | None]]


class _Operation(enum.IntEnum):
    """Kafka's codes."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class Alter:
    """Key 33: all that the topic sets."""

    @staticmethod
    async def handle(
        context: Context, call: Call, request: alter_configs.AlterConfigsRequest
    ) -> alter_configs.AlterConfigsResponse:
        def change(topic: Topic, pairs: Sequence[alter_configs.AlterableConfig]) -> ConfigChange:
            put = _checked([(one.name, one.value) for one in pairs])
            return ConfigChange(topic.name, put, replace=True)

        answers = await _altered(context, call, request, change)
        response = alter_configs.AlterConfigsResourceResponse
        return alter_configs.AlterConfigsResponse(
            responses=[response(**answer) for answer in answers]
        )

    @staticmethod
    def failed(
        call: Call, request: alter_configs.AlterConfigsRequest, code: ErrorCode
    ) -> alter_configs.AlterConfigsResponse:
        response = alter_configs.AlterConfigsResourceResponse
        return alter_configs.AlterConfigsResponse(
            responses=[response(**_told(one, KafkaError(code))) for one in request.resources]
        )


class Incremental:
    """Key 44: key by key."""

    @staticmethod
    async def handle(
        context: Context,
        call: Call,
        request: incremental_alter_configs.IncrementalAlterConfigsRequest,
    ) -> incremental_alter_configs.IncrementalAlterConfigsResponse:
        answers = await _altered(
            context, call, request, lambda topic, ops: _incremental(context, topic, ops)
        )
        response = incremental_alter_configs.IncrementalAlterConfigsResourceResponse
        return incremental_alter_configs.IncrementalAlterConfigsResponse(
            responses=[response(**answer) for answer in answers]
        )

    @staticmethod
    def failed(
        call: Call,
        request: incremental_alter_configs.IncrementalAlterConfigsRequest,
        code: ErrorCode,
    ) -> incremental_alter_configs.IncrementalAlterConfigsResponse:
        response = incremental_alter_configs.IncrementalAlterConfigsResourceResponse
        return incremental_alter_configs.IncrementalAlterConfigsResponse(
            responses=[response(**_told(one, KafkaError(code))) for one in request.resources]
        )


async def _altered(
    context: Context, call: Call, request: Any, change: Callable[[Topic, Any], ConfigChange]
) -> list[dict[str, Any]]:
    """The fields of each resource's answer, in order."""
    times = Counter((one.resource_type, one.resource_name) for one in request.resources)
    refused: dict[int, KafkaError] = {}
    changes: dict[int, ConfigChange] = {}
    for at, asked in enumerate(request.resources):
        try:
            if times[asked.resource_type, asked.resource_name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "A resource is named twice.")
            changes[at] = change(_topic(context, call, asked), asked.configs)
        except KafkaError as error:
            refused[at] = error
    command = commands.ChangeTopicConfigs(tuple(changes.values()), request.validate_only)
    if changes:
        results = await admin.results_or_error(context, command, _TIMEOUT_MS, len(changes))
        for at, result in zip(changes, results, strict=True):
            if result.code:
                refused[at] = KafkaError(ErrorCode(result.code), result.message)
    return [_told(asked, refused.get(at)) for at, asked in enumerate(request.resources)]


def _told(asked: Any, error: KafkaError | None) -> dict[str, Any]:
    return {
        "error_code": 0 if error is None else error.code,
        "error_message": None if error is None else error.message,
        "resource_type": asked.resource_type,
        "resource_name": asked.resource_name,
    }


def _topic(context: Context, call: Call, asked: Any) -> Topic:
    if asked.resource_type != configs.Resource.TOPIC:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            "Only topics are configured while brokers run; a broker's settings are in its file.",
        )
    name = asked.resource_name
    if not topics.allowed(context, call, Operation.ALTER_CONFIGS, name):
        raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    topic = context.image.topics.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    return topic


def _incremental(context: Context, topic: Topic, ops: Sequence[Any]) -> ConfigChange:
    if len({one.name for one in ops}) < len(ops):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "A key is named twice.")
    drop: list[str] = []
    pairs: Pairs = []
    for one in ops:
        match one.config_operation:
            case _Operation.DELETE:
                _checked_name(one.name)
                drop.append(one.name)
            case _Operation.SET:
                pairs.append((one.name, one.value))
            case _Operation.APPEND | _Operation.SUBTRACT:
                pairs.append((one.name, _list(context, topic, one)))
            case _:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST, f"There is no operation {one.config_operation}."
                )
    return ConfigChange(topic.name, _checked(pairs), tuple(drop))


def _list(context: Context, topic: Topic, op: Any) -> str:
    """A list with elements appended, or taken away."""
    if op.name not in _LISTS or op.value is None:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG, f"{op.name} is not a list: set it, or delete it."
        )
    present = next(
        entry.value
        for entry in configs.of_topic(context.settings, topic.config)
        if entry.name == op.name
    )
    elements = [each for each in present.split(",") if each]
    named = [each.strip() for each in op.value.split(",")]
    if op.config_operation == _Operation.APPEND:
        elements += [each for each in named if each not in elements]
    else:
        elements = [each for each in elements if each not in named]
    return ",".join(elements)


def _checked_name(name: str) -> None:
    if not configs.is_known(name):
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown topic config name: {name}")


def _checked(pairs: Pairs) -> dict[str, str]:
    try:
        return configs.check_topic(pairs)
    except configs.BadConfig as error:
        raise KafkaError(ErrorCode.INVALID_CONFIG, str(error)) from error
