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
    api_versions,
    create_partitions,
    create_topics,
    delete_topics,
    describe_cluster,
    describe_configs,
    fetch,
    init_producer_id,
    list_offsets,
    metadata,
    offset_for_leader_epoch,
    produce,
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


ROUTES: dict[int, Route] = {
    ApiKey.PRODUCE: Route(produce.handle, produce.failed),
    ApiKey.FETCH: Route(fetch.handle, fetch.failed),
    ApiKey.LIST_OFFSETS: Route(list_offsets.handle, list_offsets.failed),
    ApiKey.METADATA: Route(metadata.handle, metadata.failed),
    ApiKey.API_VERSIONS: Route(api_versions.handle, api_versions.failed),
    ApiKey.CREATE_TOPICS: Route(create_topics.handle, create_topics.failed),
    ApiKey.DELETE_TOPICS: Route(delete_topics.handle, delete_topics.failed),
    ApiKey.INIT_PRODUCER_ID: Route(init_producer_id.handle, init_producer_id.failed),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: Route(
        offset_for_leader_epoch.handle, offset_for_leader_epoch.failed
    ),
    ApiKey.DESCRIBE_CONFIGS: Route(describe_configs.handle, describe_configs.failed),
    ApiKey.CREATE_PARTITIONS: Route(create_partitions.handle, create_partitions.failed),
    ApiKey.DESCRIBE_CLUSTER: Route(describe_cluster.handle, describe_cluster.failed),
}
