"""What becomes of a listener: its Services, and what its clients are told. Pure.

    internal      the pods' own names; one Service to begin with, for all internal listeners
    clusterIP     a Service per broker; clients are told its name
    nodeport      a Service per broker; clients are told the host that its pod runs on, and the port
                  of nodes that Kubernetes chose
    loadbalancer  a Service per broker; clients are told the address that it is given

What a name says alone stands in the brokers' file. What Kubernetes has yet to choose is told to
each broker while it runs (`plan/addresses.py`), so that pods never wait for addresses that wait for
pods.

Read next: `config_file.py`, `render.py`.
"""

from __future__ import annotations

import re
from typing import Final

from quorate_operator.model import Listener
from quorate_operator.names import Names

TOLD: Final = "{told}"
"""In the brokers' file: the address comes later, by an annotation of the pod."""
SERVICE_TYPES: Final = {
    "nodeport": "NodePort",
    "loadbalancer": "LoadBalancer",
    "clusterIP": "ClusterIP",
}
_DIFFERS: Final = re.compile(r"\{(nodeId|ordinal|pod)\}")
_BROKERS_WORDS: Final = {"nodeId": "{node_id}", "ordinal": "{ordinal}", "pod": "{pod}"}


def is_external(listener: Listener) -> bool:
    """It has Services of its own."""
    return listener.type != "internal"


def host_template(listener: Listener, names: Names) -> str:
    """With placeholders as in the resource; empty while only Kubernetes can tell."""
    written = listener.advertised.host_template if listener.advertised else None
    if written:
        return written
    if listener.type == "internal":
        return names.pod_host("{pod}")
    if listener.type == "clusterIP":
        return names.host(names.listener_service(listener.name, "{ordinal}"))
    return ""


def port_template(listener: Listener) -> str:
    """Likewise."""
    written = listener.advertised.port_template if listener.advertised else None
    return written or ("" if listener.type == "nodeport" else str(listener.port))


def advertised(listener: Listener, names: Names) -> str:
    """For the brokers' file, with the brokers' own placeholders."""
    host, port = host_template(listener, names), port_template(listener)
    if not host or not port:
        return TOLD
    return _DIFFERS.sub(lambda found: _BROKERS_WORDS[found[1]], _named(f"{host}:{port}", names))


def filled(template: str, names: Names, node_id: int) -> str:
    """For one broker."""
    values = {"nodeId": node_id, "ordinal": node_id - 1, "pod": names.broker_pod(node_id)}
    return _DIFFERS.sub(lambda found: str(values[found[1]]), _named(template, names))


def notes(listener: Listener, names: Names, node_id: int | None) -> dict[str, str]:
    """Of the Service of a broker; None: of the one to begin with."""
    return {
        key: _named(value, names) if node_id is None else filled(value, names, node_id)
        for key, value in listener.annotations.items()
        if node_id is not None or not _DIFFERS.search(value)
    }


def _named(template: str, names: Names) -> str:
    key = names.key
    return template.replace("{cluster}", key.name).replace("{namespace}", key.namespace)
