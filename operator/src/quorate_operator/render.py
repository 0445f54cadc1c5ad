"""From a spec to the manifests of all children, as plain dicts. Pure.

Each child has one template under `templates/`, and the template has no logic beyond loops: what is
decided is decided in Python. Values enter YAML as JSON, so that nothing a person writes can change
the structure of a manifest.

Read next: the templates, then `plan/children.py`, which compares the result with what is live.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import re
from typing import Any, Final

import jinja2
import yaml

from quorate_operator import config_file, model
from quorate_operator.facts import Subject
from quorate_operator.names import (
    APPLIED_ANNOTATION,
    ASKED_ANNOTATION,
    BROKERS_ANNOTATION,
    CLUSTER_ID_ANNOTATION,
    CONFIG_HASH_ANNOTATION,
    RENDERED_BY_ANNOTATION,
    RESTART_ANNOTATION,
    ROLE_LABEL,
    Role,
    labels,
    selector,
)

Json = dict[str, Any]

TEMPLATES: Final = (
    "service_account",
    "config_map",
    "service_brokers",
    "service_bootstrap",
    "service_admin",
    "service_proxy",
    "pod_disruption_budget",
    "stateful_set_brokers",
    "stateful_set_flanking",
)
"""In the order in which they are applied: what pods refer to comes before the pods."""

USER: Final = 10001
POD_SECURITY: Final[Json] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final[Json] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
OPERATOR_VERSION: Final = importlib.metadata.version("quorate-operator")
NOT_OF_PODS: Final = (
    "replicas", "paused", "hibernate", "update_strategy", "metadata_version", "version",
)  # fmt: skip
"""Fields of the spec that are no part of a pod (the version comes with the image)."""
PORTS: Final = {"admin": model.ADMIN_PORT, "proxy": model.PROXY_PORT, "rpc": model.RPC_PORT}


_PAIR: Final = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})")


def flow(value: Any, **_: Any) -> str:
    """JSON that is YAML too: JSON writes a character beyond 16 bits as two, YAML as one."""

    def joined(pair: re.Match[str]) -> str:
        raw = bytes.fromhex(pair[1] + pair[2]).decode("utf-16-be")
        return f"\\U{ord(raw):08x}"

    return _PAIR.sub(joined, json.dumps(value, sort_keys=True))


@functools.cache
def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("quorate_operator"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    found.policies["json.dumps_function"] = flow
    return found


class _Asked:
    """A subject as a key: two that say the same give the same manifests."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        facts = {one.name: getattr(subject, one.name) for one in dataclasses.fields(subject)}
        self._text = repr(facts | {"spec": subject.spec.model_dump_json()})

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and self._text == other._text


def render(subject: Subject) -> tuple[Json, ...]:
    """All children, each stamped with the digest of its own content. Not to be changed."""
    return _rendered(_Asked(subject))


@functools.lru_cache(maxsize=1024)
def _rendered(asked: _Asked) -> tuple[Json, ...]:
    """Kept: in a steady state the same is asked for in every pass."""
    context = _context(asked.subject)
    manifests = []
    for name in TEMPLATES:
        text = _environment().get_template(f"{name}.yaml.j2").render(context)
        manifest: Json = yaml.load(text, Loader=yaml.CSafeLoader)
        if manifest["kind"] == "StatefulSet":
            role = manifest["metadata"]["labels"][ROLE_LABEL]
            manifest["metadata"].setdefault("annotations", {}).update(_origin(asked.subject, role))
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
        manifest["metadata"].setdefault("annotations", {})[APPLIED_ANNOTATION] = digest
        manifests.append(manifest)
    return tuple(manifests)


def _origin(subject: Subject, role: Role) -> dict[str, str]:
    """What a pod template is made from, and by whom: see `plan/template.py`.

    Without what changes no pod, and without defaults, of which a newer operator has more.
    """
    spec = subject.spec.model_dump(exclude_defaults=True)
    if subject.spec.storage.type == "persistent":
        spec.pop("storage")
    for name in NOT_OF_PODS:
        spec.pop(name, None)
    flanking = spec.pop("flanking", {})
    settings = spec.pop("config", {})
    if role == "flanking":
        flanking.pop("replicas", None)
        spec |= {"flanking": flanking, "file": config_file.flanking_settings(settings)}
    asked = {"spec": spec, "image": subject.image, "restart": subject.restart}
    text = json.dumps(asked, sort_keys=True)
    return {
        ASKED_ANNOTATION: hashlib.sha256(text.encode()).hexdigest()[:16],
        RENDERED_BY_ANNOTATION: OPERATOR_VERSION,
    }


def _context(subject: Subject) -> Json:
    spec, names = subject.spec, subject.names
    flanking_file = config_file.flanking(spec, names)
    added = spec.template.pod.metadata

    def metadata(
        name: str, role: Role | None = None, annotations: dict[str, str] | None = None
    ) -> str:
        found: Json = {
            "name": name,
            "namespace": names.key.namespace,
            "labels": labels(names.key, role),
            "ownerReferences": [_owner(subject)],
        }
        if annotations:
            found["annotations"] = annotations
        return flow(found)

    def resources(wanted: model.Resources | None) -> Json:
        return wanted.model_dump(exclude_defaults=True) if wanted else {}

    return {
        "spec": spec,
        "names": names,
        "image": subject.image,
        "claim_size": subject.claim_size,
        "ports": PORTS,
        "data_dir": config_file.DATA_DIR,
        "pod_security": POD_SECURITY,
        "container_security": CONTAINER_SECURITY,
        "pull_secrets": [{"name": name} for name in spec.image.pull_secrets],
        "brokers_file": config_file.brokers(spec, names, subject.cluster_id, subject.brokers),
        "flanking_file": flanking_file,
        "brokers_hash": config_file.digest(config_file.brokers_template(spec, names)),
        "flanking_hash": config_file.digest(flanking_file),
        "config_annotations": (
            {CLUSTER_ID_ANNOTATION: subject.cluster_id} if subject.cluster_id else None
        ),
        "brokers": 0 if spec.hibernate else subject.brokers,
        "flanking": 0 if spec.hibernate else spec.flanking.replicas,
        "brokers_annotations": {BROKERS_ANNOTATION: str(subject.brokers)},
        "metadata": metadata,
        "resources": resources,
        "selector": lambda role=None: selector(names.key, role),
        "pod_labels": lambda role: {**added.labels, **labels(names.key, role)},
        "pod_annotations": lambda digest: {**added.annotations, CONFIG_HASH_ANNOTATION: digest},
        "restart": {RESTART_ANNOTATION: subject.restart} if subject.restart else {},
    }


def _owner(subject: Subject) -> Json:
    """Children go when the cluster goes; volumes have no owner and stay."""
    return {
        "apiVersion": f"{model.GROUP}/{model.VERSION}",
        "kind": model.KIND,
        "name": subject.names.key.name,
        "uid": subject.uid,
        "controller": True,
    }
