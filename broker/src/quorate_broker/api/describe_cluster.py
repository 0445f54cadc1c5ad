"""DescribeCluster (60): the cluster's id, its brokers and where to send admin requests.

Clients never speak to controllers here (any broker forwards), so only brokers can be asked for.
Next: `metadata`, which tells the same among other things.
"""

from __future__ import annotations

from quorate_broker.api import brokers, rights
from quorate_broker.api.context import Call, Context
from quorate_broker.api.failures import top_level
from quorate_broker.api.principal import CLUSTER_NAME, ResourceType
from quorate_broker.errors import ErrorCode
from quorate_broker.wire.messages import describe_cluster

_BROKERS = 1

failed = top_level(describe_cluster.DescribeClusterResponse)


def handle(
    context: Context, call: Call, request: describe_cluster.DescribeClusterRequest
) -> describe_cluster.DescribeClusterResponse:
    if request.endpoint_type != _BROKERS:
        return describe_cluster.DescribeClusterResponse(
            error_code=ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
            error_message="Only brokers can be described.",
            endpoint_type=request.endpoint_type,
        )
    image = context.image
    reachable = list(brokers.reachable(context, image, call.listener))
    response = describe_cluster.DescribeClusterResponse(
        error_code=0,
        cluster_id=image.cluster_id,
        controller_id=brokers.controller(
            context, frozenset(broker.node_id for broker, _ in reachable)
        ),
        brokers=[
            describe_cluster.DescribeClusterBroker(
                broker_id=broker.node_id, host=endpoint.host, port=endpoint.port, rack=broker.rack
            )
            for broker, endpoint in reachable
        ],
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = rights.authorized_operations(
            context, call, ResourceType.CLUSTER, CLUSTER_NAME
        )
    return response
