"""Another image and other settings, under load: one broker at a time, and nobody is turned away."""

import time
from collections.abc import Callable

import pytest

from quorate_bed import images, kube
from quorate_bed.polling import eventually
from quorate_bed.product import Api, BrokerCluster, Json, Operator

ROLLED_S = 240
"""With an operator that is killed all the time; the figure is kept apart."""
NEXT = "next"


@pytest.fixture
def next_image(three: BrokerCluster) -> str:
    """The tag under which every node has the brokers' image a second time."""
    reference = images.IMAGES["broker"].reference
    three.kubectl.cluster.tag_image(reference, f"{reference.rpartition(':')[0]}:{NEXT}")
    return NEXT


def tags(three: BrokerCluster) -> set[str]:
    containers = (pod["spec"]["containers"][0] for pod in three.pods("broker"))
    return {str(one["image"]).rpartition(":")[2] for one in containers}


def down(three: BrokerCluster) -> list[str]:
    """Pods that are on their way out, or whose process does not run yet."""
    found = []
    for pod in three.pods("broker"):
        containers = pod["status"].get("containerStatuses", [])
        runs = bool(containers) and all("running" in one["state"] for one in containers)
        if not runs or "deletionTimestamp" in pod["metadata"]:
            found.append(pod["metadata"]["name"])
    return found


def rolled_to(three: BrokerCluster, tag: str) -> Callable[[], Json]:
    """Fails for good when two brokers are down at a time."""

    def look() -> Json:
        gone = down(three)
        if len(gone) > 1:
            pytest.fail(f"down at a time: {gone}")
        assert tags(three) == {tag}
        status = three.settled()
        assert status["updatedText"] == "3/3"
        return status

    return look


@pytest.mark.full
@pytest.mark.usefixtures("unrest")
def test_the_image_is_upgraded_and_brought_back_and_no_client_sees_an_error(
    three: BrokerCluster, next_image: str, figure: Callable[[str, float], None]
) -> None:
    assert tags(three) == {"dev"}
    with three.load("upgraded") as load:
        for tag in (next_image, "dev"):
            began = time.monotonic()
            three.apply(version=tag)
            eventually(rolled_to(three, tag), deadline_s=ROLLED_S, what=f"all of them run {tag}")
            figure(f"roll_to_{tag}_s", time.monotonic() - began)
            load.goes_on()
        written = load.finish()
    figure("slowest_ack_s", written.slowest_ms / 1000)


def skewed(aged: BrokerCluster) -> Json | None:
    conditions = aged.status()["conditions"]
    return next((one for one in conditions if one["reason"] == "VersionSkew"), None)


@pytest.mark.full
def test_the_version_before_is_upgraded_under_load_and_is_not_gone_back_to_when_that_is_too_late(
    kubectl: kube.Kubectl, api: Api, figure: Callable[[str, float], None]
) -> None:
    aged = BrokerCluster(kubectl, api, "aged")
    aged.apply(version="older")
    aged.client.start()
    assert aged.settle()["metadataVersion"] == 2
    with aged.load("aged") as load:
        ahead = aged.pod_of(1)
        aged.kubectl("set", "image", f"pod/{ahead}", f"broker={images.IMAGES['broker'].reference}")
        drift = eventually(lambda: skewed(aged), what="a broker of another version is named")
        assert "broker 1 runs version" in drift["message"]
        began = time.monotonic()
        aged.apply(version="dev")
        eventually(rolled_to(aged, "dev"), deadline_s=ROLLED_S, what="all of them are newer")
        figure("roll_s", time.monotonic() - began)

        def raised() -> bool:
            return aged.settled()["metadataVersion"] == 3

        eventually(raised, what="what they know together is used")
        assert skewed(aged) is None
        pods = {pod["metadata"]["uid"] for pod in aged.pods("broker")}
        aged.apply(version="older")

        def refused() -> bool:
            blocked = aged.status()["blockedBy"]
            assert [one["reason"] for one in blocked] == ["VersionTooOld"], blocked
            return True

        eventually(refused, what="it says why it does not go back")
        load.goes_on()
        assert {pod["metadata"]["uid"] for pod in aged.pods("broker")} == pods
        aged.apply(version="dev")
        aged.settle()
        load.finish()
    assert {pod["metadata"]["uid"] for pod in aged.pods("broker")} == pods


@pytest.mark.full
@pytest.mark.usefixtures("unrest")
def test_a_setting_that_needs_a_restart_is_rolled_out_and_no_client_sees_an_error(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    before = {pod["metadata"]["uid"] for pod in three.pods("broker")}
    with three.load("configured") as load:
        began = time.monotonic()
        three.apply(config={"raft.heartbeat.interval.ms": "160"})

        def rolled() -> Json:
            status = rolled_to(three, "dev")()
            assert not before & {pod["metadata"]["uid"] for pod in three.pods("broker")}
            return status

        eventually(rolled, deadline_s=ROLLED_S, what="all of them restarted")
        figure("roll_s", time.monotonic() - began)
        written = load.finish()
    figure("slowest_ack_s", written.slowest_ms / 1000)
    for node_id in three.broker_ids():
        standings = three.admin(node_id, "/v1/cluster_config/status")
        assert standings is not None
        assert not any(one["restart"] for one in standings)


LEADERS = """
import collections, json, sys
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
admin = AdminClient({"bootstrap.servers": bootstrap})
if topic not in admin.list_topics(timeout=30).topics:
    for made in admin.create_topics([NewTopic(topic, count, 3)]).values():
        made.result(60)
found = admin.list_topics(timeout=30).topics
partitions = [each for one in found.values() for each in one.partitions.values()]
print(json.dumps(collections.Counter(each.leader for each in partitions)))
"""
PARTITIONS = 102
BALANCED_S = 180


@pytest.mark.full
def test_leaders_are_spread_evenly_again_after_a_roll_by_the_brokers_alone(
    three: BrokerCluster, operator: Operator, figure: Callable[[str, float], None]
) -> None:
    ask = (three.bootstrap, "many", str(PARTITIONS))

    def even() -> bool:
        led: dict[str, int] = three.client.python(LEADERS, *ask)
        assert sorted(led) == ["1", "2", "3"], led
        mean = sum(led.values()) / 3
        assert max(led.values()) <= mean + 1, led
        return True

    eventually(even, deadline_s=BALANCED_S, every_s=2, what="even at first")
    before = {pod["metadata"]["uid"] for pod in three.pods("broker")}
    three.kubectl("annotate", "bc", three.name, "quorate.dev/restart=balance", "--overwrite")

    def rolled() -> Json:
        assert not before & {pod["metadata"]["uid"] for pod in three.pods("broker")}
        return three.settled()

    eventually(rolled, deadline_s=ROLLED_S, what="rolled")
    operator.scale(0)
    began = time.monotonic()
    eventually(even, deadline_s=BALANCED_S, every_s=2, what="even again")
    figure("balanced_s", time.monotonic() - began)
