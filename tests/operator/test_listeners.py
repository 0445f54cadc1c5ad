"""Listeners that reach beyond the pods: their Services, what brokers are told, what status says."""

from __future__ import annotations

import dataclasses
import tomllib
from typing import Any

import pytest

from quorate_operator import render
from quorate_operator.facts import DefaultImage, Place
from quorate_operator.plan import plan, status
from quorate_operator.plan.actions import Apply, TellPod
from quorate_operator.plan.conditions import Passed
from quorate_operator.plan.subject import subject
from quorate_operator.plan.told import unplaced
from quorate_operator.testing.live import as_live

DEFAULT = DefaultImage("quorate-broker", "0.1.0")
OPEN = {"authentication": {"type": "none"}}
INTERNAL = {"name": "internal", "port": 9092, **OPEN}
LB = {"name": "lb", "port": 9094, "type": "loadbalancer", **OPEN}
NP = {"name": "np", "port": 9095, "type": "nodeport", **OPEN}
CI = {"name": "ci", "port": 9096, "type": "clusterIP", **OPEN}


def spec(*listeners: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"listeners": [INTERNAL, *listeners], **more}


def settled(scene, wanted: dict[str, Any], **observed: Any):
    """The cluster as it is when all children are there."""
    manifests = render.render(subject(scene.wish(spec=wanted), DEFAULT))
    return scene.wish(spec=wanted, children=as_live(manifests), **observed), manifests


def given(wish, service: str, **ingress: str):
    """A load balancer has given a Service its address."""
    child = wish.observed.children["Service", service]
    child["status"] = {"loadBalancer": {"ingress": [ingress]}}
    return dataclasses.replace(wish)


def tellings(wish, manifests) -> dict[str, dict[str, str]]:
    return {
        action.pod: dict(action.annotations)
        for action in plan(wish, manifests)
        if isinstance(action, TellPod)
    }


def told(wish):
    return status.tell(wish, Passed(), "i:1")


def listener(wish, name: str):
    return next(one for one in told(wish).listeners if one.name == name)


def test_pods_are_made_although_no_address_is_there_yet(scene):
    """strimzi#6475: a load balancer that waits for pods must never be waited for by them."""
    wish = scene.wish(spec=spec(LB), pods=())
    manifests = render.render(subject(wish, DEFAULT))
    applied = [one.manifest for one in plan(wish, manifests) if isinstance(one, Apply)]
    kinds = [one["kind"] for one in applied]
    assert kinds.count("StatefulSet") == 2
    assert len(applied) == len(manifests)
    condition = told(wish).condition("ListenersReady")
    assert (condition.status, condition.reason) == ("False", "WaitingForAddresses")


def test_a_load_balancers_address_is_told_to_its_broker_alone_as_it_comes(scene):
    wish, manifests = settled(scene, spec(LB))
    assert tellings(wish, manifests) == {}
    wish = given(wish, "orders-lb-1", ip="203.0.113.7")
    assert tellings(wish, manifests) == {
        "orders-broker-1": {"quorate.dev/advertised": "lb=203.0.113.7:9094"}
    }
    wish = given(wish, "orders-lb-1", hostname="b1.example.com")
    assert tellings(wish, manifests)["orders-broker-1"] == {
        "quorate.dev/advertised": "lb=b1.example.com:9094"
    }


def test_status_names_what_has_no_address(scene):
    wish, _ = settled(scene, spec(LB))
    for ordinal in (0, 2):
        wish = given(wish, f"orders-lb-{ordinal}", ip=f"203.0.113.{ordinal}")
    waiting = told(wish).condition("ListenersReady")
    assert "orders-lb-bootstrap" in waiting.message
    assert "orders-lb-1" in waiting.message
    assert listener(wish, "lb").bootstrap_servers is None
    assert listener(wish, "lb").addresses == ["203.0.113.0:9094", "203.0.113.2:9094"]
    for name in ("orders-lb-1", "orders-lb-bootstrap"):
        wish = given(wish, name, ip="203.0.113.9")
    assert told(wish).condition("ListenersReady").status == "True"
    assert listener(wish, "lb").bootstrap_servers == "203.0.113.9:9094"


def test_node_ports_are_told_with_the_host_that_the_pod_runs_on(scene):
    pods = tuple(scene.pod(f"broker-{n}", host_ip=f"10.0.0.{n % 2}") for n in range(3))
    wish, manifests = settled(scene, spec(NP), pods=pods)
    assert tellings(wish, manifests)["orders-broker-2"] == {
        "quorate.dev/advertised": "np=10.0.0.0:30000"
    }
    assert listener(wish, "np").bootstrap_servers == "10.0.0.0:30000,10.0.0.1:30000"
    assert told(wish).condition("ListenersReady").status == "True"


def test_what_a_pod_was_told_is_not_told_again(scene):
    pods = tuple(
        scene.pod(f"broker-{n}", host_ip="10.0.0.1", advertised="np=10.0.0.1:30000")
        for n in range(3)
    )
    wish, manifests = settled(scene, spec(NP), pods=pods)
    assert tellings(wish, manifests) == {}


def test_an_address_that_has_gone_is_not_taken_back(scene):
    """What was told stands until something newer is known: clients lose nothing by a hiccup."""
    pods = tuple(scene.pod(f"broker-{n}", advertised="lb=203.0.113.1:9094") for n in range(3))
    wish, manifests = settled(scene, spec(LB), pods=pods)
    assert tellings(wish, manifests) == {}


def test_what_one_listener_was_told_stands_while_another_one_gets_a_new_address(scene):
    pods = tuple(
        scene.pod(f"broker-{n}", host_ip="10.0.0.1", advertised="lb=203.0.113.1:9094,old=x:1")
        for n in range(3)
    )
    wish, manifests = settled(scene, spec(LB, NP), pods=pods)
    assert tellings(wish, manifests)["orders-broker-0"] == {
        "quorate.dev/advertised": "lb=203.0.113.1:9094,np=10.0.0.1:30000"
    }


def advertised(scene, *listeners: dict[str, Any]) -> dict[str, str]:
    """Of each listener, as the brokers' file has it."""
    manifests = render.render(subject(scene.wish(spec=spec(*listeners)), DEFAULT))
    (file,) = [one["data"]["quorate.toml"] for one in manifests if one["kind"] == "ConfigMap"]
    return {one["name"]: one["advertised"] for one in tomllib.loads(file)["listeners"]}


def test_what_names_alone_say_stands_in_the_file(scene):
    host = {"hostTemplate": "b{nodeId}-{cluster}.{namespace}.example.com"}
    both = {"hostTemplate": "{pod}.example.com", "portTemplate": "94{ordinal}"}
    assert advertised(scene, LB, NP, CI) == {
        "internal": "{pod}.orders-brokers.shop.svc:9092",
        "lb": "{told}",
        "np": "{told}",
        "ci": "orders-ci-{ordinal}.shop.svc:9096",
    }
    found = advertised(scene, LB | {"advertised": host}, NP | {"advertised": both})
    assert found["lb"] == "b{node_id}-orders.shop.example.com:9094"
    assert found["np"] == "{pod}.example.com:94{ordinal}"
    assert advertised(scene, NP | {"advertised": host})["np"] == "{told}"


def test_a_template_that_needs_the_node_port_is_told_with_it(scene):
    host = {"hostTemplate": "b{nodeId}.example.com"}
    wish, manifests = settled(scene, spec(NP | {"advertised": host}))
    assert tellings(wish, manifests)["orders-broker-0"] == {
        "quorate.dev/advertised": "np=b1.example.com:30000"
    }


def services(scene, *listeners: dict[str, Any], **more: Any) -> dict[str, Any]:
    manifests = render.render(subject(scene.wish(spec=spec(*listeners, **more)), DEFAULT))
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == "Service"}


def test_annotations_are_filled_in_for_each_broker(scene):
    written = {"dns": "b{nodeId}.example.com", "kind": "slow-{cluster}"}
    found = services(scene, LB | {"annotations": written})
    notes = {name: one["metadata"]["annotations"] for name, one in found.items() if "-lb-" in name}
    assert {name: note.get("dns") for name, note in notes.items()} == {
        "orders-lb-bootstrap": None,
        "orders-lb-0": "b1.example.com",
        "orders-lb-1": "b2.example.com",
        "orders-lb-2": "b3.example.com",
    }
    assert {note["kind"] for note in notes.values()} == {"slow-orders"}


def test_only_internal_listeners_are_on_the_internal_service(scene):
    ports = services(scene, LB, NP)["orders-bootstrap"]["spec"]["ports"]
    assert [port["name"] for port in ports] == ["internal"]


def test_services_outlive_a_hibernation_so_that_addresses_stay(scene):
    assert set(services(scene, LB)) == set(services(scene, LB, hibernate=True))


# ------------------------------------------------------------------------------------------- racks

ZONE = "topology.kubernetes.io/zone"
RACK = {"rack": {"topologyKey": ZONE}}


@pytest.fixture
def placed(scene):
    def make(places: dict[str, Place], **more: Any):
        pods = tuple(scene.pod(f"broker-{n}", node=f"node-{n}", **more) for n in range(3))
        return settled(scene, spec(**RACK), pods=pods, places=places)

    return make


def test_a_pod_is_told_the_label_of_its_node(placed):
    wish, manifests = placed({"node-1": Place({ZONE: "a"})})
    assert unplaced(wish) == {"node-0", "node-1", "node-2"}
    assert tellings(wish, manifests) == {
        "orders-broker-1": {"quorate.dev/rack": "a", "quorate.dev/rack-from": ZONE}
    }


def test_once_told_no_node_is_looked_at_again(placed):
    wish, manifests = placed({}, rack="a", rack_from=ZONE)
    assert unplaced(wish) == frozenset()
    assert tellings(wish, manifests) == {}
    assert told(wish).condition("RacksKnown").status == "True"


def test_another_label_is_looked_up_anew(placed):
    wish, manifests = placed({"node-0": Place({ZONE: "b"})}, rack="a", rack_from="row")
    assert len(unplaced(wish)) == 3
    assert tellings(wish, manifests)["orders-broker-0"]["quorate.dev/rack"] == "b"


def test_why_a_rack_is_not_known_is_said(placed):
    wish, manifests = placed({"node-0": Place({}, "nodes is forbidden"), "node-1": Place({})})
    assert tellings(wish, manifests) == {}
    condition = told(wish).condition("RacksKnown")
    assert (condition.status, condition.reason) == ("False", "RackUnknown")
    assert "node-0 cannot be read: nodes is forbidden" in condition.message
    assert f"node-1 has no label {ZONE}" in condition.message


def test_without_racks_there_is_no_word_of_them(scene):
    wish, _ = settled(scene, spec())
    assert told(wish).condition("RacksKnown") is None
    assert unplaced(wish) == frozenset()
