"""The operator or the whole API server is away: no client notices, and nothing is done twice."""

import time
from collections.abc import Callable

import pytest

from quorate_bed import install, product
from quorate_bed.kube import Kubectl
from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, Json, condition, restarts

TAKE_OVER_S = 20
BACK_S = 240
AWAY_S = 120
SHORT_S = 60
SLOWEST_MS = 10_000
LEASE = "quorate-operator"


def holder(operators: Kubectl) -> str:
    lease = operators.get("lease", LEASE)
    assert lease is not None
    return str(lease["spec"].get("holderIdentity", ""))


@pytest.mark.full
def test_a_standby_takes_over_within_twenty_seconds_from_an_operator_that_was_killed(
    three: BrokerCluster,
    operator: product.Operator,
    figure: Callable[[str, float], None],
) -> None:
    operator.scale(2)
    first = eventually(lambda: holder(operator.kubectl), what="an active operator")
    old = three.status()["leader"]
    cluster = three.kubectl.cluster
    began = time.monotonic()
    with cluster.kill(first, hold=True, namespace=install.NAMESPACE):
        with three.kill(old["nodeId"], hold=True):

            def told() -> Json:
                leader: Json | None = three.status().get("leader")
                assert leader is not None
                assert leader["epoch"] > old["epoch"]
                return leader

            eventually(told, deadline_s=TAKE_OVER_S + 10, what="the new leader, by the standby")
            took_s = time.monotonic() - began
        assert holder(operator.kubectl) not in ("", first)
        eventually(three.settled, deadline_s=BACK_S, what="settled under the second operator")
    figure("take_over_s", took_s)
    assert took_s <= TAKE_OVER_S


@pytest.mark.full
def test_an_api_server_that_is_away_for_two_minutes_in_a_roll_is_noticed_by_no_client(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in three.pods("broker")}
    told = len(restart_events(three))
    with three.load("no-api") as load:
        three.kubectl("annotate", "bc", three.name, "quorate.dev/restart=away", "--overwrite")

        def begun() -> bool:
            return any(
                pod["metadata"]["uid"] != before[pod["metadata"]["name"]]
                for pod in three.pods("broker")
            )

        eventually(begun, deadline_s=SHORT_S, every_s=0.1, what="the roll has begun")
        acknowledged = load.goes_on()
        with three.kubectl.cluster.api_stopped():
            until = time.monotonic() + AWAY_S
            while time.monotonic() < until:
                time.sleep(1)
        assert load.goes_on() > acknowledged + AWAY_S * 10, "it was written all the time"

        def rolled() -> Json:
            after = {
                pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in three.pods("broker")
            }
            assert set(after) == set(before)
            assert not set(after.values()) & set(before.values())
            return three.settled()

        began = time.monotonic()
        eventually(rolled, deadline_s=BACK_S, what="the roll goes on and ends")
        figure("resumed_s", time.monotonic() - began)
        written = load.finish()
    figure("slowest_ack_s", written.slowest_ms / 1000)
    assert written.slowest_ms < SLOWEST_MS
    events = restart_events(three)[told:]
    restarted = [one["note"] for one in events]
    assert len(set(restarted)) == len(restarted), "none of them twice"
    assert [restarts(pod) for pod in three.pods("broker")] == [0] * len(before)
    assert condition(three.status(), "Ready")["status"] == "True"


def restart_events(three: BrokerCluster) -> list[Json]:
    return [one for one in three.events() if one.get("action") == "Restart"]
