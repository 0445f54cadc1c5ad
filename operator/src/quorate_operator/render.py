"""From a spec to the manifests of all children, as plain dicts. Pure.

Each child has one template under `templates/`, and the template has no logic beyond loops: what is
decided is decided in Python. Values enter YAML as JSON, so that nothing a person writes can change
the structure of a manifest.

Read next: the templates, `listening.py`, `pods.py`, `policies.py`; then `plan/children.py`, which
compares the result with what is live.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Final

import jinja2
import yaml

from quorate_operator import config_file, listening, model, origin, pods, policies
from quorate_operator.facts import Subject
from quorate_operator.names import (
    ADVERTISED_ANNOTATION,
    APPLIED_ANNOTATION,
    BROKERS_ANNOTATION,
    CLUSTER_ID_ANNOTATION,
    CONFIG_HASH_ANNOTATION,
    RACK_ANNOTATION,
    RESTART_ANNOTATION,
    ROLE_LABEL,
    SCALED_BY_ANNOTATION,
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
    "service_listener",
    "network_policy",
    "pod_disruption_budget",
    "stateful_set_brokers",
    "stateful_set_flanking",
    "autoscaler",
    "pod_monitor",
)
"""In the order in which they are applied: what pods refer to comes before the pods."""

KEPT_RENDERINGS: Final = 16
"""As many as there are passes at once (`workers.Limits`)."""

PORTS: Final = {"admin": model.ADMIN_PORT, "proxy": model.PROXY_PORT, "rpc": model.RPC_PORT}
ROLES: Final[tuple[Role, ...]] = ("broker", "flanking")
POD_NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"
KEPT: Final = {
    "argocd.argoproj.io/sync-options": "Prune=false",
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
"""On volume claims: a GitOps tool that takes one for its own must not delete it."""
METRICS: Final = {"metrics": model.METRICS_PORT}


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


@functools.lru_cache(maxsize=KEPT_RENDERINGS)
def render(subject: Subject) -> tuple[Json, ...]:
    """All children, each stamped with the digest of its own content. Not to be changed.

    Kept for a while: passes come close together where something goes on, and mostly ask for the
    same. A settled cluster is passed over too seldom to be worth its tenth of a MiB."""
    context = _context(subject)
    manifests = []
    for name in TEMPLATES:
        template = _environment().get_template(f"{name}.yaml.j2")
        for more in _each(name, subject):
            manifest: Json = yaml.load(template.render(context | more), Loader=yaml.CSafeLoader)
            _complete(manifest, subject)
            manifests.append(_stamped(manifest))
    return tuple(manifests)


def claims(subject: Subject, held: Iterable[tuple[str, str]]) -> tuple[Json, ...]:
    """What the operator writes onto volume claims that are there, by name and uid.

    Nothing of it can stand in the StatefulSet, whose claim template Kubernetes never lets change.
    """
    wanted = subject.spec.template.persistent_volume_claim.metadata
    return tuple(
        _stamped(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": name,
                    "namespace": subject.names.key.namespace,
                    "uid": uid,
                    "labels": {**wanted.labels, **selector(subject.names.key, "broker")},
                    "annotations": {**wanted.annotations, **KEPT},
                },
            }
        )
        for name, uid in held
    )


def _stamped(manifest: Json) -> Json:
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    manifest["metadata"].setdefault("annotations", {})[APPLIED_ANNOTATION] = digest
    return manifest


def _each(name: str, subject: Subject) -> list[Json]:
    """How often a template is rendered, and what differs."""
    spec, names = subject.spec, subject.names
    match name:
        case "service_listener":
            return [
                service
                for listener in spec.listeners
                if listening.is_external(listener)
                for service in _services(listener, subject)
            ]
        case "network_policy":
            if spec.network_policy == "None":
                return []
            return [
                {"role": role, "policy": policies.spec_of(spec, names, role, subject.operator)}
                for role in ROLES
            ]
        case "pod_disruption_budget":
            return [] if spec.disruption.pdb == "None" else [{}]
        case "autoscaler":
            return [{"wanted": spec.flanking.autoscaling}] if spec.flanking.autoscaling else []
        case "pod_monitor":
            return [{}] if spec.metrics.enabled and spec.metrics.pod_monitor else []
    return [{}]


def _services(listener: model.Listener, subject: Subject) -> list[Json]:
    """One per broker, and the one to begin with."""
    names = subject.names
    first: Json = {
        "listener": listener,
        "type": listening.SERVICE_TYPES[listener.type],
        "name": names.listener_bootstrap(listener.name),
        "pods": selector(names.key, "broker"),
        "notes": listening.notes(listener, names, None),
        "early": False,
    }
    return [first] + [
        first
        | {
            "name": names.listener_service(listener.name, node_id - 1),
            "pods": {POD_NAME_LABEL: names.broker_pod(node_id)},
            "notes": listening.notes(listener, names, node_id),
            "early": True,
        }
        for node_id in range(1, subject.brokers + 1)
    ]


def _complete(manifest: Json, subject: Subject) -> None:
    """What a person adds, and the marks of what it was made from, in place."""
    spec = subject.spec
    metadata = manifest["metadata"]
    added = {
        "Service": spec.template.service,
        "PodDisruptionBudget": spec.template.pod_disruption_budget,
        "ServiceAccount": spec.template.service_account,
    }.get(manifest["kind"])
    if added is not None:
        metadata["labels"] = {**added.metadata.labels, **metadata["labels"]}
        notes = {**added.metadata.annotations, **metadata.get("annotations", {})}
        if notes:
            metadata["annotations"] = notes
    if manifest["kind"] != "StatefulSet":
        return
    role: Role = metadata["labels"][ROLE_LABEL]
    metadata.setdefault("annotations", {}).update(origin.marks(subject, role))
    pod = manifest["spec"]["template"]["spec"]
    if role == "flanking":
        inside = config_file.inside(spec, subject.names)
        proxy = f"http://127.0.0.1:{model.PROXY_PORT}"
        pod["containers"] += pods.clients(spec.flanking.containers, inside, proxy)
    pods.complete(pod, spec, role, selector(subject.names.key, role))


def _context(subject: Subject) -> Json:
    spec, names = subject.spec, subject.names
    scaled_by = "autoscaler" if scales_itself(subject) else "operator"

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

    def pod_metadata(role: Role, more: dict[str, str]) -> Json:
        added = pods.metadata(spec, role)
        return {
            "labels": {**added.labels, **labels(names.key, role)},
            "annotations": {**added.annotations, **more},
        }

    return {
        "spec": spec,
        "names": names,
        "image": subject.image,
        "claim_size": subject.claim_size,
        "ports": PORTS | (METRICS if spec.metrics.enabled else {}),
        "data_dir": config_file.DATA_DIR,
        "told_dir": config_file.TOLD_DIR,
        "told": {"rack": RACK_ANNOTATION, "advertised": ADVERTISED_ANNOTATION},
        "pod_security": pods.POD_SECURITY,
        "container_security": pods.CONTAINER_SECURITY,
        "pull_secrets": [{"name": name} for name in spec.image.pull_secrets],
        "inside": [one for one in spec.listeners if not listening.is_external(one)],
        "brokers_file": config_file.brokers(spec, names, subject.cluster_id, subject.brokers),
        "flanking_file": config_file.flanking(spec, names),
        "brokers_hash": config_file.digest(config_file.brokers_template(spec, names)),
        "flanking_hash": config_file.digest(config_file.flanking_template(spec, names)),
        "config_annotations": (
            {CLUSTER_ID_ANNOTATION: subject.cluster_id} if subject.cluster_id else None
        ),
        "disruptions": subject.disruptions,
        "brokers": 0 if spec.hibernate else subject.brokers,
        "flanking": None if scales_itself(subject) else _flanking(spec),
        "brokers_annotations": {BROKERS_ANNOTATION: str(subject.brokers)},
        "flanking_annotations": {SCALED_BY_ANNOTATION: scaled_by},
        "metadata": metadata,
        "resources": resources,
        "selector": lambda role=None: selector(names.key, role),
        "pod_metadata": pod_metadata,
        "config_hash": CONFIG_HASH_ANNOTATION,
        "restart": {RESTART_ANNOTATION: subject.restart} if subject.restart else {},
    }


def scales_itself(subject: Subject) -> bool:
    """An autoscaler decides how many flanking nodes there are; none while all sleep."""
    return subject.spec.flanking.autoscaling is not None and not subject.spec.hibernate


def _flanking(spec: model.BrokerClusterSpec) -> int:
    return 0 if spec.hibernate else spec.flanking.replicas


def _owner(subject: Subject) -> Json:
    """Children go when the cluster goes; volumes have no owner and stay."""
    return {
        "apiVersion": f"{model.GROUP}/{model.VERSION}",
        "kind": model.KIND,
        "name": subject.names.key.name,
        "uid": subject.uid,
        "controller": True,
    }
