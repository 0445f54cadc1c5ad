"""AlterConfigs (33) and IncrementalAlterConfigs (44). Source: KIP-133, KIP-339.

Topics, all brokers (a BROKER resource without a name), or one of them. A topic's values are
checked here, brokers' by the metadata leader, which puts both in. Appending to a list, or taking
from it, is worked out on this broker's image, so that of two such changes at the same moment the
later one wins whole. Next: `configs`, the check; `cluster.settings`, the other one.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from quorate_broker.api import admin, configs, topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import CLUSTER_NAME, Operation, ResourceType
from quorate_broker.cluster import commands
from quorate_broker.cluster.commands import ConfigChange
from quorate_broker.cluster.image import Topic
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import alter_configs, incremental_alter_configs

_TIMEOUT_MS = 10_000
_LISTS = frozenset({"cleanup.policy", "log.cleanup.policy"})

Pairs = list[tuple[str, str | None]]
Owner = Topic | int
"""A topic, a broker's id, or 0: all brokers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Edit:
    """What a resource shall set, and what it shall leave to its default again."""

    put: Pairs
    drop: tuple[str, ...] = ()
    replace: bool = False
    """Everything that is not in `put` goes back to its default."""


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
        def change(owner: Owner, pairs: Sequence[alter_configs.AlterableConfig]) -> Edit:
            return Edit([(one.name, one.value) for one in pairs], replace=True)

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
            context, call, request, lambda owner, ops: _incremental(context, owner, ops)
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
    context: Context, call: Call, request: Any, change: Callable[[Owner, Any], Edit]
) -> list[dict[str, Any]]:
    """The fields of each resource's answer, in order."""
    times = Counter((one.resource_type, one.resource_name) for one in request.resources)
    refused: dict[int, KafkaError] = {}
    changes: dict[int, ConfigChange] = {}
    settings: dict[int, commands.ChangeSettings] = {}
    for at, asked in enumerate(request.resources):
        try:
            if times[asked.resource_type, asked.resource_name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "A resource is named twice.")
            if asked.resource_type == configs.Resource.BROKER:
                number = _broker(context, call, asked)
                edit = change(number, asked.configs)
                settings[at] = _settings(number, edit, validate_only=request.validate_only)
            else:
                topic = _topic(context, call, asked)
                edit = change(topic, asked.configs)
                put = _checked(edit.put)
                changes[at] = ConfigChange(topic.name, put, edit.drop, edit.replace)
        except KafkaError as error:
            refused[at] = error
    command = commands.ChangeTopicConfigs(tuple(changes.values()), request.validate_only)
    if changes:
        results = await admin.results_or_error(context, command, _TIMEOUT_MS, len(changes))
        for at, result in zip(changes, results, strict=True):
            if result.code:
                refused[at] = KafkaError(ErrorCode(result.code), result.message)
    refused |= await _set(context, settings)
    return [_told(asked, refused.get(at)) for at, asked in enumerate(request.resources)]


async def _set(
    context: Context, settings: dict[int, commands.ChangeSettings]
) -> dict[int, KafkaError]:
    """Change brokers' settings, one resource after the other; what was refused, by its place."""
    refused: dict[int, KafkaError] = {}
    for at, wanted in settings.items():
        try:
            found = await admin.decided(context, wanted, _TIMEOUT_MS)
        except KafkaError as error:
            refused[at] = error
            continue
        if found.problems:
            words = "; ".join(f"{name}: {why}" for name, why in found.problems.items())
            refused[at] = KafkaError(ErrorCode.INVALID_CONFIG, words)
    return refused


def _told(asked: Any, error: KafkaError | None) -> dict[str, Any]:
    return {
        "error_code": 0 if error is None else error.code,
        "error_message": None if error is None else error.message,
        "resource_type": asked.resource_type,
        "resource_name": asked.resource_name,
    }


def _topic(context: Context, call: Call, asked: Any) -> Topic:
    if asked.resource_type != configs.Resource.TOPIC:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Only topics and brokers are configured.")
    name = asked.resource_name
    if not topics.allowed(context, call, Operation.ALTER_CONFIGS, name):
        raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    topic = context.image.topics.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    return topic


def _broker(context: Context, call: Call, asked: Any) -> int:
    """Whose settings: those of one broker, or (0) of all."""
    if not context.authorizer.allows(
        call.principal, Operation.ALTER_CONFIGS, ResourceType.CLUSTER, CLUSTER_NAME
    ):
        raise KafkaError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    name = asked.resource_name
    if not name:
        return 0
    if not name.isascii() or not name.isdigit() or context.image.member(int(name)) is None:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"There is no broker {name}.")
    return int(name)


def _settings(number: int, edit: Edit, *, validate_only: bool) -> commands.ChangeSettings:
    nothing = [name for name, value in edit.put if value is None]
    if nothing:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"{nothing[0]} has no value.")
    put = {name: str(value) for name, value in edit.put}
    return commands.ChangeSettings(number, put, edit.drop, edit.replace, validate_only)


def _incremental(context: Context, owner: Owner, ops: Sequence[Any]) -> Edit:
    if len({one.name for one in ops}) < len(ops):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "A key is named twice.")
    drop: list[str] = []
    pairs: Pairs = []
    for one in ops:
        match one.config_operation:
            case _Operation.DELETE:
                if isinstance(owner, Topic):
                    _checked_name(one.name)
                drop.append(one.name)
            case _Operation.SET:
                pairs.append((one.name, one.value))
            case _Operation.APPEND | _Operation.SUBTRACT:
                pairs.append((one.name, _list(context, owner, one)))
            case _:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST, f"There is no operation {one.config_operation}."
                )
    return Edit(pairs, tuple(drop))


def _list(context: Context, owner: Owner, op: Any) -> str:
    """A list with elements appended, or taken away."""
    if op.name not in _LISTS or op.value is None:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG, f"{op.name} is not a list: set it, or delete it."
        )
    live = context.live
    entries = (
        configs.of_topic(live, owner.config)
        if isinstance(owner, Topic)
        else configs.of_broker(live)
    )
    present = next(entry.value for entry in entries if entry.name == op.name)
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
