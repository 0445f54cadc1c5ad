"""A cluster for the tests of the test bed itself: bare, without operator. See tests/kube too."""

from collections.abc import Iterator

import pytest

from quorate_bed import cluster as clusters
from quorate_bed import images, kube

NODES = 3
"""As many as the tests of the product want, which come next and take the same cluster."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[clusters.Cluster]:
    """One that runs is used and kept, otherwise one is made and removed at the end."""
    with clusters.borrowed(nodes=NODES) as borrowed:
        images.build_and_load(borrowed, ("client",))
        yield borrowed


@pytest.fixture
def kubectl(cluster: clusters.Cluster, request: pytest.FixtureRequest) -> Iterator[kube.Kubectl]:
    """kubectl in a namespace of its own under the restricted pod security standard."""
    with kube.namespace(cluster, request.node.name) as name:
        yield kube.Kubectl(cluster, name)
