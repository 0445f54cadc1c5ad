"""The APIs of groups, from bytes to bytes, on a stub of the node and a real coordinator."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate_broker.api import dispatch
from quorate_broker.api.context import Call, Leadership
from quorate_broker.api.principal import Operation, Principal, ResourceType
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import placement
from quorate_broker.testing.group_bench import Bench
from quorate_broker.testing.stub_node import LISTENER, StubNode
from quorate_broker.wire import codec
from quorate_broker.wire.apis import APIS, ApiKey
from quorate_broker.wire.messages import (
    delete_groups,
    describe_groups,
    find_coordinator,
    heartbeat,
    join_group,
    leave_group,
    list_groups,
    offset_commit,
    offset_fetch,
    sync_group,
)

ALL_VERSIONS = {key: range(APIS[key].first_read, APIS[key].max_version + 1) for key in APIS}


class Node(StubNode):
    """Coordinates all groups by the coordinator of a bench."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.refuse: KafkaError | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def coordinate(self, group_id: str, command: object) -> Any:
        if self.refuse is not None:
            raise self.refuse
        ticket = self.bench.ask(command)
        for answered in self.bench.replies.keys() & self._waiting.keys():
            self._waiting.pop(answered).set_result(None)
        if ticket not in self.bench.replies:
            self._waiting[ticket] = asyncio.get_running_loop().create_future()
            await self._waiting[ticket]
        return self.bench.take(ticket)

    async def coordinate_all(self, command: object) -> list[Any]:
        return [await self.coordinate("", command)]

    async def ask(self, key: ApiKey, version: int, request: Any) -> Any:
        """The response as the client reads it."""
        api = APIS[key]
        sent = b"".join(codec.encode(request, version))
        read, _ = codec.decode(api.request, version, memoryview(sent))
        call = Call(version, "client", LISTENER, client_host="10.0.0.9")
        response = dispatch.ROUTES[key].handle(self, call, read)
        if asyncio.iscoroutine(response):
            response = await response
        back = b"".join(codec.encode(response, version))
        return codec.decode(api.response, version, memoryview(back))[0]

    def call(self, key: ApiKey, version: int, request: Any) -> Any:
        return asyncio.run(self.ask(key, version, request))


class NobodyMay:
    """Refuses one operation on one type of resource."""

    def __init__(self, operation: Operation, resource: ResourceType, *names: str) -> None:
        self._refused = (operation, resource)
        self._names = names

    def allows(
        self, principal: Principal, operation: Operation, resource: ResourceType, name: str
    ) -> bool:
        named = not self._names or name in self._names
        return (operation, resource) != self._refused or not named


@pytest.fixture
def node() -> Node:
    node = Node()
    node.topic("t", partitions=3)
    return node


def joining(member_id: str = "", **more: Any) -> join_group.JoinGroupRequest:
    return join_group.JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=60_000,
        member_id=member_id,
        protocol_type="consumer",
        protocols=[join_group.JoinGroupRequestProtocol(name="range", metadata=b"topics")],
        **more,
    )


def committing(member_id: str = "", generation: int = -1) -> offset_commit.OffsetCommitRequest:
    return offset_commit.OffsetCommitRequest(
        group_id="g",
        member_id=member_id,
        generation_id_or_member_epoch=generation,
        topics=[
            offset_commit.OffsetCommitRequestTopic(
                name="t",
                partitions=[
                    offset_commit.OffsetCommitRequestPartition(
                        partition_index=0, committed_offset=42, committed_metadata="a note"
                    )
                ],
            )
        ],
    )


def member_of_generation_1(node: Node, version: int = 5) -> str:
    """A stable group of one, by the requests of that version of JoinGroup."""
    reply = node.call(ApiKey.JOIN_GROUP, version, joining())
    if reply.error_code == ErrorCode.MEMBER_ID_REQUIRED:
        reply = node.call(ApiKey.JOIN_GROUP, version, joining(reply.member_id))
    assert reply.error_code == 0
    assignment = sync_group.SyncGroupRequestAssignment(member_id=reply.member_id, assignment=b"all")
    request = sync_group.SyncGroupRequest(
        group_id="g", generation_id=1, member_id=reply.member_id, assignments=[assignment]
    )
    assert node.call(ApiKey.SYNC_GROUP, 3, request).assignment == b"all"
    return str(reply.member_id)


class TestFindCoordinator:
    """Who serves a group."""

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.FIND_COORDINATOR])
    def test_the_first_question_makes_the_topic_and_names_its_leader(
        self, node: Node, version: int
    ) -> None:
        request = find_coordinator.FindCoordinatorRequest(key="g", coordinator_keys=["g", "h"])
        response = node.call(ApiKey.FIND_COORDINATOR, version, request)
        assert placement.TOPIC in node.image.topics
        for found in response.coordinators if version >= 4 else [response]:
            assert (found.error_code, found.node_id, found.port) == (0, 1, 9092)
            assert found.host == "broker-1.test"
        if version >= 4:
            assert [found.key for found in response.coordinators] == ["g", "h"]

    def test_the_first_answer_waits_a_moment_for_the_new_topic_to_be_led(self, node: Node) -> None:
        """kafka-go takes COORDINATOR_NOT_AVAILABLE for a failure."""
        make = node.ensure_internal_topic

        async def led_only_later() -> None:
            await make()
            topic_id = node.image.topics[placement.TOPIC].id
            led = {key: node.leaders.pop(key) for key in list(node.leaders) if key[0] == topic_id}
            asyncio.get_running_loop().call_later(0.02, node.leaders.update, led)

        node.ensure_internal_topic = led_only_later  # type: ignore[method-assign]
        request = find_coordinator.FindCoordinatorRequest(key="g")
        response = node.call(ApiKey.FIND_COORDINATOR, 0, request)
        assert (response.error_code, response.node_id) == (0, 1)

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.FIND_COORDINATOR])
    def test_without_a_leader_clients_are_told_to_ask_again(self, node: Node, version: int) -> None:
        asyncio.run(node.ensure_internal_topic())
        topic = node.image.topics[placement.TOPIC]
        for index in range(len(topic.partitions)):
            node.leaders[topic.id, index] = Leadership()
        request = find_coordinator.FindCoordinatorRequest(key="g", coordinator_keys=["g"])
        response = node.call(ApiKey.FIND_COORDINATOR, version, request)
        found = response.coordinators[0] if version >= 4 else response
        assert found.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
        assert found.node_id == -1

    def test_a_leader_that_is_not_alive_is_nobodys_coordinator(self, node: Node) -> None:
        asyncio.run(node.ensure_internal_topic())
        node.live_brokers = frozenset()
        request = find_coordinator.FindCoordinatorRequest(key="g")
        response = node.call(ApiKey.FIND_COORDINATOR, 3, request)
        assert response.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE

    def test_without_a_metadata_leader_clients_are_told_to_ask_again(self, node: Node) -> None:
        node.unreachable = KafkaError(ErrorCode.NOT_CONTROLLER)
        request = find_coordinator.FindCoordinatorRequest(key="g")
        response = node.call(ApiKey.FIND_COORDINATOR, 3, request)
        assert response.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE

    @pytest.mark.parametrize(
        ("key_type", "code"),
        [(1, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), (7, ErrorCode.INVALID_REQUEST)],
    )
    def test_other_kinds_of_keys_have_no_coordinator(
        self, node: Node, key_type: int, code: ErrorCode
    ) -> None:
        request = find_coordinator.FindCoordinatorRequest(key="x", key_type=key_type)
        assert node.call(ApiKey.FIND_COORDINATOR, 3, request).error_code == code
        assert placement.TOPIC not in node.image.topics


class TestMembership:
    """Join, sync, heartbeat, leave, in every version."""

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.JOIN_GROUP])
    def test_a_member_joins(self, node: Node, version: int) -> None:
        reply = node.call(ApiKey.JOIN_GROUP, version, joining())
        if version >= 4:
            assert reply.error_code == ErrorCode.MEMBER_ID_REQUIRED
            assert reply.protocol_name == (None if version >= 7 else "")
            reply = node.call(ApiKey.JOIN_GROUP, version, joining(reply.member_id))
        assert (reply.error_code, reply.generation_id, reply.protocol_name) == (0, 1, "range")
        assert reply.leader == reply.member_id
        assert [bytes(m.metadata) for m in reply.members] == [b"topics"]
        (member,) = node.bench.group().members.values()
        assert member.client_host == "/10.0.0.9"
        assert member.rebalance_timeout_ms == (60_000 if version >= 1 else 10_000)

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.JOIN_GROUP])
    def test_a_refused_member_keeps_its_id(self, node: Node, version: int) -> None:
        reply = node.call(ApiKey.JOIN_GROUP, version, joining("stranger"))
        assert reply.error_code == ErrorCode.UNKNOWN_MEMBER_ID
        assert (reply.member_id, reply.generation_id) == ("stranger", -1)

    def test_two_members_share_the_next_generation(self, node: Node) -> None:
        async def script() -> list[Any]:
            first = await node.ask(ApiKey.JOIN_GROUP, 3, joining())
            async with asyncio.TaskGroup() as tasks:
                late = tasks.create_task(node.ask(ApiKey.JOIN_GROUP, 3, joining()))
                await asyncio.sleep(0)
                request = joining(first.member_id)
                again = tasks.create_task(node.ask(ApiKey.JOIN_GROUP, 3, request))
            return [late.result(), again.result()]

        late, again = asyncio.run(script())
        assert late.generation_id == again.generation_id == 2
        assert late.leader == again.member_id
        assert {m.member_id for m in again.members} == {late.member_id, again.member_id}

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.SYNC_GROUP])
    def test_a_member_syncs(self, node: Node, version: int) -> None:
        member_id = member_of_generation_1(node)
        request = sync_group.SyncGroupRequest(
            group_id="g", generation_id=1, member_id=member_id, protocol_type="consumer"
        )
        reply = node.call(ApiKey.SYNC_GROUP, version, request)
        assert (reply.error_code, bytes(reply.assignment)) == (0, b"all")
        assert reply.protocol_name == ("range" if version >= 5 else None)

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.HEARTBEAT])
    def test_a_member_lives(self, node: Node, version: int) -> None:
        member_id = member_of_generation_1(node)

        def beat(generation: int) -> int:
            request = heartbeat.HeartbeatRequest(
                group_id="g", generation_id=generation, member_id=member_id
            )
            return int(node.call(ApiKey.HEARTBEAT, version, request).error_code)

        assert beat(1) == 0
        assert beat(2) == ErrorCode.ILLEGAL_GENERATION

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.LEAVE_GROUP])
    def test_a_member_leaves(self, node: Node, version: int) -> None:
        member_id = member_of_generation_1(node)
        members = [leave_group.MemberIdentity(member_id=m) for m in (member_id, "stranger")]
        request = leave_group.LeaveGroupRequest(group_id="g", member_id=member_id, members=members)
        reply = node.call(ApiKey.LEAVE_GROUP, version, request)
        assert reply.error_code == 0
        if version >= 3:
            codes = [m.error_code for m in reply.members]
            assert codes == [0, ErrorCode.UNKNOWN_MEMBER_ID]
        assert not node.bench.group().members

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.LEAVE_GROUP])
    def test_nobody_leaves_a_group_that_does_not_exist(self, node: Node, version: int) -> None:
        members = [leave_group.MemberIdentity(member_id="m")]
        request = leave_group.LeaveGroupRequest(group_id="g", member_id="m", members=members)
        reply = node.call(ApiKey.LEAVE_GROUP, version, request)
        code = reply.members[0].error_code if version >= 3 else reply.error_code
        assert code == ErrorCode.UNKNOWN_MEMBER_ID

    def test_while_the_coordinator_loads_members_lose_nothing(self, node: Node) -> None:
        node.refuse = KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        beat = heartbeat.HeartbeatRequest(group_id="g", generation_id=1, member_id="m")
        assert node.call(ApiKey.HEARTBEAT, 4, beat).error_code == 0
        sync = sync_group.SyncGroupRequest(group_id="g", generation_id=1, member_id="m")
        reply = node.call(ApiKey.SYNC_GROUP, 5, sync)
        assert reply.error_code == ErrorCode.REBALANCE_IN_PROGRESS
        reply = node.call(ApiKey.JOIN_GROUP, 9, joining())
        assert reply.error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS

    @pytest.mark.parametrize(
        ("met", "told"),
        [
            (ErrorCode.NOT_COORDINATOR, ErrorCode.NOT_COORDINATOR),
            (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_COORDINATOR),
            (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_COORDINATOR),
            (ErrorCode.REQUEST_TIMED_OUT, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        ],
    )
    def test_what_befalls_the_log_is_told_in_words_of_groups(
        self, node: Node, met: ErrorCode, told: ErrorCode
    ) -> None:
        node.refuse = KafkaError(met)
        assert node.call(ApiKey.JOIN_GROUP, 9, joining()).error_code == told
        commit = node.call(ApiKey.OFFSET_COMMIT, 8, committing())
        assert commit.topics[0].partitions[0].error_code == told
        leave = leave_group.LeaveGroupRequest(group_id="g")
        assert node.call(ApiKey.LEAVE_GROUP, 4, leave).error_code == told

    def test_a_group_without_a_name_has_no_members(self, node: Node) -> None:
        request = heartbeat.HeartbeatRequest(group_id="", generation_id=1, member_id="m")
        reply = node.call(ApiKey.HEARTBEAT, 4, request)
        assert reply.error_code == ErrorCode.INVALID_GROUP_ID

    def test_members_need_the_right_to_read(self, node: Node) -> None:
        node.authorizer = NobodyMay(Operation.READ, ResourceType.GROUP)
        reply = node.call(ApiKey.JOIN_GROUP, 9, joining())
        assert reply.error_code == ErrorCode.GROUP_AUTHORIZATION_FAILED


class TestOffsets:
    """Commit and fetch, in every version."""

    def fetching(self, *partitions: int, everything: bool = False) -> Any:
        named = None if everything else partitions
        return offset_fetch.OffsetFetchRequest(
            group_id="g",
            topics=None
            if named is None
            else [offset_fetch.OffsetFetchRequestTopic(name="t", partition_indexes=named)],
            groups=[
                offset_fetch.OffsetFetchRequestGroup(
                    group_id=group_id,
                    topics=None
                    if named is None
                    else [offset_fetch.OffsetFetchRequestTopics(name="t", partition_indexes=named)],
                )
                for group_id in ("g", "h")
            ],
        )

    def told(self, response: Any, version: int) -> list[tuple[int, int, str, int]]:
        topics = response.groups[0].topics if version >= 8 else response.topics
        return [
            (one.partition_index, one.committed_offset, one.metadata, one.error_code)
            for topic in topics
            for one in topic.partitions
        ]

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.OFFSET_COMMIT])
    def test_an_offset_is_committed_with_its_note(self, node: Node, version: int) -> None:
        reply = node.call(ApiKey.OFFSET_COMMIT, version, committing())
        assert reply.topics[0].partitions[0].error_code == 0
        found = node.call(ApiKey.OFFSET_FETCH, 7, self.fetching(0))
        assert self.told(found, 7) == [(0, 42, "a note", 0)]

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.OFFSET_FETCH])
    def test_offsets_are_fetched(self, node: Node, version: int) -> None:
        node.call(ApiKey.OFFSET_COMMIT, 8, committing())
        found = node.call(ApiKey.OFFSET_FETCH, version, self.fetching(0, 1))
        assert self.told(found, version) == [(0, 42, "a note", 0), (1, -1, "", 0)]

    @pytest.mark.parametrize("version", range(2, APIS[ApiKey.OFFSET_FETCH].max_version + 1))
    def test_no_topics_means_all(self, node: Node, version: int) -> None:
        node.call(ApiKey.OFFSET_COMMIT, 8, committing())
        found = node.call(ApiKey.OFFSET_FETCH, version, self.fetching(everything=True))
        assert self.told(found, version) == [(0, 42, "a note", 0)]

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.OFFSET_FETCH])
    def test_a_refusal_stands_where_the_version_has_room(self, node: Node, version: int) -> None:
        node.refuse = KafkaError(ErrorCode.NOT_COORDINATOR)
        found = node.call(ApiKey.OFFSET_FETCH, version, self.fetching(0))
        if version >= 8:
            assert [g.error_code for g in found.groups] == [ErrorCode.NOT_COORDINATOR] * 2
        elif version >= 2:
            assert found.error_code == ErrorCode.NOT_COORDINATOR
        else:
            assert self.told(found, version) == [(0, -1, "", ErrorCode.NOT_COORDINATOR)]

    @pytest.mark.parametrize(("topic", "partition"), [("unknown", 0), ("t", 3), ("t", -1)])
    def test_a_partition_that_does_not_exist_is_not_committed(
        self, node: Node, topic: str, partition: int
    ) -> None:
        request = committing()
        request.topics[0].name = topic
        request.topics[0].partitions[0].partition_index = partition
        reply = node.call(ApiKey.OFFSET_COMMIT, 8, request)
        code = reply.topics[0].partitions[0].error_code
        assert code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert not node.bench.log

    @pytest.mark.parametrize(
        ("version", "code"), [(8, ErrorCode.ILLEGAL_GENERATION), (9, ErrorCode.GROUP_ID_NOT_FOUND)]
    )
    def test_a_member_of_no_group_is_told_so_in_its_version(
        self, node: Node, version: int, code: ErrorCode
    ) -> None:
        reply = node.call(ApiKey.OFFSET_COMMIT, version, committing("m", 3))
        assert reply.topics[0].partitions[0].error_code == code

    def test_topics_that_one_may_not_see_are_not_told(self, node: Node) -> None:
        node.call(ApiKey.OFFSET_COMMIT, 8, committing())
        node.authorizer = NobodyMay(Operation.DESCRIBE, ResourceType.TOPIC, "t")
        named = node.call(ApiKey.OFFSET_FETCH, 7, self.fetching(0))
        assert self.told(named, 7) == [(0, -1, "", ErrorCode.TOPIC_AUTHORIZATION_FAILED)]
        everything = node.call(ApiKey.OFFSET_FETCH, 7, self.fetching(everything=True))
        assert self.told(everything, 7) == []

    def test_topics_that_one_may_not_read_are_not_committed(self, node: Node) -> None:
        node.authorizer = NobodyMay(Operation.READ, ResourceType.TOPIC, "t")
        reply = node.call(ApiKey.OFFSET_COMMIT, 8, committing())
        code = reply.topics[0].partitions[0].error_code
        assert code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
        assert not node.bench.log


class TestAdministration:
    """Describe, list, delete, in every version."""

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.DESCRIBE_GROUPS])
    def test_a_group_is_described(self, node: Node, version: int) -> None:
        member_id = member_of_generation_1(node)
        request = describe_groups.DescribeGroupsRequest(
            groups=["g", "nothing"], include_authorized_operations=True
        )
        found, nothing = node.call(ApiKey.DESCRIBE_GROUPS, version, request).groups
        assert (found.error_code, found.group_state) == (0, "Stable")
        assert (found.protocol_type, found.protocol_data) == ("consumer", "range")
        assert [m.member_id for m in found.members] == [member_id]
        assert [bytes(m.member_assignment) for m in found.members] == [b"all"]
        assert nothing.group_state == "Dead"
        assert nothing.error_code == (ErrorCode.GROUP_ID_NOT_FOUND if version >= 6 else 0)
        if version >= 3:
            bits = 1 << Operation.READ | 1 << Operation.DELETE | 1 << Operation.DESCRIBE
            assert found.authorized_operations == bits

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.LIST_GROUPS])
    def test_groups_are_listed(self, node: Node, version: int) -> None:
        member_of_generation_1(node)
        (listed,) = node.call(ApiKey.LIST_GROUPS, version, list_groups.ListGroupsRequest()).groups
        assert (listed.group_id, listed.protocol_type) == ("g", "consumer")
        assert listed.group_state == ("Stable" if version >= 4 else "")
        assert listed.group_type == ("classic" if version >= 5 else "")

    @pytest.mark.parametrize(
        ("states", "types", "count"),
        [
            (["stable"], [], 1),
            (["Empty", "Dead"], [], 0),
            ([], ["Classic"], 1),
            ([], ["consumer"], 0),
        ],
    )
    def test_a_list_is_filtered_by_state_and_type(
        self, node: Node, states: list[str], types: list[str], count: int
    ) -> None:
        member_of_generation_1(node)
        request = list_groups.ListGroupsRequest(states_filter=states, types_filter=types)
        assert len(node.call(ApiKey.LIST_GROUPS, 5, request).groups) == count

    def test_who_may_not_see_the_cluster_sees_the_groups_it_may(self, node: Node) -> None:
        class OnlyGroupH:
            def allows(self, principal: Any, operation: Any, resource: Any, name: str) -> bool:
                return (resource, name) == (ResourceType.GROUP, "h")

        member_of_generation_1(node)
        node.authorizer = OnlyGroupH()
        assert not node.call(ApiKey.LIST_GROUPS, 5, list_groups.ListGroupsRequest()).groups

    @pytest.mark.parametrize("version", ALL_VERSIONS[ApiKey.DELETE_GROUPS])
    def test_groups_are_deleted(self, node: Node, version: int) -> None:
        member_of_generation_1(node)
        request = delete_groups.DeleteGroupsRequest(groups_names=["g", "nothing", "g"])
        results = node.call(ApiKey.DELETE_GROUPS, version, request).results
        assert [(r.group_id, r.error_code) for r in results] == [
            ("g", ErrorCode.NON_EMPTY_GROUP),
            ("nothing", ErrorCode.GROUP_ID_NOT_FOUND),
        ]


@pytest.mark.parametrize(
    ("key", "request_"),
    [
        (ApiKey.FIND_COORDINATOR, find_coordinator.FindCoordinatorRequest(coordinator_keys=["g"])),
        (ApiKey.JOIN_GROUP, joining()),
        (ApiKey.SYNC_GROUP, sync_group.SyncGroupRequest(group_id="g")),
        (ApiKey.HEARTBEAT, heartbeat.HeartbeatRequest(group_id="g")),
        (ApiKey.LEAVE_GROUP, leave_group.LeaveGroupRequest(group_id="g")),
        (ApiKey.OFFSET_COMMIT, committing()),
        (ApiKey.OFFSET_FETCH, offset_fetch.OffsetFetchRequest(group_id="g", topics=[])),
        (ApiKey.DESCRIBE_GROUPS, describe_groups.DescribeGroupsRequest(groups=["g"])),
        (ApiKey.LIST_GROUPS, list_groups.ListGroupsRequest()),
        (ApiKey.DELETE_GROUPS, delete_groups.DeleteGroupsRequest(groups_names=["g"])),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_failure_can_be_said_in_every_version(key: ApiKey, request_: Any) -> None:
    for version in ALL_VERSIONS[key]:
        call = Call(version, "client", LISTENER)
        response = dispatch.ROUTES[key].failed(call, request_, ErrorCode.UNKNOWN_SERVER_ERROR)
        raw = b"".join(codec.encode(response, version))
        assert codec.decode(APIS[key].response, version, memoryview(raw))
