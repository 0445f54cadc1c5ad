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

SUBJECTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "quickstart": {
        "replicas": 3,
        "flanking": {"replicas": 2},
        "storage": {"size": "1Gi"},
        "listeners": [_OPEN],
    },
    "everything": {
        "version": "1.2.3",
        "image": {"repository": "mine/broker", "pullPolicy": "Always", "pullSecrets": ["key"]},
        "replicas": 5,
        "flanking": {"replicas": 1, "resources": {"limits": {"memory": "256Mi"}}},
        "config": {"num.partitions": "8", "log.level": "debug", "proxy.request.max.bytes": "4096"},
        "storage": {"size": "10Gi", "class": "fast"},
        "listeners": [_OPEN, {**_OPEN, "name": "metrics", "port": 9093}],
        "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "template": {"pod": {"metadata": {"labels": {"team": "x"}, "annotations": {"a": "b"}}}},
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
    )
    return yaml.safe_dump_all(render.render(subject), sort_keys=False, width=100)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in SUBJECTS:
        (folder / f"{name}.yaml").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
