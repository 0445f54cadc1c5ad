"""Everything that is made passes the pod security standard `restricted`, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from quorate_operator import render
from quorate_operator.facts import Subject
from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import Key, Names
from quorate_operator.testing.golden import SUBJECTS

SECCOMP = ("RuntimeDefault", "Localhost")
VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def violations(pod: dict[str, Any]) -> list[str]:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    found += [f"volume {one['name']}" for one in pod.get("volumes", []) if not set(one) & VOLUMES]
    general = pod.get("securityContext", {})
    found += ["sysctls"] if general.get("sysctls") else []
    for container in (*pod["containers"], *pod.get("initContainers", [])):
        own = container.get("securityContext", {})
        both = {**general, **own}
        rules = {
            "privileged": not own.get("privileged"),
            "escalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities", {}).get("drop") == ["ALL"]
            and set(own["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"},
            "root": both.get("runAsNonRoot") is True and both.get("runAsUser") != 0,
            "seccomp": both.get("seccompProfile", {}).get("type") in SECCOMP,
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {rule}" for rule, kept in rules.items() if not kept]
    return found


def pods(spec: dict[str, Any]) -> list[dict[str, Any]]:
    parsed = BrokerClusterSpec.model_validate(spec)
    subject = Subject(parsed, Names(Key("shop", "orders")), "uid", "i:1", "", "1Gi", 3)
    return [
        one["spec"]["template"]["spec"]
        for one in render.render(subject)
        if one["kind"] == "StatefulSet"
    ]


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_pod_is_restricted(name: str) -> None:
    made = pods(dict(SUBJECTS[name]))
    assert len(made) == 2
    assert [violations(pod) for pod in made] == [[], []]


def test_what_is_added_is_restricted_unless_it_says_otherwise() -> None:
    added = [{"name": "own", "image": "i", "securityContext": {"privileged": True}}]
    spec = dict(SUBJECTS["quickstart"]) | {"template": {"pod": {"spec": {"containers": added}}}}
    for pod in pods(spec):
        assert violations(pod) == ["own: privileged"]


def test_root_cannot_be_asked_for() -> None:
    security = {"runAsUser": 0}
    spec = dict(SUBJECTS["quickstart"])
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        pods(spec | {"template": {"pod": {"spec": {"securityContext": security}}}})
    # What has no field is not passed on.
    unknown = {"hostNetwork": True, "automountServiceAccountToken": True}
    for pod in pods(spec | {"template": {"pod": {"spec": unknown}}}):
        assert "hostNetwork" not in pod
        assert pod["automountServiceAccountToken"] is False
