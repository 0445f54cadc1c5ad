"""Which node gets which identity, ports, files and settings. Read next: `supervisor`.

Node i (from 1) has every port counted up by i - 1; flanking nodes follow the brokers, with ids
from 101. Each node's file under DIR/node-N is an ordinary configuration: `quorate-broker run
--config DIR/node-2/quorate.toml` starts that node by hand.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import socket
from collections.abc import Sequence

from quorate_broker import config

HOST = "127.0.0.1"
FIRST_FLANKING_ID = 101

# Settings that the layout decides, and the option to say it with instead.
FIXED = {
    "node.id": "--nodes",
    "node.role": "--flanking",
    "pod.name": "--nodes",
    "data.dir": "--data",
    "listeners": "--port",
    "seeds": "--nodes and --rpc-port",
    "rpc.host": "--rpc-port",
    "rpc.port": "--rpc-port",
    "admin.host": "--admin-port",
    "admin.port": "--admin-port",
    "proxy.host": "--proxy-port",
    "proxy.port": "--proxy-port",
    "bootstrap.servers": "--port",
    "admin.urls": "--admin-port",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    nodes: int = 3
    flanking: int = 0
    port: int = 9092
    admin_port: int = 9644
    proxy_port: int = 8082
    rpc_port: int = 33145
    data: pathlib.Path | None = None
    restart: bool = False
    overrides: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One process to run."""

    node_id: int
    directory: pathlib.Path
    text: str
    ports: dict[str, int]
    """What for -> port; the option that moves it is `--` + the first word."""

    @property
    def is_broker(self) -> bool:
        return self.node_id < FIRST_FLANKING_ID

    @property
    def admin_port(self) -> int:
        return self.ports["admin-port"]

    @property
    def config_file(self) -> pathlib.Path:
        return self.directory / "quorate.toml"

    @property
    def pid_file(self) -> pathlib.Path:
        return self.directory / "pid"

    @property
    def log_file(self) -> pathlib.Path:
        return self.directory / "log"


def nodes(options: Options, base: pathlib.Path) -> list[Node]:
    """Every node of the cluster, brokers first. ConfigError if a port falls out of range."""
    brokers = [_broker(options, base, index) for index in range(options.nodes)]
    flanking = [_flanking(options, base, index) for index in range(options.flanking)]
    both = brokers + flanking
    _refuse_bad_ports(both)
    return both


def bootstrap(options: Options) -> str:
    """What clients are told: the Kafka API of every broker."""
    return ",".join(f"{HOST}:{options.port + index}" for index in range(options.nodes))


def write(planned: Sequence[Node]) -> None:
    """Make each node's directory and file."""
    for node in planned:
        node.directory.mkdir(parents=True, exist_ok=True)
        node.config_file.write_text(node.text, encoding="utf-8")


def check(planned: Sequence[Node], overrides: Sequence[str]) -> None:
    """Read each file as the node will; ConfigError before anything is started."""
    problems = []
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key in FIXED:
            problems.append(f"{key}: is decided by dev itself; use {FIXED[key]}")
    if problems:
        raise config.ConfigError(tuple(problems))
    for node in planned:
        config.load(node.config_file, {}, overrides)


def taken_ports(planned: Sequence[Node]) -> list[str]:
    """A sentence for each port that another program has."""
    sentences = []
    for node in planned:
        for option, port in node.ports.items():
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    sentences.append(
                        f"port {port} of node {node.node_id} cannot be had "
                        f"({error.strerror}); choose others with --{option}"
                    )
    return sentences


def _refuse_bad_ports(planned: Sequence[Node]) -> None:
    problems = []
    owners: dict[int, str] = {}
    for node in planned:
        for option, port in node.ports.items():
            if not 1 <= port <= 65535:
                problems.append(f"--{option}: node {node.node_id} would get port {port}")
            elif port in owners:
                problems.append(
                    f"--{option}: node {node.node_id} would get port {port}, "
                    f"which is also {owners[port]}"
                )
            owners.setdefault(port, f"node {node.node_id}'s by --{option}")
    if problems:
        raise config.ConfigError(tuple(problems))


def _broker(options: Options, base: pathlib.Path, index: int) -> Node:
    node_id = index + 1
    directory = base / f"node-{node_id}"
    seeds = [f"{other + 1}@{HOST}:{options.rpc_port + other}" for other in range(options.nodes)]
    ports = {
        "port": options.port + index,
        "admin-port": options.admin_port + index,
        "proxy-port": options.proxy_port + index,
        "rpc-port": options.rpc_port + index,
    }
    text = _toml(
        {
            "node.role": "broker",
            "node.id": node_id,
            "data.dir": str(directory / "data"),
            "seeds": seeds,
            "rpc.host": HOST,
            "rpc.port": ports["rpc-port"],
            **_http(ports),
        }
    )
    text += "\n[[listeners]]\n" + _toml(
        {"name": "PLAINTEXT", "host": HOST, "port": ports["port"], "authentication": "none"}
    )
    return Node(node_id=node_id, directory=directory, text=text, ports=ports)


def _flanking(options: Options, base: pathlib.Path, index: int) -> Node:
    node_id = FIRST_FLANKING_ID + index
    directory = base / f"node-{node_id}"
    ports = {
        "admin-port": options.admin_port + options.nodes + index,
        "proxy-port": options.proxy_port + options.nodes + index,
    }
    urls = [f"http://{HOST}:{options.admin_port + other}" for other in range(options.nodes)]
    text = _toml(
        {
            "node.role": "flanking",
            "pod.name": directory.name,
            "node.id": node_id,
            "bootstrap.servers": bootstrap(options).split(","),
            "admin.urls": urls,
            **_http(ports),
        }
    )
    return Node(node_id=node_id, directory=directory, text=text, ports=ports)


def _http(ports: dict[str, int]) -> dict[str, object]:
    return {
        "admin.host": HOST,
        "admin.port": ports["admin-port"],
        "proxy.host": HOST,
        "proxy.port": ports["proxy-port"],
    }


def _toml(values: dict[str, object]) -> str:
    """Strings, numbers and lists of strings are written in TOML as they are in JSON."""
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()
    )
