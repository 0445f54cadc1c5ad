"""The TOML files that the nodes read, as text. Pure.

One file for all brokers and one for all flanking nodes: what differs between nodes comes from the
pod's name. Neither names the number of flanking nodes, so that these come and go without a trace.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from quorate_operator import listening
from quorate_operator.model import (
    ADMIN_PORT,
    METRICS_PORT,
    PROXY_PORT,
    RPC_PORT,
    BrokerClusterSpec,
    Logging,
)
from quorate_operator.names import Names

Value = str | int | float | bool | list[str]
Values = dict[str, Value]

HEAD: Final = "# Written by the Quorate operator; edit the BrokerCluster instead.\n"
DATA_DIR: Final = "/var/lib/quorate"
TOLD_DIR: Final = "/etc/quorate-told"
ANY_HOST: Final = "0.0.0.0"
_INTEGER: Final = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"[+-]?(0|[1-9][0-9]*)\.[0-9]+")
_FLANKING_SETTINGS: Final = ("proxy.",)
"""Only what a flanking node reads goes to it, so that nothing else restarts it."""


def brokers(spec: BrokerClusterSpec, names: Names, cluster_id: str, seeds: int) -> str:
    """The brokers' file; brokers 1 to `seeds` are those that others look for.

    An empty `cluster_id` allows them to form a cluster, once. The settings in it are the cluster's
    first ones; later they are changed through the Admin API, and the file is read no more for them
    (`plan/config.py`). A new feature level is for the operator to go on to (`plan/levels.py`).
    """
    listed = [
        f"{node_id}@{names.pod_host(names.broker_pod(node_id))}:{RPC_PORT}"
        for node_id in range(1, seeds + 1)
    ]
    ours: Values = {
        "cluster.id": cluster_id,
        "data.dir": DATA_DIR,
        "rpc.host": ANY_HOST,
        "rpc.port": RPC_PORT,
        "rpc.advertised.address": f"{names.pod_host('{pod}')}:{RPC_PORT}",
        "pod.info.dir": TOLD_DIR,
        "feature.level.raise": "asked",
        "seeds": listed,
        **_hosts(spec),
        **_logging(spec),
    }
    lines = [*_lines(_together(ours, _users(spec, ("",))))]
    for listener in spec.listeners:
        authentication = listener.authentication.type if listener.authentication else ""
        table: Values = {
            "name": listener.name,
            "host": ANY_HOST,
            "port": listener.port,
            "authentication": authentication,
            "advertised": listening.advertised(listener, names),
        }
        lines += ["", "[[listeners]]", *_lines(table)]
    return HEAD + "\n".join(lines) + "\n"


def brokers_template(spec: BrokerClusterSpec, names: Names) -> str:
    """What of that file a broker reads only when it starts: another one means a restart.

    Without the cluster id and the seeds: neither learning the one nor another number of brokers may
    make running pods look outdated. Without the settings, which brokers change while they run, and
    without what they log, which they heed from the file.
    """
    return brokers(spec.model_copy(update={"config": {}, "logging": Logging()}), names, "", 0)


def flanking(spec: BrokerClusterSpec, names: Names) -> str:
    """The flanking nodes' file: they reach the brokers as any client would."""
    ours: Values = {
        "bootstrap.servers": [inside(spec, names)],
        "admin.urls": [f"http://{names.host(names.admin)}:{ADMIN_PORT}"],
        **_hosts(spec),
        **_logging(spec),
    }
    lines = _lines(_together(ours, _users(spec, _FLANKING_SETTINGS)))
    return HEAD + "\n".join(lines) + "\n"


def flanking_template(spec: BrokerClusterSpec, names: Names) -> str:
    """What of that file a flanking node reads only when it starts: all but what it logs."""
    return flanking(spec.model_copy(update={"logging": Logging()}), names)


def flanking_settings(config: Mapping[str, str]) -> dict[str, str]:
    """Those that flanking nodes read."""
    return {key: value for key, value in config.items() if key.startswith(_FLANKING_SETTINGS)}


def inside(spec: BrokerClusterSpec, names: Names) -> str:
    """Where those begin who run inside the Kubernetes cluster."""
    port = next(one.port for one in spec.listeners if not listening.is_external(one))
    return f"{names.host(names.bootstrap)}:{port}"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _logging(spec: BrokerClusterSpec) -> Values:
    wanted = spec.logging
    loggers = sorted(f"{one.name}={one.level}" for one in wanted.loggers)
    values: Values = {"log.level": wanted.level, "log.format": wanted.format}
    return values | ({"log.loggers": loggers} if loggers else {})


def _hosts(spec: BrokerClusterSpec) -> Values:
    metrics: Values = {"metrics.host": ANY_HOST, "metrics.port": METRICS_PORT}
    return {
        **(metrics if spec.metrics.enabled else {}),
        "admin.host": ANY_HOST,
        "admin.port": ADMIN_PORT,
        "proxy.host": ANY_HOST,
        "proxy.port": PROXY_PORT,
    }


def _together(ours: Values, users: Values) -> Values:
    """Each key once. A spec that was stored before a key became ours may still have it."""
    return {**ours, **users, **ours}


def _users(spec: BrokerClusterSpec, prefixes: tuple[str, ...]) -> Values:
    return {
        key: _typed(value) for key, value in sorted(spec.config.items()) if key.startswith(prefixes)
    }


def _typed(text: str) -> Value:
    """The resource holds strings, the file typed values: what looks like a number is one."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if text in ("true", "false"):
        return text == "true"
    return text


def _lines(table: Mapping[str, Value]) -> Iterable[str]:
    """Quoted keys: a dotted one would be a table. JSON's strings are TOML's, but for DEL."""
    for key, value in table.items():
        text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        yield f"{json.dumps(key)} = {text}"
