"""Flanking nodes come and go as they please, and never lead."""

import functools
import itertools
import random
import time
from collections.abc import Callable

from quorate_bed import kube
from quorate_bed.polling import eventually
from quorate_bed.product import FIRST_FLANKING_ID, BrokerCluster, Json, condition, restarts

GONE_S = 5.5
"""T of the requirements: two polls of the operator and an election."""
UP_S = 60
KILLS = 3
ELECTIONS = 50
SAMPLES = 1000
SEED = 7
PARTITIONS = 12
SESSION_S = 6
REBALANCE_S = 5
CONTROLLER = "/v1/partitions/redpanda/controller/0"

METADATA_BROKERS = """
import json, sys
from confluent_kafka.admin import AdminClient
found = AdminClient({"bootstrap.servers": sys.argv[1]}).list_topics(timeout=10)
print(json.dumps(sorted(found.brokers)))
"""

MEMBER = """
import os, signal, sys, time
from confluent_kafka import Consumer
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
consumer = Consumer({
    "bootstrap.servers": os.environ["QUORATE_BOOTSTRAP_SERVERS"],
    "client.id": os.environ["HOSTNAME"],
    "group.id": "sharing",
    "heartbeat.interval.ms": 2000,
    "session.timeout.ms": SESSION_MS,
})
consumer.subscribe(["shared"], on_assign=lambda *_: print(time.time(), flush=True))
while True:
    consumer.poll(1)
""".replace("SESSION_MS", str(1000 * SESSION_S))

CREATE = """
import sys
from confluent_kafka.admin import AdminClient, NewTopic
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
for made in admin.create_topics([NewTopic("shared", int(sys.argv[2]))]).values():
    made.result(30)
"""

OWNED = """
import json, sys
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
(group,) = admin.describe_consumer_groups(["sharing"], request_timeout=5).values()
try:
    members = group.result(10).members
except KafkaException as error:  # nobody coordinates a group before the first one came
    print(json.dumps({"error": [str(error)]}))
else:
    print(json.dumps({
        member.client_id: [one.partition for one in member.assignment.topic_partitions]
        for member in members
    }))
"""


def flanking_ready(three: BrokerCluster, ids: list[int]) -> Json:
    """The status, once exactly these flanking nodes are ready and registered with the leader."""
    status = three.status()
    shown = [node for node in status["nodes"] if node["role"] == "flanking"]
    assert [node["nodeId"] for node in shown if node["ready"]] == ids, shown
    assert len(shown) == len(ids)
    listed = three.admin(status["leader"]["nodeId"], "/v1/flanking")
    assert listed is not None
    assert [node["node_id"] for node in listed] == ids, listed
    return status


def test_flanking_nodes_coming_dying_and_going_under_load_change_nothing_for_the_brokers(
    three: BrokerCluster,
) -> None:
    before = three.status()
    generation = three.stateful_set()["metadata"]["generation"]
    brokers = [(pod["metadata"]["uid"], restarts(pod)) for pod in three.pods("broker")]
    ids = [FIRST_FLANKING_ID + ordinal for ordinal in range(3)]
    choose = random.Random(SEED)
    with three.statuses() as seen, three.load("flanking-churn") as load:
        three.scale_flanking(3)
        there = eventually(lambda: flanking_ready(three, ids), deadline_s=UP_S, what="3 flanking")
        for node in there["nodes"]:
            broker = node["nodeId"] < FIRST_FLANKING_ID
            assert node["role"] == ("broker" if broker else "flanking")
            assert node["pod"] == three.pod_of(node["nodeId"])
            assert node["incarnation"]
            assert node["state"] == "active"
            assert node["leader"] is (node["nodeId"] == there["leader"]["nodeId"])
        for node_id in choose.sample(ids, KILLS):
            three.kill(node_id)
            load.goes_on()
        three.scale_flanking(0)

        def gone() -> bool:
            return {node["role"] for node in three.status()["nodes"]} == {"broker"}

        eventually(gone, deadline_s=GONE_S, what="no flanking node in the status")
        eventually(lambda: three.pods("flanking") == [], deadline_s=UP_S, what="no flanking pod")
        eventually(
            lambda: three.admin(before["leader"]["nodeId"], "/v1/flanking") == [],
            what="no flanking node with the brokers",
        )
        load.finish()
    assert len(seen) > 2, "the comings and goings were watched"
    assert {len(status["nodes"]) for status in seen} >= {3, 6}
    for status in seen:
        assert condition(status, "Ready")["status"] == "True", status
        assert status["leader"] == before["leader"], "same leader, same epoch, same beginning"
        assert status["leaderTransitions"] == before["leaderTransitions"]
        assert status["clusterId"] == before["clusterId"]
    assert three.stateful_set()["metadata"]["generation"] == generation
    assert [(pod["metadata"]["uid"], restarts(pod)) for pod in three.pods("broker")] == brokers


def test_clients_beside_flanking_nodes_share_a_topic_also_after_one_of_them_was_killed(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    three.client.python(CREATE, three.bootstrap, str(PARTITIONS))
    member = {"name": "member", "image": kube.CLIENT_IMAGE, "command": ["python3", "-c", MEMBER]}
    three.apply(flanking={"replicas": 3, "containers": [member]})
    ids = [FIRST_FLANKING_ID + ordinal for ordinal in range(3)]

    def shared(*ids: int) -> bool:
        owned = three.client.python(OWNED, three.bootstrap)
        assert set(owned) == {three.pod_of(node_id) for node_id in ids}, owned
        assert sorted(itertools.chain(*owned.values())) == list(range(PARTITIONS)), owned
        assert max(map(len, owned.values())) == PARTITIONS // len(ids), owned
        return True

    def assigned(node_id: int) -> float:
        """When a member was told last what is its own."""
        return float(three.kubectl("logs", three.pod_of(node_id), "-c", "member", "--tail=1"))

    every = functools.partial(shared, *ids)
    eventually(every, deadline_s=UP_S, what="three members share the topic")
    began = time.time()
    hold = three.kill(ids[0], hold=True)
    try:
        rest = functools.partial(shared, *ids[1:])
        eventually(rest, deadline_s=UP_S, what="two share it")
        rebalanced_s = max(map(assigned, ids[1:])) - began
        figure("rebalanced_s", rebalanced_s)
        assert 0 < rebalanced_s < SESSION_S + REBALANCE_S, "by their own clocks"
    finally:
        hold.release()
    eventually(every, deadline_s=UP_S, what="three share it again")


def test_in_fifty_forced_elections_brokers_agree_and_no_flanking_node_leads_votes_or_is_listed(
    three: BrokerCluster,
) -> None:
    ids = [FIRST_FLANKING_ID, FIRST_FLANKING_ID + 1]
    three.scale_flanking(2)
    before = eventually(lambda: flanking_ready(three, ids), deadline_s=UP_S, what="2 flanking")
    brokers = three.broker_ids()
    leaders: dict[int, set[int]] = {}
    samples = 0

    def look() -> set[tuple[int, int]]:
        """What each broker says now: who leads in which term. Everything seen is remembered."""
        nonlocal samples
        told = set()
        for node_id in brokers:
            health = three.health(node_id)
            samples += 1
            assert health["all_nodes"] == brokers
            assert health["controller_id"] in (-1, *brokers)
            told.add((health["term"], health["controller_id"]))
        for term, leader in told:
            if leader != -1:
                leaders.setdefault(term, set()).add(leader)
                assert len(leaders[term]) == 1, f"two leaders in term {term}: {leaders[term]}"
        return told

    def agreed(after: int) -> tuple[int, int]:
        told = look()
        assert len(told) == 1, told
        term, leader = told.pop()
        assert term > after, f"still term {term}"
        assert leader != -1
        return term, leader

    term, leader = eventually(lambda: agreed(0), what="one leader")
    assert three.post(leader, f"{CONTROLLER}/transfer_leadership?target={ids[0]}") == 400
    others = itertools.cycle(brokers)
    for _ in range(ELECTIONS):
        target = next(node_id for node_id in others if node_id != leader)
        assert three.post(leader, f"{CONTROLLER}/transfer_leadership?target={target}") == 200
        term, leader = eventually(
            lambda after=term: agreed(after), deadline_s=GONE_S, every_s=0.02, what="one new leader"
        )
    while samples < SAMPLES:
        assert agreed(term - 1) == (term, leader), "nobody asked for another election"
    assert len(leaders) >= ELECTIONS

    replicas = three.admin(leader, CONTROLLER)
    assert replicas is not None
    assert sorted(replica["node_id"] for replica in replicas["replicas"]) == brokers
    assert three.client.python(METADATA_BROKERS, three.bootstrap) == brokers

    def counted() -> bool:
        status = flanking_ready(three, ids)
        assert status["leader"]["nodeId"] == leader
        assert status["leader"]["epoch"] == term
        made = status["leaderTransitions"] - before["leaderTransitions"]
        assert made == len(leaders) - 1, f"{made} counted, {len(leaders) - 1} seen"
        return True

    eventually(counted, deadline_s=GONE_S, what="the last leader told, every change counted")


def test_without_any_broker_nobody_leads_and_flanking_nodes_are_left_alone(
    three: BrokerCluster,
) -> None:
    three.scale_flanking(1)
    eventually(lambda: flanking_ready(three, [FIRST_FLANKING_ID]), deadline_s=UP_S, what="flanking")
    generation = three.stateful_set("flanking")["metadata"]["generation"]
    flanking = [(pod["metadata"]["uid"], restarts(pod)) for pod in three.pods("flanking")]
    holds = [three.kill(node_id, hold=True) for node_id in three.broker_ids()]
    try:

        def told() -> Json:
            status = three.status()
            ready = condition(status, "Ready")
            assert ready["status"] == "False"
            assert ready["reason"] == "NoBrokerAnswers", ready
            assert "leader" not in status
            return status

        status = eventually(told, what="Ready is False, with the reason")
        assert "No broker answers, so nobody leads" in condition(status, "Ready")["message"]
        down = [node["state"] for node in status["nodes"] if node["role"] == "broker"]
        assert down == ["down"] * 3
        assert [(p["metadata"]["uid"], restarts(p)) for p in three.pods("flanking")] == flanking
        assert three.stateful_set("flanking")["metadata"]["generation"] == generation
    finally:
        for hold in holds:
            hold.release()
    eventually(three.settled, deadline_s=90, what="all brokers back by themselves")
