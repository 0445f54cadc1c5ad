"""The one table from API key to handler.

`net.server` decodes a request, finds its `Route` here, calls `handle` and encodes what comes back
(the three shapes that may come back are told in `api.context`). A handler answers what it expects
to go wrong itself, with the error code in the right place of its own response; anything else that
it raises becomes `failed(call, request, code)`: our bug costs a client one answer, never its
connection. Next: `api.produce`, the longest way through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quorate_broker.api import (
    altering,
    api_versions,
    create_partitions,
    create_topics,
    delete_groups,
    delete_records,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_groups,
    describe_log_dirs,
    elect_leaders,
    fetch,
    find_coordinator,
    heartbeat,
    init_producer_id,
    join_group,
    leave_group,
    list_groups,
    list_offsets,
    metadata,
    offset_commit,
    offset_fetch,
    offset_for_leader_epoch,
    produce,
    reassignments,
    sync_group,
)
from quorate_broker.api.context import Call, Context
from quorate_broker.api.failures import CloseConnection as CloseConnection
from quorate_broker.api.failures import Failed
from quorate_broker.wire.apis import ApiKey

Handler = Callable[[Context, Call, Any], Any]
"""(context, call, request) -> a response, in one of the shapes that `context` tells of."""


@dataclass(frozen=True, slots=True)
class Route:
    """How one API is answered."""

    handle: Handler
    failed: Failed


_MODULES: dict[ApiKey, Any] = {
    ApiKey.PRODUCE: produce,
    ApiKey.FETCH: fetch,
    ApiKey.LIST_OFFSETS: list_offsets,
    ApiKey.METADATA: metadata,
    ApiKey.OFFSET_COMMIT: offset_commit,
    ApiKey.OFFSET_FETCH: offset_fetch,
    ApiKey.FIND_COORDINATOR: find_coordinator,
    ApiKey.JOIN_GROUP: join_group,
    ApiKey.HEARTBEAT: heartbeat,
    ApiKey.LEAVE_GROUP: leave_group,
    ApiKey.SYNC_GROUP: sync_group,
    ApiKey.DESCRIBE_GROUPS: describe_groups,
    ApiKey.LIST_GROUPS: list_groups,
    ApiKey.API_VERSIONS: api_versions,
    ApiKey.CREATE_TOPICS: create_topics,
    ApiKey.DELETE_TOPICS: delete_topics,
    ApiKey.DELETE_RECORDS: delete_records,
    ApiKey.INIT_PRODUCER_ID: init_producer_id,
    ApiKey.OFFSET_FOR_LEADER_EPOCH: offset_for_leader_epoch,
    ApiKey.DESCRIBE_CONFIGS: describe_configs,
    ApiKey.ALTER_CONFIGS: altering.Alter,
    ApiKey.DESCRIBE_LOG_DIRS: describe_log_dirs,
    ApiKey.CREATE_PARTITIONS: create_partitions,
    ApiKey.DELETE_GROUPS: delete_groups,
    ApiKey.ELECT_LEADERS: elect_leaders,
    ApiKey.INCREMENTAL_ALTER_CONFIGS: altering.Incremental,
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: reassignments.Alter,
    ApiKey.LIST_PARTITION_REASSIGNMENTS: reassignments.List,
    ApiKey.DESCRIBE_CLUSTER: describe_cluster,
}

ROUTES: dict[int, Route] = {
    key: Route(module.handle, module.failed) for key, module in _MODULES.items()
}
"""By API key; every API that `wire.apis` advertises is here."""
