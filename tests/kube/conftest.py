"""Fixtures of the tests that need a real Kubernetes with the operator in it.

    cluster      the cluster of three nodes (session): one that runs is used and kept, otherwise one
                 is made and removed at the end, unless QUORATE_KEEP_CLUSTER is set
    namespace    a namespace of its own for each test, under the restricted pod security standard
    kubectl      kubectl in that namespace, with JSON in and out (`quorate_bed.kube.Kubectl`)
    client_pod   a pod with Kafka clients in that namespace (`quorate_bed.kube.ClientPod`)
    eventually   wait for something with a deadline (`quorate_bed.polling.eventually`)
    api          what the API server says, read without a process per question
    three        three brokers that serve, with a client pod (`quorate_bed.product.BrokerCluster`):
                 the same ones for all tests, put right again before each
    operator     what the operator counts; it can be sent away (`quorate_bed.product.Operator`)
    unrest       runs the test twice: as it is, and (full) with the operator killed at random
    figure       keep a number that was measured, for the report of `make test-full`

When a test fails, what a person would look at next is added to its report.
"""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate_bed import cluster as clusters
from quorate_bed import install, kube, polling, product
from quorate_bed import unrest as unrests
from quorate_bed.shell import CommandError

HERE = Path(__file__).parent
NODES = 3
SEED = 5
EXPLAINED = (
    ("get", "brokerclusters", "-o", "yaml"),
    ("get", "statefulsets,pods,services,pvc", "-o", "wide"),
    ("get", "events", "--sort-by=.lastTimestamp"),
    ("logs", "-l", "quorate.dev/cluster", "--tail=60", "--prefix", "--ignore-errors"),
    ("logs", "-n", install.NAMESPACE, "deploy/quorate-operator", "--tail=60"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kube)


@pytest.fixture(scope="session")
def cluster() -> Iterator[clusters.Cluster]:
    with clusters.borrowed(nodes=NODES) as borrowed:
        install.ready(borrowed.name, nodes=NODES)
        found = len(borrowed.nodes())
        assert found == NODES, f"{borrowed.name} has {found} nodes: make cluster-down, then again"
        yield borrowed


@pytest.fixture
def namespace(cluster: clusters.Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    with kube.namespace(cluster, request.node.name) as name:
        yield name


@pytest.fixture
def kubectl(cluster: clusters.Cluster, namespace: str) -> kube.Kubectl:
    return kube.Kubectl(cluster, namespace)


@pytest.fixture
def client_pod(kubectl: kube.Kubectl) -> kube.ClientPod:
    pod = kube.ClientPod(kubectl)
    pod.start()
    return pod


@pytest.fixture(scope="session")
def api(cluster: clusters.Cluster) -> Iterator[product.Api]:
    with product.api(cluster) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_three(cluster: clusters.Cluster, api: product.Api) -> Iterator[product.BrokerCluster]:
    with kube.namespace(cluster, "three-brokers") as name:
        made = product.BrokerCluster(kube.Kubectl(cluster, name), api, "three")
        made.apply()
        made.client.start(cluster.nodes()[0])
        made.settle()
        yield made


@pytest.fixture
def three(shared_three: product.BrokerCluster) -> product.BrokerCluster:
    shared_three.recover()
    return shared_three


@pytest.fixture
def operator(cluster: clusters.Cluster, api: product.Api) -> Iterator[product.Operator]:
    """The operator, which runs again afterwards whatever a test does with it."""
    found = product.Operator(kube.Kubectl(cluster, install.NAMESPACE), api)
    try:
        yield found
    finally:
        found.scale(1)


@pytest.fixture(params=["calm", pytest.param("operator-killed", marks=pytest.mark.full)])
def unrest(
    request: pytest.FixtureRequest, three: product.BrokerCluster, operator: product.Operator
) -> Iterator[None]:
    """What a test does comes out the same when the operator is killed at random meanwhile."""
    if request.param == "calm":
        yield
        return
    with unrests.unrest(three.kubectl.cluster, install.NAMESPACE, SEED) as running:
        yield
    assert running.kills > 0, "nobody was killed"


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    def keep(name: str, value: float) -> None:
        record_property(name, round(value, 2))

    return keep


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    return polling.eventually


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fixtures = getattr(item, "funcargs", {})
    three = fixtures.get("shared_three")
    kubectl = three.kubectl if three is not None else fixtures.get("kubectl")
    if report.failed and kubectl is not None:
        for words in EXPLAINED:
            try:
                said = kubectl(*words, timeout_s=20)
            except CommandError as error:
                said = str(error)
            report.sections.append((f"kubectl {' '.join(words)}", said))
    return report
