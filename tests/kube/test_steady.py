"""A cluster that is as it should be is written to no more."""

import time
from dataclasses import dataclass

from quorate_bed import product
from quorate_bed.polling import eventually
from quorate_bed.product import FIRST_FLANKING_ID, Api, BrokerCluster, Json

WATCHED_S = 30
REPORT_S = 3
"""What was told just before may still be on its way into the status."""
PATIENCE_S = 150
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


def lagging(three: BrokerCluster) -> list[str]:
    """What Kubernetes' own controllers have still to say of what was asked of them last."""
    found: list[str] = []
    for group, kind in (("apps", "statefulsets"), ("policy", "poddisruptionbudgets")):
        path = f"/apis/{group}/v1/namespaces/{three.kubectl.namespace}/{kind}"
        listed: Json | None = three.api.get(path)
        assert listed is not None
        for one in listed["items"]:
            status = one.get("status", {})
            seen = status.get("observedGeneration") == one["metadata"]["generation"]
            healthy = status.get("currentHealthy") == status.get("expectedPods")
            available = status.get("availableReplicas") == one["spec"].get("replicas")
            if not (seen and (available if group == "apps" else healthy)):
                found.append(f"{kind}/{one['metadata']['name']}")
    return found


def leaving(api: Api) -> list[str]:
    """Namespaces on their way out that still hold a cluster."""
    namespaces: Json | None = api.get("/api/v1/namespaces")
    clusters: Json | None = api.get("/apis/quorate.dev/v1alpha1/brokerclusters")
    assert namespaces is not None
    assert clusters is not None
    going = {
        one["metadata"]["name"]
        for one in namespaces["items"]
        if one["status"]["phase"] == "Terminating"
    }
    return sorted(going & {one["metadata"]["namespace"] for one in clusters["items"]})


def test_a_settled_cluster_is_written_to_by_nobody_for_half_a_minute(
    three: BrokerCluster, operator: product.Operator
) -> None:
    three.scale_flanking(1)

    def settled() -> bool:
        status = three.settled()
        listed = three.admin(status["leader"]["nodeId"], "/v1/flanking")
        return [node["node_id"] for node in listed or []] == [FIRST_FLANKING_ID]

    eventually(settled, deadline_s=UP_S, what="settled with a flanking node")
    eventually(
        lambda: not leaving(three.api),
        deadline_s=UP_S,
        what="clusters of earlier tests gone: the operator writes to them until they are",
    )

    def heeded() -> bool:
        late = lagging(three)
        assert not late, late
        return True

    eventually(heeded, deadline_s=UP_S, what="seen by those who count pods")
    with three.load("steady") as load:
        quiet(three, operator)
        load.finish()

    written, asked = operator.writes(), requests(three.api)
    three.scale_flanking(0)
    eventually(three.settled, deadline_s=UP_S, what="settled without it")
    assert operator.writes() > written, "a write would have been counted by the operator"
    assert requests(three.api)["apply"] > asked["apply"], "and by the API server"


def quiet(three: BrokerCluster, operator: product.Operator) -> None:
    """Look at everything, again and again for half a minute: nothing is another one than before.

    What the brokers tell has to stand still for that: a machine that is busy elsewhere can make
    them elect anew, and then there is something to report. The half minute then begins again.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not stood_still(three, operator):
        assert time.monotonic() < deadline, "the brokers have something new to tell all the time"


def stood_still(three: BrokerCluster, operator: product.Operator) -> bool:
    """False when the brokers told something new; fails when anything else changed."""
    began, before = time.monotonic(), look(three, operator)
    while time.monotonic() < began + REPORT_S + WATCHED_S:
        time.sleep(1)
        now = look(three, operator)
        if now.told != before.told:
            return False
        if time.monotonic() < began + REPORT_S:
            before = now
        others = set(now.versions.items()) ^ set(before.versions.items())
        assert not others, f"written by somebody: {sorted(others)}"
        assert now == before
    return True


@dataclass(frozen=True, slots=True)
class Look:
    """What is compared."""

    versions: dict[str, str]
    requests: dict[str, int]
    writes: int
    told: list[int]
    """Version of each broker's picture of the cluster; the last that is looked at, so that no
    report of something new can be seen without it."""


def look(three: BrokerCluster, operator: product.Operator) -> Look:
    return Look(
        versions=versions(three),
        requests=requests(three.api),
        writes=operator.writes(),
        told=[told(three, node_id) for node_id in three.broker_ids()],
    )


def told(three: BrokerCluster, node_id: int) -> int:
    picture = three.admin(node_id, "/v1/watch")
    assert picture is not None
    version: int = picture["version"]
    return version
