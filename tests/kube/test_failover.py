"""Brokers die on a real Kubernetes: they elect, the operator reports, clients only retry."""

import statistics
import time

from quorate_bed import product
from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, Json, condition, restarts

POLL_S, ELECTION_S = 2.0, 1.5
SEEN_S = 2 * POLL_S + ELECTION_S
"""T of the requirements: two polls of the operator and an election."""
WATCH_S = 1.0
"""The operator hears of a new leader by a long poll."""
CHANGES = 5
BACK_S = 90
"""A killed container is started again by its node after a pause of its own choosing."""


def leader_after(three: BrokerCluster, before: Json) -> Json:
    """The status, once it names a leader of a later epoch and has counted the change."""
    status = three.status()
    leader = status.get("leader")
    assert leader is not None, condition(status, "QuorumAvailable")
    assert leader["epoch"] > before["leader"]["epoch"], leader
    assert status["leaderTransitions"] > before["leaderTransitions"]
    return status


def agreed(three: BrokerCluster, among: list[int]) -> int:
    """The leader's id that all these brokers serve and the status names."""
    told = {three.health(node_id)["controller_id"] for node_id in among}
    told.add(three.status()["leader"]["nodeId"])
    assert len(told) == 1, told
    return told.pop()


def marked(three: BrokerCluster) -> list[str]:
    """Pods that carry the leader's label."""
    return [
        pod["metadata"]["name"]
        for pod in three.pods()
        if pod["metadata"]["labels"].get("quorate.dev/leader") == "true"
    ]


def test_a_killed_leader_is_followed_by_another_and_every_acknowledged_record_is_readable_in_order(
    three: BrokerCluster,
) -> None:
    before = three.status()
    old = before["leader"]
    alive = [node_id for node_id in three.broker_ids() if node_id != old["nodeId"]]
    with three.load("killed-leader") as load:
        with three.kill(old["nodeId"], hold=True):
            after = eventually(
                lambda: leader_after(three, before),
                deadline_s=SEEN_S,
                every_s=0.05,
                what="another leader in the status",
            )
            new = after["leader"]
            assert after["leaderTransitions"] == before["leaderTransitions"] + 1
            assert new["nodeId"] in alive
            assert new["pod"] == three.pod_of(new["nodeId"])
            assert load.goes_on() > 0
            eventually(lambda: agreed(three, alive), deadline_s=SEEN_S, what="one leader for all")

            def told_down() -> bool:
                return all(three.health(i)["nodes_down"] == [old["nodeId"]] for i in alive)

            eventually(told_down, deadline_s=10, what="the killed one in nodes_down")

            def shown_down() -> bool:
                status = three.status()
                node = next(n for n in status["nodes"] if n["nodeId"] == old["nodeId"])
                return not node["ready"] and not node["leader"] and node["state"] == "down"

            eventually(shown_down, deadline_s=SEEN_S, what="the killed one shown as down")
            for node_id in alive:
                pod = three.pod(node_id)
                assert condition(pod["status"], "Ready")["status"] == "True", "each for itself"
            assert condition(three.status(), "Ready")["status"] == "True"
            eventually(lambda: marked(three) == [new["pod"]], what="the label on the new leader")
        back = eventually(three.settled, deadline_s=BACK_S, what="the killed one back")
        load.finish()
    assert back["leader"] == new, "the old leader came back as a follower"
    assert {node["role"] for node in back["nodes"]} == {"broker"}
    assert restarts(three.pod(old["nodeId"])) > 0, "the same pod, only its process was another"


def test_a_change_of_leader_is_in_the_status_within_a_second(three: BrokerCluster) -> None:
    took_s = []
    for _ in range(CHANGES):
        before = three.status()
        old = before["leader"]["nodeId"]
        new = old % len(three.broker_ids()) + 1
        path = f"/v1/partitions/redpanda/controller/0/transfer_leadership?target={new}"
        assert three.post(old, path) == 200

        def leads(new: int = new) -> bool:
            return bool(three.health(new)["controller_id"] == new)

        eventually(leads, deadline_s=SEEN_S, every_s=0.02, what="the new leader")
        since = time.monotonic()
        status = eventually(
            lambda before=before: leader_after(three, before), deadline_s=SEEN_S, every_s=0.02
        )
        took_s.append(round(time.monotonic() - since, 2))
        assert status["leader"]["nodeId"] == new
    assert statistics.median(took_s) <= WATCH_S, took_s


def test_failover_needs_no_operator_and_one_that_comes_back_only_reports(
    three: BrokerCluster, operator: product.Operator
) -> None:
    before = three.status()
    old = before["leader"]
    alive = [node_id for node_id in three.broker_ids() if node_id != old["nodeId"]]
    generation = three.stateful_set()["metadata"]["generation"]
    pods = {pod["metadata"]["uid"] for pod in three.pods()}
    operator.scale(0)
    with three.load("no-operator") as load, three.kill(old["nodeId"], hold=True):

        def elected() -> int:
            told = {three.health(node_id)["controller_id"] for node_id in alive}
            assert len(told) == 1, told
            assert told <= set(alive), told
            return told.pop()

        new = eventually(elected, deadline_s=SEEN_S, what="a new leader without an operator")
        assert load.goes_on() > 0
        assert three.status()["leader"] == old, "nobody is there who could have told"
        operator.scale(1)
        status = eventually(lambda: leader_after(three, before), what="the new leader told")
        assert status["leader"]["nodeId"] == new
        assert status["leader"]["nodeId"] == elected(), "its coming back elected nobody"
        assert status["leaderTransitions"] == before["leaderTransitions"] + 1
        eventually(lambda: three.disruptions() == 0, what="no other broker may be evicted")
        load.finish()
    eventually(lambda: three.disruptions() == 1, deadline_s=90, what="one may be evicted again")
    assert three.stateful_set()["metadata"]["generation"] == generation
    assert {pod["metadata"]["uid"] for pod in three.pods()} == pods
    assert operator.writes("child") == 2, "the budget of disruptions, there and back"


def test_without_a_quorum_nobody_leads_nothing_is_acknowledged_and_it_heals_by_itself(
    three: BrokerCluster,
) -> None:
    survivor, *others = three.broker_ids()

    def write_impatiently() -> Json:
        said: Json = three.client.python(IMPATIENT, f"{three.host(survivor)}:9092", "impatient")
        return said

    assert write_impatiently() == {"acknowledged": True}
    with three.load("no-quorum", patience_s=BACK_S) as load:
        holds = [three.kill(node_id, hold=True) for node_id in others]
        try:

            def nobody_leads() -> Json:
                status = three.status()
                assert "leader" not in status, status["leader"]
                assert condition(status, "Ready")["status"] == "False"
                quorum = condition(status, "QuorumAvailable")
                assert quorum["status"] == "False"
                assert quorum["reason"] == "NoQuorum", quorum
                return status

            status = eventually(nobody_leads, what="a status without a leader")
            message = condition(status, "Ready")["message"]
            assert "without a majority nobody can lead" in message
            assert all(three.pod_of(node_id) in message for node_id in others)
            assert three.pod_of(survivor) not in message

            health = three.health(survivor)
            assert health["controller_id"] == -1
            assert health["is_healthy"] is False
            assert health["nodes_down"] == others

            assert write_impatiently() == {"acknowledged": False, "retriable": True}
        finally:
            for hold in holds:
                hold.release()
        eventually(three.settled, deadline_s=BACK_S, what="healed by itself")
        load.finish()  # a patient producer only waits


IMPATIENT = """
import asyncio, json, sys
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

async def main(bootstrap, topic):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", request_timeout_ms=2000)
    await producer.start()
    said = {"acknowledged": True}
    try:
        await producer.send_and_wait(topic, b"0", partition=0)
    except KafkaError as error:
        said = {"acknowledged": False, "retriable": error.retriable}
    finally:
        await producer.stop()
    print(json.dumps(said))

asyncio.run(main(*sys.argv[1:]))
"""
