"""Addresses in the configuration: listeners, seeds, `host:port`.

A listener names its authentication explicitly, never by omission: an open port is something that a
person wrote down. A seed is `id@host:port`, the address of that node's port for traffic between
brokers. Read next: `load`, which fills in what depends on the node ({pod}, {node_id}).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

WILDCARD_HOSTS = frozenset({"0.0.0.0", "::", ""})
AUTHENTICATIONS = ("none",)
LISTENER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
SEED = re.compile(r"(?P<id>[0-9]{1,9})@(?P<address>.+)")
PLACEHOLDERS = frozenset({"pod", "node_id", "ordinal"})
TOLD = "{told}"
"""Advertised: what `pod.info.dir` says of the listener, as soon as it says something."""
LISTENER_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "name": (
        lambda value: isinstance(value, str) and LISTENER_NAME.fullmatch(value) is not None,
        "must begin with a letter and have letters, digits, _ and - only",
    ),
    "host": (lambda value: isinstance(value, str), "must be a string"),
    "port": (
        lambda value: type(value) is int and 1 <= value <= 65535,
        "must be from 1 to 65535",
    ),
    "authentication": (
        lambda value: value in AUTHENTICATIONS,
        f"must be one of {', '.join(AUTHENTICATIONS)}",
    ),
    "advertised": (lambda value: isinstance(value, str), "must be a string"),
}


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where something answers."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True)
class Listener:
    """One port of the Kafka API: where it binds, what it asks of clients, what it tells them.

    `advertised` is the template as written, `host:port` with {pod}, {node_id} and {ordinal}; empty
    means the bind address; {told} is an address that is known only while the node runs.
    `advertised_address` is what Metadata tells clients of any other one.
    """

    name: str
    host: str
    port: int
    authentication: str
    advertised: str = ""
    advertised_host: str = ""
    advertised_port: int = 0

    @property
    def is_told(self) -> bool:
        return self.advertised == TOLD

    @property
    def advertised_address(self) -> Address:
        assert not self.is_told, f"{self.name} has no address of its own"
        return Address(self.advertised_host or self.host, self.advertised_port or self.port)


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Seed:
    """A broker node that takes part in forming the cluster, and its inter-broker address."""

    node_id: int
    host: str
    port: int

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.node_id}@{self.address}"


def parse_address(text: str) -> Address:
    """`host:port`, or `[v6]:port`; ValueError if it is neither."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"must be host:port, not {text!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"must be [host]:port for an IPv6 address, not {text!r}")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"port must be from 1 to 65535, not {port}")
    return Address(host, int(port))


def check_seeds(values: tuple[str, ...]) -> tuple[Seed, ...]:
    """The seeds in the order of their ids; ValueError on a bad or repeated one."""
    seeds: dict[int, Seed] = {}
    for text in values:
        match = SEED.fullmatch(text)
        if match is None:
            raise ValueError(f"each must be id@host:port, not {text!r}")
        address = parse_address(match["address"])
        seed = Seed(int(match["id"]), address.host, address.port)
        if not 1 <= seed.node_id <= 99:
            raise ValueError(f"ids of brokers are 1 to 99, not {seed.node_id}")
        if seed.node_id in seeds:
            raise ValueError(f"id {seed.node_id} stands twice")
        seeds[seed.node_id] = seed
    return tuple(seeds[node_id] for node_id in sorted(seeds))


def check_listeners(value: object) -> tuple[Listener, ...]:
    """Listeners out of TOML tables; ValueError on the first bad one, or a repeated name or port."""
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        raise ValueError("must be an array of tables, [[listeners]]")
    listeners = tuple(_check_listener(index, table) for index, table in enumerate(value))
    for what in ("name", "port"):
        seen = [getattr(listener, what) for listener in listeners]
        repeated = sorted({str(one) for one in seen if seen.count(one) > 1})
        if repeated:
            raise ValueError(f"{what} {repeated[0]} stands twice")
    return listeners


def _check_listener(index: int, table: dict[str, object]) -> Listener:
    where = f"[{index}]"
    unknown = sorted(set(table) - set(LISTENER_CHECKS))
    if unknown:
        raise ValueError(f"{where}.{unknown[0]} is unknown; fields: {', '.join(LISTENER_CHECKS)}")
    missing = [name for name in ("name", "port", "authentication") if name not in table]
    if missing:
        raise ValueError(f"{where}.{missing[0]} is missing")
    values = {"host": "0.0.0.0", "advertised": ""} | table
    for name, (good, sentence) in LISTENER_CHECKS.items():
        if not good(values[name]):
            raise ValueError(f"{where}.{name} {sentence}, not {values[name]!r}")
    return Listener(**values)  # type: ignore[arg-type]  # each field was checked just above


def resolve_listener(listener: Listener, pod: str, node_id: int) -> Listener:
    """The listener with its advertised address filled in; ValueError if there is none to tell."""
    if listener.is_told:
        return listener
    if not listener.advertised:
        if listener.host in WILDCARD_HOSTS:
            raise ValueError(
                f"{listener.name}: advertised must be given, since clients cannot connect to "
                f"{listener.host or 'an empty host'}"
            )
        address = Address(listener.host, listener.port)
    else:
        address = parse_address(fill(listener.advertised, pod, node_id))
        if address.host in WILDCARD_HOSTS:
            raise ValueError(f"{listener.name}: clients cannot connect to {address.host}")
    return dataclasses.replace(listener, advertised_host=address.host, advertised_port=address.port)


def fill(template: str, pod: str, node_id: int) -> str:
    """An advertised address with its placeholders filled in; ValueError if that cannot be."""
    names = set(re.findall(r"\{([^{}]*)\}", template))
    if names - PLACEHOLDERS:
        raise ValueError(f"advertised knows {{pod}}, {{node_id}} and {{ordinal}}, not {template!r}")
    if "pod" in names and not pod:
        raise ValueError("advertised asks for {pod}, but QUORATE_POD_NAME is not set")
    values = {"pod": pod, "node_id": str(node_id), "ordinal": str(node_id - 1)}
    return re.sub(r"\{([^{}]*)\}", lambda found: values[found[1]], template)
