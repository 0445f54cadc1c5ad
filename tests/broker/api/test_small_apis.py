"""ApiVersions, InitProducerId, DescribeConfigs, and the table of all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate_broker import config
from quorate_broker.api import dispatch, topics
from quorate_broker.api.context import Call
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.testing.stub_node import StubNode, ask
from quorate_broker.wire import codec
from quorate_broker.wire.apis import APIS, ApiKey
from quorate_broker.wire.messages import api_versions, describe_configs, init_producer_id


class TestTable:
    def test_every_api_that_is_advertised_has_a_handler(self) -> None:
        assert dispatch.ROUTES.keys() == APIS.keys()

    @pytest.mark.parametrize("key", sorted(APIS))
    def test_every_api_can_say_in_every_version_that_it_failed(self, key: int) -> None:
        api = APIS[key]
        request = api.request()
        if key == ApiKey.PRODUCE:
            request.acks = -1  # with acks of 0 there is nothing to say it with
        for version in range(api.first_read, api.max_version + 1):
            code = ErrorCode.UNKNOWN_SERVER_ERROR
            response = dispatch.ROUTES[key].failed(Call(version), request, code)
            assert codec.encode(response, version)


class TestApiVersions:
    def test_the_table_is_what_is_served(self) -> None:
        request = api_versions.ApiVersionsRequest(
            client_software_name="kafka-python", client_software_version="3.0.12"
        )
        response = asyncio.run(ask(StubNode(), request, 4))
        ranges = {one.api_key: (one.min_version, one.max_version) for one in response.api_keys}
        assert response.error_code == 0
        assert ranges[ApiKey.PRODUCE][0] == 0, "or librdkafka does not compress"
        assert ranges.keys() == APIS.keys()

    @pytest.mark.parametrize(("name", "version"), [("", "1"), ("a", ""), ("-a", "1"), ("a b", "1")])
    def test_clients_that_cannot_name_themselves_are_refused(self, name: str, version: str) -> None:
        request = api_versions.ApiVersionsRequest(
            client_software_name=name, client_software_version=version
        )
        response = asyncio.run(ask(StubNode(), request, 3))
        assert response.error_code == ErrorCode.INVALID_REQUEST
        assert asyncio.run(ask(StubNode(), request, 2)).error_code == 0


class TestInitProducerId:
    def test_every_producer_gets_an_id_of_its_own(self) -> None:
        node = StubNode()
        request = init_producer_id.InitProducerIdRequest()
        first, second = (asyncio.run(ask(node, request, 4)) for _ in range(2))
        assert (first.error_code, first.producer_epoch) == (0, 0)
        assert first.producer_id != second.producer_id

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("mine", ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            ("", ErrorCode.INVALID_REQUEST),
        ],
    )
    def test_transactional_producers_are_refused(self, name: str, code: ErrorCode) -> None:
        request = init_producer_id.InitProducerIdRequest(transactional_id=name)
        response = asyncio.run(ask(StubNode(), request, 4))
        assert (response.error_code, response.producer_id) == (code, -1)

    def test_without_a_metadata_leader_the_client_is_to_ask_again(self) -> None:
        node = StubNode()
        node.unreachable = KafkaError(ErrorCode.NOT_CONTROLLER)
        response = asyncio.run(ask(node, init_producer_id.InitProducerIdRequest(), 4))
        assert response.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


class TestDescribeConfigs:
    def describe(self, node: StubNode, kind: int, name: str, keys: list[str] | None = None) -> Any:
        wanted = describe_configs.DescribeConfigsResource(
            resource_type=kind, resource_name=name, configuration_keys=keys
        )
        request = describe_configs.DescribeConfigsRequest(
            resources=[wanted], include_synonyms=True, include_documentation=True
        )
        (result,) = asyncio.run(ask(node, request, 4)).results
        return result

    def test_a_topic_has_its_own_values_the_brokers_and_the_defaults(self) -> None:
        node = StubNode(log_segment_bytes=5000)
        node.topic("t", max_message_bytes="2000")
        result = self.describe(node, 2, "t")
        values = {one.name: (one.value, one.config_source) for one in result.configs}
        assert values["max.message.bytes"] == ("2000", 1)
        assert values["segment.bytes"] == ("5000", 4)
        assert values["index.interval.bytes"] == ("4096", 5)
        assert values["cleanup.policy"] == ("delete", 5)
        own = next(one for one in result.configs if one.name == "max.message.bytes")
        assert [(one.name, one.source) for one in own.synonyms] == [
            ("max.message.bytes", 1),
            ("message.max.bytes", 5),
        ]
        assert not own.read_only
        assert own.documentation

    def test_no_key_of_a_topic_is_read_only_as_clients_expect(self) -> None:
        node = StubNode()
        node.topic("t")
        result = self.describe(node, 2, "t")
        assert [one.name for one in result.configs if one.read_only] == []

    def test_a_broker_tells_its_addresses_and_its_id_under_kafkas_names(self) -> None:
        listener = config.Listener("EXTERNAL", "0.0.0.0", 9092, "none", "", "kafka.example", 9)
        result = self.describe(StubNode(listeners=(listener,)), 4, "1")
        told = {one.name: (one.value, one.config_source, one.read_only) for one in result.configs}
        assert told["advertised.listeners"] == ("EXTERNAL://kafka.example:9", 4, True)
        assert told["broker.id"] == (told["node.id"][0], 4, True)

    def test_only_the_keys_that_were_asked_for(self) -> None:
        node = StubNode()
        node.topic("t")
        result = self.describe(node, 2, "t", ["segment.bytes", "no.such.key"])
        assert [one.name for one in result.configs] == ["segment.bytes"]

    def test_a_broker_tells_every_row_of_its_registry(self) -> None:
        result = self.describe(StubNode(num_partitions=7), 4, "1")
        values = {one.name: (one.value, one.config_source) for one in result.configs}
        assert values.keys() >= config.SETTINGS.keys()
        assert values["num.partitions"] == ("7", 4)
        assert values["auto.create.topics.enable"] == ("true", 5)

    @pytest.mark.parametrize(
        ("kind", "name", "code"),
        [
            (2, "missing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
            (2, "bad name", ErrorCode.INVALID_TOPIC_EXCEPTION),
            (4, "2", ErrorCode.INVALID_REQUEST),
            (4, "", ErrorCode.NONE),
            (8, "1", ErrorCode.INVALID_REQUEST),
        ],
    )
    def test_errors_are_each_resources_own(self, kind: int, name: str, code: ErrorCode) -> None:
        result = self.describe(StubNode(), kind, name)
        assert (result.error_code, list(result.configs)) == (code, [])


class TestNames:
    def test_names_that_differ_by_dots_and_underscores_collide(self) -> None:
        node = StubNode()
        node.topic("a.b_c")
        assert topics.collisions(node.image, "a_b.c") == ["a.b_c"]
        assert topics.collisions(node.image, "a.b_c") == []
        assert topics.collisions(node.image, "a.b.cd") == []

    def test_the_longest_legal_name(self) -> None:
        assert topics.name_problem("x" * 249) is None
        assert "max allowed length 249" in (topics.name_problem("x" * 250) or "")
