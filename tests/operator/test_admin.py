"""What is asked of brokers over HTTP, and that anything odd counts as no answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quorate_operator.admin import AdminError, HttpAdmin
from quorate_operator.brokers import Brokers
from quorate_operator.facts import Claim, Partition, Survey
from quorate_operator.testing.fake_broker import FakeBroker

HOST = "orders-broker-0.orders-brokers.shop.svc"
ANSWERS: dict[str, tuple[int, Any]] = {
    "GET /v1/brokers": (
        200,
        [
            {"node_id": 1, "membership_status": "active"},
            {"node_id": 2, "membership_status": "active"},
            {"node_id": 3, "membership_status": "draining"},
        ],
    ),
    "GET /v1/cluster/health_overview": (
        200,
        {"controller_id": 1, "term": 4, "cluster_id": "id-1", "nodes_down": [2]},
    ),
    "GET /v1/partitions": (
        200,
        [
            {
                "ns": "kafka",
                "topic": "orders",
                "partition_id": 0,
                "leader_id": 2,
                "replicas": [{"node_id": 3, "core": 0}, {"node_id": 1, "core": 0}],
                "in_sync_replicas": [1],
            }
        ],
    ),
    "GET /v1/brokers/3/decommission": (
        200,
        {"finished": False, "replicas_left": 1, "allocation_failures": ["kafka/orders/0"]},
    ),
}


@contextlib.asynccontextmanager
async def asking(**answers: tuple[int, Any]) -> AsyncIterator[tuple[FakeBroker, HttpAdmin]]:
    async with FakeBroker("127.0.0.1").serve() as broker, Brokers(port=broker.port) as brokers:
        broker.answers = ANSWERS | answers
        brokers.addresses.know(HOST, "127.0.0.1")
        yield broker, HttpAdmin(brokers)


def test_a_survey_is_put_together_from_what_the_leader_says():
    async def story():
        async with asking() as (_, admin):
            assert await admin.survey(HOST) == Survey(
                leader=Claim(1, 4),
                members=(1, 2, 3),
                nodes_down=(2,),
                partitions=(Partition("kafka/orders/0", 2, (1, 3), (1,)),),
                stuck={3: "kafka/orders/0"},
            )

    asyncio.run(story())


@pytest.mark.parametrize("path", ANSWERS)
@pytest.mark.parametrize(
    "answer", [(404, {"message": "no", "code": 404}), (200, {}), (200, [{}]), (200, None)]
)
def test_a_survey_that_lacks_a_part_is_none(path, answer):
    async def story():
        async with asking(**{path: answer}) as (_, admin):
            assert await admin.survey(HOST) is None

    asyncio.run(story())


def test_a_broker_that_cannot_be_reached_surveys_nothing():
    async def story():
        async with asking() as (_, admin):
            assert await admin.survey("orders-broker-9.orders-brokers.shop.svc") is None

    asyncio.run(story())


def test_each_verb_is_one_call_and_a_refusal_is_told_in_the_brokers_words():
    async def story():
        done = {
            "POST /v1/raft/0/transfer_leadership?target=2": (200, {}),
            "PUT /v1/brokers/3/decommission": (200, {}),
            "PUT /v1/brokers/3/recommission": (400, {"message": "it is not draining"}),
        }
        async with asking(**done) as (broker, admin):
            await admin.transfer(HOST, 2)
            await admin.decommission(HOST, 3, leave=True)
            with pytest.raises(AdminError, match="it is not draining"):
                await admin.decommission(HOST, 3, leave=False)
            assert broker.called == list(done)
            with pytest.raises(AdminError, match="no answer from orders-broker-9"):
                await admin.transfer("orders-broker-9", 2)

    asyncio.run(story())
