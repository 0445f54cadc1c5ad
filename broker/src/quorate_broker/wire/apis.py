"""The APIs we serve, with the versions we advertise. Next: `frames`, which wraps them.

Produce is advertised from v0 although v3 is the first one read: librdkafka takes a least version
above 2 for a broker that cannot compress, and sends gzip, snappy and lz4 uncompressed (Kafka does
the same, KAFKA-18659).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from quorate_broker.wire import schema
from quorate_broker.wire.messages import (
    alter_configs,
    alter_partition_reassignments,
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
    incremental_alter_configs,
    init_producer_id,
    join_group,
    leave_group,
    list_groups,
    list_offsets,
    list_partition_reassignments,
    metadata,
    offset_commit,
    offset_fetch,
    offset_for_leader_epoch,
    produce,
    sync_group,
)


class ApiKey(IntEnum):
    """Kafka's numbers of its APIs."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    DESCRIBE_CONFIGS = 32
    ALTER_CONFIGS = 33
    DESCRIBE_LOG_DIRS = 35
    CREATE_PARTITIONS = 37
    DELETE_GROUPS = 42
    ELECT_LEADERS = 43
    INCREMENTAL_ALTER_CONFIGS = 44
    ALTER_PARTITION_REASSIGNMENTS = 45
    LIST_PARTITION_REASSIGNMENTS = 46
    DESCRIBE_CLUSTER = 60


@dataclass(frozen=True, slots=True)
class Api:
    """One API: its messages, and what ApiVersions says of it."""

    key: ApiKey
    request: type[Any]
    response: type[Any]
    min_version: int
    """Least version advertised."""
    max_version: int
    """Greatest version advertised, and read."""
    first_read: int
    """Least version read."""
    first_flexible: int

    def reads(self, version: int) -> bool:
        """Whether requests of `version` are understood."""
        return self.first_read <= version <= self.max_version


def _api(key: ApiKey, request: type, response: type, advertised_from: int | None = None) -> Api:
    spec = schema.message_of(request)
    assert spec == schema.message_of(response), "both ways have the same versions"
    first = spec.versions.first
    return Api(
        key=key,
        request=request,
        response=response,
        min_version=first if advertised_from is None else advertised_from,
        max_version=spec.versions.last,
        first_read=first,
        first_flexible=spec.flexible.first,
    )


_LIST = (
    _api(ApiKey.PRODUCE, produce.ProduceRequest, produce.ProduceResponse, advertised_from=0),
    _api(ApiKey.FETCH, fetch.FetchRequest, fetch.FetchResponse),
    _api(ApiKey.LIST_OFFSETS, list_offsets.ListOffsetsRequest, list_offsets.ListOffsetsResponse),
    _api(ApiKey.METADATA, metadata.MetadataRequest, metadata.MetadataResponse),
    _api(
        ApiKey.OFFSET_COMMIT, offset_commit.OffsetCommitRequest, offset_commit.OffsetCommitResponse
    ),
    _api(ApiKey.OFFSET_FETCH, offset_fetch.OffsetFetchRequest, offset_fetch.OffsetFetchResponse),
    _api(
        ApiKey.FIND_COORDINATOR,
        find_coordinator.FindCoordinatorRequest,
        find_coordinator.FindCoordinatorResponse,
    ),
    _api(ApiKey.JOIN_GROUP, join_group.JoinGroupRequest, join_group.JoinGroupResponse),
    _api(ApiKey.HEARTBEAT, heartbeat.HeartbeatRequest, heartbeat.HeartbeatResponse),
    _api(ApiKey.LEAVE_GROUP, leave_group.LeaveGroupRequest, leave_group.LeaveGroupResponse),
    _api(ApiKey.SYNC_GROUP, sync_group.SyncGroupRequest, sync_group.SyncGroupResponse),
    _api(
        ApiKey.DESCRIBE_GROUPS,
        describe_groups.DescribeGroupsRequest,
        describe_groups.DescribeGroupsResponse,
    ),
    _api(ApiKey.LIST_GROUPS, list_groups.ListGroupsRequest, list_groups.ListGroupsResponse),
    _api(ApiKey.API_VERSIONS, api_versions.ApiVersionsRequest, api_versions.ApiVersionsResponse),
    _api(
        ApiKey.CREATE_TOPICS, create_topics.CreateTopicsRequest, create_topics.CreateTopicsResponse
    ),
    _api(
        ApiKey.DELETE_TOPICS, delete_topics.DeleteTopicsRequest, delete_topics.DeleteTopicsResponse
    ),
    _api(
        ApiKey.INIT_PRODUCER_ID,
        init_producer_id.InitProducerIdRequest,
        init_producer_id.InitProducerIdResponse,
    ),
    _api(
        ApiKey.OFFSET_FOR_LEADER_EPOCH,
        offset_for_leader_epoch.OffsetForLeaderEpochRequest,
        offset_for_leader_epoch.OffsetForLeaderEpochResponse,
    ),
    _api(
        ApiKey.DESCRIBE_CONFIGS,
        describe_configs.DescribeConfigsRequest,
        describe_configs.DescribeConfigsResponse,
    ),
    _api(
        ApiKey.CREATE_PARTITIONS,
        create_partitions.CreatePartitionsRequest,
        create_partitions.CreatePartitionsResponse,
    ),
    _api(
        ApiKey.DELETE_GROUPS, delete_groups.DeleteGroupsRequest, delete_groups.DeleteGroupsResponse
    ),
    _api(
        ApiKey.DESCRIBE_CLUSTER,
        describe_cluster.DescribeClusterRequest,
        describe_cluster.DescribeClusterResponse,
    ),
    _api(
        ApiKey.ALTER_CONFIGS,
        alter_configs.AlterConfigsRequest,
        alter_configs.AlterConfigsResponse,
    ),
    _api(
        ApiKey.ALTER_PARTITION_REASSIGNMENTS,
        alter_partition_reassignments.AlterPartitionReassignmentsRequest,
        alter_partition_reassignments.AlterPartitionReassignmentsResponse,
    ),
    _api(
        ApiKey.DELETE_RECORDS,
        delete_records.DeleteRecordsRequest,
        delete_records.DeleteRecordsResponse,
    ),
    _api(
        ApiKey.DESCRIBE_LOG_DIRS,
        describe_log_dirs.DescribeLogDirsRequest,
        describe_log_dirs.DescribeLogDirsResponse,
    ),
    _api(
        ApiKey.ELECT_LEADERS,
        elect_leaders.ElectLeadersRequest,
        elect_leaders.ElectLeadersResponse,
    ),
    _api(
        ApiKey.INCREMENTAL_ALTER_CONFIGS,
        incremental_alter_configs.IncrementalAlterConfigsRequest,
        incremental_alter_configs.IncrementalAlterConfigsResponse,
    ),
    _api(
        ApiKey.LIST_PARTITION_REASSIGNMENTS,
        list_partition_reassignments.ListPartitionReassignmentsRequest,
        list_partition_reassignments.ListPartitionReassignmentsResponse,
    ),
)

APIS: dict[int, Api] = {api.key: api for api in _LIST}
BY_REQUEST: dict[type, Api] = {api.request: api for api in _LIST}
