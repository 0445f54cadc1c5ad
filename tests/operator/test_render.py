"""The manifests, whole: a change of any shows as a diff of a golden file.

To write them anew after a wanted change: `python -m quorate_operator.testing.golden`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from quorate_operator import config_file, render
from quorate_operator.facts import Subject
from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import Key, Names
from quorate_operator.testing.golden import SUBJECTS, text

GOLDEN = Path(__file__).parent / "golden"
NAMES = Names(Key("shop", "orders"))


def subject(**spec) -> Subject:
    base = {
        "storage": {"size": "1Gi"},
        "listeners": [{"name": "internal", "port": 9092, "authentication": {"type": "none"}}],
    }
    return Subject(
        BrokerClusterSpec.model_validate(base | spec),
        NAMES,
        "uid-c",
        "image:1",
        "",
        "1Gi",
        spec.get("replicas", 3),
    )


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_manifests_are_the_golden_ones(name):
    assert text(name) == (GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")


def test_every_template_is_rendered():
    found = {path.name.removesuffix(".yaml.j2") for path in render_folder().glob("*.j2")}
    assert found == set(render.TEMPLATES)


def render_folder() -> Path:
    return Path(render.__file__).parent / "templates"


def pods(manifests):
    return [one["spec"]["template"]["spec"] for one in manifests if one["kind"] == "StatefulSet"]


def test_every_pod_is_restricted():
    for pod in pods(render.render(subject(flanking={"replicas": 1}))):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_flanking_nodes_have_no_volume_of_their_own():
    (flanking,) = [
        one
        for one in render.render(subject(flanking={"replicas": 1}))
        if (one["kind"], one["metadata"]["name"]) == ("StatefulSet", "orders-flanking")
    ]
    assert "volumeClaimTemplates" not in flanking["spec"]


def test_a_value_cannot_break_out_of_its_place():
    evil = 'x"\n  evil: "yes'
    manifests = render.render(subject(config={"some.setting": evil}))
    (config,) = [one for one in manifests if one["kind"] == "ConfigMap"]
    parsed = tomllib.loads(config["data"]["quorate.toml"])
    assert parsed["some.setting"] == evil


def test_every_document_is_what_yaml_reads_back():
    for manifest in render.render(subject(flanking={"replicas": 1})):
        assert yaml.safe_load(yaml.safe_dump(manifest)) == manifest


def test_the_brokers_file_is_typed_toml():
    spec = subject(
        config={
            "num.partitions": "8",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "-1",
            "odd": "01",
        }
    ).spec
    parsed = tomllib.loads(config_file.brokers(spec, NAMES, "id-1", 3))
    assert parsed["num.partitions"] == 8
    assert parsed["auto.create.topics.enable"] is False
    assert parsed["log.level"] == "info"
    assert parsed["group.initial.rebalance.delay.ms"] == -1
    assert parsed["odd"] == "01"
    assert parsed["cluster.id"] == "id-1"
    assert parsed["seeds"] == [
        f"{n}@orders-broker-{n - 1}.orders-brokers.shop.svc:33145" for n in (1, 2, 3)
    ]
    assert parsed["listeners"] == [
        {
            "name": "internal",
            "host": "0.0.0.0",
            "port": 9092,
            "authentication": "none",
            "advertised": "{pod}.orders-brokers.shop.svc:9092",
        }
    ]


def test_a_key_of_the_operators_is_written_once_and_as_the_operator_wants_it():
    """A spec that was stored before a key became the operator's may still name it."""
    spec = subject(config={"log.level": "debug", "num.partitions": "8"}).spec
    parsed = tomllib.loads(config_file.brokers(spec, NAMES, "id-1", 3))
    assert (parsed["log.level"], parsed["num.partitions"]) == ("info", 8)


def test_the_flanking_file_holds_only_what_flanking_nodes_read():
    spec = subject(config={"num.partitions": "8", "proxy.a": "b"}, replicas=9).spec
    parsed = tomllib.loads(config_file.flanking(spec, NAMES))
    assert parsed == tomllib.loads(
        config_file.flanking(subject(config={"proxy.a": "b"}).spec, NAMES)
    )
    assert parsed["bootstrap.servers"] == ["orders-bootstrap.shop.svc:9092"]
    assert parsed["admin.urls"] == ["http://orders-admin.shop.svc:9644"]


def test_a_hibernating_cluster_has_volumes_and_no_pods():
    sets = [
        one
        for one in render.render(subject(hibernate=True, flanking={"replicas": 2}))
        if one["kind"] == "StatefulSet"
    ]
    assert [one["spec"]["replicas"] for one in sets] == [0, 0]
    assert sets[0]["metadata"]["annotations"]["quorate.dev/brokers"] == "3"
    assert sets[0]["spec"]["persistentVolumeClaimRetentionPolicy"] == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }


def test_of_many_clusters_only_a_few_have_their_manifests_kept():
    for replicas in range(1, 60):
        render.render(subject(replicas=replicas))
    assert render.render.cache_info().currsize == render.KEPT_RENDERINGS
    again = [render.render(subject(replicas=59)) for _ in range(2)]
    assert again[0] is again[1], "within a burst of passes nothing is rendered twice"
