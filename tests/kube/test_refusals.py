"""What cannot be run is refused by the API server, with a sentence; what can be, is taken."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from quorate_bed import cluster as clusters
from quorate_bed import kube, paths
from quorate_bed.product import BrokerCluster, Json
from quorate_bed.shell import CommandError

EXAMPLES = paths.REPOSITORY / "examples"
REFUSED = "# refused: "
INVALID = sorted((EXAMPLES / "invalid").glob("*.yaml"))
FIRST, FOLLOWING = (
    [path for path in INVALID if ("\n---\n" in path.read_text()) is follows]
    for follows in (False, True)
)


def sentence(text: str) -> str:
    """What the file says that the API server answers."""
    found = [line.removeprefix(REFUSED) for line in text.splitlines() if line.startswith(REFUSED)]
    assert len(found) == 1, "a file has one sentence"
    return found[0]


@pytest.fixture(scope="module")
def accepted(cluster: clusters.Cluster) -> Iterator[kube.Kubectl]:
    """Where the resource already is that the others refuse to follow. Nothing runs there."""
    with kube.namespace(cluster, "refusals") as name:
        kubectl = kube.Kubectl(cluster, name)
        none = {"hard": {"pods": "0"}}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"}}
        kubectl.apply({**quota, "spec": none})
        before = {path.read_text().partition("\n---\n")[0] for path in FOLLOWING}
        assert len(before) == 1, "all of them follow the same resource"
        kubectl.apply_text(before.pop())
        yield kubectl


def test_there_are_invalid_examples_of_both_kinds() -> None:
    assert len(FIRST) >= 10
    assert len(FOLLOWING) >= 3


@pytest.mark.parametrize("path", FIRST, ids=lambda path: path.stem)
def test_an_invalid_resource_is_refused_with_its_sentence(
    path: Path, shared_three: BrokerCluster
) -> None:
    text = path.read_text()
    with pytest.raises(CommandError) as refusal:
        shared_three.kubectl("create", "--dry-run=server", "--filename=-", stdin=text)
    assert sentence(text) in str(refusal.value)


@pytest.mark.parametrize("path", FOLLOWING, ids=lambda path: path.stem)
def test_a_change_that_cannot_be_made_is_refused_with_its_sentence(
    path: Path, accepted: kube.Kubectl
) -> None:
    change = path.read_text().partition("\n---\n")[2]
    with pytest.raises(CommandError) as refusal:
        accepted("apply", "--filename=-", stdin=change)
    assert sentence(change) in str(refusal.value)


def test_the_scale_subresource_cannot_take_the_last_broker_either(
    shared_three: BrokerCluster,
) -> None:
    with pytest.raises(CommandError, match="a cluster has 1 to 99 brokers"):
        shared_three.kubectl("scale", "brokercluster", shared_three.name, "--replicas=0")
    assert shared_three.resource()["spec"]["replicas"] == 3


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_an_example_is_taken_and_reads_back_without_a_difference(
    name: str, shared_three: BrokerCluster
) -> None:
    text = (EXAMPLES / name).read_text()
    create = ("create", "--dry-run=server", "--filename=-", "--output=json")
    taken = yaml.safe_load(shared_three.kubectl(*create, stdin=text))
    written: Json = yaml.safe_load(text)
    assert taken["spec"] == written["spec"]
