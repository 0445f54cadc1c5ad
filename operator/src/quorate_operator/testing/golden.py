"""The manifests of a few clusters as text, to be reviewed as diffs.

python -m quorate_operator.testing.golden [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from quorate_operator import render
from quorate_operator.facts import Subject
from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import Key, Names

FOLDER: Final = Path("tests/operator/golden")
_OPEN: Final = {"name": "internal", "port": 9092, "authentication": {"type": "none"}}

_RAFT: Final = {"name": "quorate_broker.raft", "level": "info"}

SUBJECTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "quickstart": {
        "replicas": 3,
        "flanking": {"replicas": 2},
        "storage": {"size": "1Gi"},
        "listeners": [_OPEN],
    },
    "outside": {
        "replicas": 2,
        "storage": {"size": "1Gi"},
        "networkPolicy": "None",
        "listeners": [
            _OPEN,
            {**_OPEN, "name": "inside", "port": 9093, "type": "clusterIP"},
            {**_OPEN, "name": "nodes", "port": 9094, "type": "nodeport"},
            {
                **_OPEN,
                "name": "balanced",
                "port": 9095,
                "type": "loadbalancer",
                "advertised": {"hostTemplate": "b{nodeId}.{cluster}.example.com"},
                "annotations": {"dns/name": "b{nodeId}.{cluster}.example.com", "lb/kind": "slow"},
            },
        ],
    },
    "everything": {
        "version": "1.2.3",
        "image": {"repository": "mine/broker", "pullPolicy": "Always", "pullSecrets": ["key"]},
        "replicas": 5,
        "flanking": {
            "autoscaling": {"minReplicas": 2, "maxReplicas": 8, "targetCpuUtilization": 70},
            "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "256Mi"}},
            "scheduling": {"nodeSelector": {"pool": "front"}},
            "template": {"pod": {"metadata": {"labels": {"team": "y"}}}},
            "containers": [
                {
                    "name": "client",
                    "image": "mine/client:1",
                    "env": [{"name": "GROUP", "value": "g"}],
                    "ports": [{"name": "http", "containerPort": 8000}],
                }
            ],
        },
        "config": {"num.partitions": "8", "proxy.request.max.bytes": "4096"},
        "logging": {"level": "debug", "format": "json", "loggers": [_RAFT]},
        "metrics": {"podMonitor": True},
        "rack": {"topologyKey": "example.com/row"},
        "scheduling": {
            "affinity": {"podAntiAffinity": {}},
            "tolerations": [{"key": "kafka", "operator": "Exists"}],
            "priorityClassName": "high",
        },
        "storage": {"size": "10Gi", "class": "fast"},
        "listeners": [
            {**_OPEN, "networkPolicyPeers": [{"podSelector": {"matchLabels": {"app": "shop"}}}]},
            {**_OPEN, "name": "batch", "port": 9093},
        ],
        "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "template": {
            "pod": {
                "metadata": {"labels": {"team": "x"}, "annotations": {"a": "b"}},
                "spec": {
                    "terminationGracePeriodSeconds": 90,
                    "securityContext": {"runAsUser": 20001},
                    "containers": [{"name": "shipper", "image": "mine/shipper:1"}],
                    "volumes": [{"name": "certs", "secret": {"secretName": "certs"}}],
                },
            },
            "container": {
                "env": [{"name": "TZ", "value": "UTC"}],
                "volumeMounts": [{"name": "certs", "mountPath": "/certs", "readOnly": True}],
            },
            "service": {"metadata": {"labels": {"mesh": "no"}}},
            "podDisruptionBudget": {"metadata": {"annotations": {"c": "d"}}},
            "serviceAccount": {"metadata": {"annotations": {"role": "arn"}}},
            "persistentVolumeClaim": {"metadata": {"labels": {"backup": "daily"}}},
        },
    },
    "ephemeral": {
        "replicas": 1,
        "storage": {"type": "ephemeral", "size": "100Mi"},
        "listeners": [_OPEN],
    },
}


def text(name: str) -> str:
    spec = BrokerClusterSpec.model_validate(SUBJECTS[name])
    subject = Subject(
        spec=spec,
        names=Names(Key("shop", "orders")),
        uid="00000000-0000-0000-0000-000000000001",
        image="quorate-broker:0.1.0",
        cluster_id="" if name == "ephemeral" else "11111111-1111-1111-1111-111111111111",
        claim_size=spec.storage.size,
        brokers=spec.replicas,
        operator="quorate-system",
    )
    claims = render.claims(
        subject, [("data-orders-broker-0", "0002")] if name == "everything" else []
    )
    return yaml.safe_dump_all((*render.render(subject), *claims), sort_keys=False, width=100)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in SUBJECTS:
        (folder / f"{name}.yaml").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
