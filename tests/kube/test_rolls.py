"""Brokers are restarted, and leave, while clients go on: by the operator, one at a time."""

import time
from collections.abc import Callable, Iterator

import pytest

from quorate_bed.kube import Kubectl
from quorate_bed.polling import eventually
from quorate_bed.product import Api, BrokerCluster, Json

ROLLED_S = 60
"""Of three brokers, each of which is back within five seconds."""
LEFT_S = 180
SCALED_S = 300


def uids(three: BrokerCluster) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in three.pods("broker")}


def restarts(three: BrokerCluster) -> list[Json]:
    """Events of restarts, oldest first."""
    return [one for one in three.events() if one.get("action") == "Restart"]


def test_a_roll_takes_one_broker_at_a_time_the_leader_last_and_no_client_sees_an_error(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    before, told = uids(three), len(restarts(three))
    leader = three.status()["leader"]["pod"]
    with three.load("rolled") as load:
        load.goes_on()
        began = time.monotonic()
        three.kubectl("annotate", "bc", three.name, "quorate.dev/restart=now", "--overwrite")

        def rolled() -> Json:
            after = uids(three)
            assert set(after) == set(before)
            assert not set(after.values()) & set(before.values())
            status = three.settled()
            assert "rollout" not in status
            return status

        status = eventually(rolled, deadline_s=ROLLED_S, what="every broker restarted")
        figure("roll_s", time.monotonic() - began)
        load.finish()
    assert status["updatedText"] == "3/3"
    events = restarts(three)[told:]
    assert [one["reason"] for one in events] == ["RestartRequested"] * 3, "one of each"
    assert events[-1]["note"] == f"Restarting {leader}."


@pytest.mark.full
def test_a_second_cluster_waits_with_its_roll_until_the_first_is_through(
    three: BrokerCluster, kubectl: Kubectl, api: Api
) -> None:
    other = BrokerCluster(kubectl, api, "other", brokers=1)
    other.apply()
    other.settle()
    firsts, seconds = uids(three), uids(other)
    three.kubectl("annotate", "bc", three.name, "quorate.dev/restart=first", "--overwrite")
    eventually(lambda: three.status().get("rollout"), what="the first one begins")
    other.kubectl("annotate", "bc", other.name, "quorate.dev/restart=second")

    def waits() -> Json | None:
        blocked = other.status()["blockedBy"]
        return next((one for one in blocked if one["reason"] == "RolloutBudget"), None)

    assert three.name in eventually(waits, what="the second one says what it waits for")["message"]

    def through() -> bool:
        assert not set(uids(other).values()) & set(seconds.values())
        return True

    untouched = set(seconds.values())
    while set(uids(three).values()) & set(firsts.values()):
        assert set(uids(other).values()) == untouched, "while the first one rolls"
    eventually(through, deadline_s=ROLLED_S, what="the second one rolls after it")
    other.settle()


@pytest.mark.full
@pytest.mark.usefixtures("unrest")
def test_three_brokers_become_five_and_three_again_under_load(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    keep_nothing = {"size": "256Mi", "retention": {"whenScaled": "Delete"}}

    def members(count: int) -> Json:
        status = three.settled()
        assert status["effectiveReplicas"] == count
        listed = three.admin(status["leader"]["nodeId"], "/v1/brokers")
        assert [one["node_id"] for one in listed or []] == list(range(1, count + 1))
        return status

    with three.load("five") as load:
        for count in (5, 3):
            began = time.monotonic()
            three.apply(replicas=count, storage=keep_nothing)
            eventually(lambda count=count: members(count), deadline_s=SCALED_S, what=f"{count}")
            figure(f"to_{count}_s", time.monotonic() - began)
            load.goes_on()
        written = load.finish()
    figure("slowest_ack_s", written.slowest_ms / 1000)
    assert len(three.kubectl.list("pvc", f"quorate.dev/cluster={three.name}")) == 3


@pytest.fixture
def four(three: BrokerCluster) -> Iterator[BrokerCluster]:
    """The three, and a fourth for a while."""
    wanted = {"replicas": 4, "storage": {"retention": {"whenScaled": "Delete"}}}
    three.kubectl.patch("bc", three.name, {"spec": wanted})

    def grown() -> bool:
        found: str = three.status()["readyText"]
        return found == "4/4"

    try:
        eventually(grown, deadline_s=LEFT_S, what="four brokers")
        yield three
    finally:
        restored = {"replicas": 3, "storage": {"retention": None}}
        three.kubectl.patch("bc", three.name, {"spec": restored})


def test_a_broker_leaves_only_after_its_replicas_have_and_its_volume_goes_last(
    four: BrokerCluster,
) -> None:
    with four.load("departure") as load:
        load.goes_on()
        four.kubectl("scale", "brokercluster", four.name, "--replicas=3")

        def left() -> Json:
            status = four.settled()
            assert status["effectiveReplicas"] == 3
            claims = four.kubectl.list("pvc", f"quorate.dev/cluster={four.name}")
            assert len(claims) == 3
            members = four.admin(status["leader"]["nodeId"], "/v1/brokers")
            assert members is not None
            assert [one["node_id"] for one in members] == [1, 2, 3]
            return status

        eventually(left, deadline_s=LEFT_S, what="the fourth broker gone with its volume")
        load.finish()
