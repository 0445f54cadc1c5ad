"""A cluster that is as it should be is written to no more."""

import threading
import time

from quorate_bed import product
from quorate_bed.polling import eventually
from quorate_bed.product import FIRST_FLANKING_ID, Api, BrokerCluster, Json

WATCHED_S = 30
UP_S = 60
KINDS = (
    "/apis/quorate.dev/v1alpha1/namespaces/{namespace}/brokerclusters",
    "/apis/apps/v1/namespaces/{namespace}/statefulsets",
    "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
    "/apis/events.k8s.io/v1/namespaces/{namespace}/events",
    "/api/v1/namespaces/{namespace}/configmaps",
    "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
    "/api/v1/namespaces/{namespace}/pods",
    "/api/v1/namespaces/{namespace}/serviceaccounts",
    "/api/v1/namespaces/{namespace}/services",
)
REQUESTS = "apiserver_request_total"


def versions(three: BrokerCluster) -> dict[str, str]:
    """Every object of the namespace with its version: any write to any of them shows."""
    found: dict[str, str] = {}
    for kind in KINDS:
        listed: Json | None = three.api.get(kind.format(namespace=three.kubectl.namespace))
        assert listed is not None
        for item in listed["items"]:
            metadata = item["metadata"]
            found[f"{kind.rpartition('/')[2]}/{metadata['name']}"] = metadata["resourceVersion"]
    return found


def requests(api: Api) -> dict[str, int]:
    """What only the operator does here, as the API server counts it, also if it changes nothing."""
    metrics = api.text("/metrics")
    return {
        "apply": product.count(metrics, REQUESTS, 'verb="APPLY"'),
        "patch of a cluster": product.count(
            metrics, REQUESTS, 'resource="brokerclusters"', 'verb="PATCH"'
        ),
        "update of a cluster": product.count(
            metrics, REQUESTS, 'resource="brokerclusters"', 'verb="PUT"'
        ),
    }


def test_a_settled_cluster_is_written_to_by_nobody_for_half_a_minute(
    three: BrokerCluster, operator: product.Operator
) -> None:
    three.scale_flanking(1)

    def settled() -> bool:
        status = three.settled()
        listed = three.admin(status["leader"]["nodeId"], "/v1/flanking")
        return [node["node_id"] for node in listed or []] == [FIRST_FLANKING_ID]

    eventually(settled, deadline_s=UP_S, what="settled with a flanking node")
    with three.load("steady") as load:
        quiet(three, operator)
        load.goes_on()
        assert load.finish().failed == []

    written, asked = operator.writes(), requests(three.api)
    three.scale_flanking(0)
    eventually(three.settled, deadline_s=UP_S, what="settled without it")
    assert operator.writes() > written, "a write would have been counted by the operator"
    assert requests(three.api)["apply"] > asked["apply"], "and by the API server"


def quiet(three: BrokerCluster, operator: product.Operator) -> None:
    """Look at everything, let the time pass, look again.

    A pass that was under way when the cluster looked settled may still say so: two looks half a
    second apart have to be the same before the time begins.
    """

    def look() -> tuple[dict[str, str], dict[str, int], int]:
        return versions(three), requests(three.api), operator.writes()

    def still() -> tuple[dict[str, str], dict[str, int], int]:
        first = look()
        threading.Event().wait(0.5)
        assert look() == first
        return first

    before = eventually(still, deadline_s=20, what="the last pass over")
    until = time.monotonic() + WATCHED_S
    while time.monotonic() < until:
        assert look() == before
        threading.Event().wait(2)
    assert look() == before
