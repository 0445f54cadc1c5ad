"""Where values come from: a TOML file, then the environment, then `--set`; later ones win.

Nested tables are flattened with dots, so `log.segment.bytes = 1`, `[log.segment] bytes = 1` and
`"log.segment.bytes" = 1` are one key. The environment names a setting by QUORATE_, upper case and
underscores for dots. All problems are collected and raised together: nobody likes to fix a
configuration one error at a time.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from quorate_broker.config import network
from quorate_broker.config.setting import ConfigError
from quorate_broker.config.settings import SETTINGS, Settings

ENVIRONMENT_PREFIX = "QUORATE_"
# Variables with our prefix that are settings of the operator, the test bed and the tests.
NOT_SETTINGS = re.compile(
    r"QUORATE_(CACHE|CLUSTER|PROVIDER|KEEP_CLUSTER|DEBIAN_MIRROR|KUBERNETES_BINARIES|REWRITE"
    r"|(BED|TEST|CHAOS|OPERATOR)_\w+)"
)
# Switches that break a broker on purpose; the tests' own command line takes them away first.
TEST_SWITCHES = frozenset({"QUORATE_CRASH_POINT", "QUORATE_CRASH_SEEN", "QUORATE_SABOTAGE"})
# A Service called `quorate-admin` makes Kubernetes set QUORATE_ADMIN_PORT=tcp://10.0.0.7:9644 in
# every pod of its namespace (service links). Those are nobody's configuration.
SERVICE_LINK_NAME = re.compile(r"\w+(_SERVICE_HOST|_SERVICE_PORT\w*|_PORT_\d+_(TCP|UDP|SCTP)\w*)")
SERVICE_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://.*")
POD_ORDINAL = re.compile(r".*-(\d{1,5})")
HOUR_MS = 3_600_000
FIRST_FLANKING_ID = 101
LAST_BROKER_ID = 99


def load(
    path: pathlib.Path | None,
    environ: Mapping[str, str],
    overrides: Sequence[str] = (),
) -> Settings:
    """The settings of this node; `overrides` are `key=value`. ConfigError names every bad key."""
    reading = _Reading()
    if path is not None:
        reading.file(path)
    reading.environment(environ)
    reading.overrides(overrides)
    settings = reading.settings()
    completed, problems = _complete(settings)
    # A key whose value could not be read is at its default here: say nothing more about it.
    bad = {problem.partition(":")[0] for problem in reading.problems}
    problems = [problem for problem in problems if problem.partition(":")[0] not in bad]
    if reading.problems or problems:
        raise ConfigError((*reading.problems, *problems))
    return completed


def pinned(environ: Mapping[str, str], overrides: Sequence[str]) -> frozenset[str]:
    """The settings that the environment or the command line names, of those that were loaded."""
    variables = {row.environment: row.name for row in SETTINGS.values()}
    found = {variables[name] for name in environ if name in variables}
    return frozenset(found | {override.partition("=")[0].strip() for override in overrides})


class _Reading:
    """What was read so far: good values by field, and a sentence for each bad one."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.problems: list[str] = []

    def settings(self) -> Settings:
        return Settings(**self.values)  # type: ignore[arg-type]  # each was checked by its row

    def file(self, path: pathlib.Path) -> None:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            self.problems.append(f"{path}: {error.strerror}")
            return
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self.problems.append(f"{path}: not TOML: {error}")
            return
        seen: set[str] = set()
        for key, value in _flatten(document, ""):
            if key in seen:
                self.problems.append(f"{key}: stands twice in {path}")
            seen.add(key)
            self._take(key, value, text=False)

    def environment(self, environ: Mapping[str, str]) -> None:
        names = {row.environment: row.name for row in SETTINGS.values()}
        for variable in sorted(environ):
            if not variable.startswith(ENVIRONMENT_PREFIX) or NOT_SETTINGS.fullmatch(variable):
                continue
            if SERVICE_LINK_NAME.fullmatch(variable):
                continue
            if SERVICE_LINK_VALUE.fullmatch(environ[variable]):
                continue
            if variable in TEST_SWITCHES:
                self.problems.append(f"{variable}: breaks a broker on purpose, in tests; unset it")
            elif variable in names:
                self._take(names[variable], environ[variable], text=True)
            else:
                self.problems.append(f"{variable}: unknown variable{nearest(variable, names)}")

    def overrides(self, overrides: Sequence[str]) -> None:
        for override in overrides:
            key, equals, text = override.partition("=")
            if equals:
                self._take(key.strip(), text, text=True)
            else:
                self.problems.append(f"{override}: --set needs key=value")

    def _take(self, key: str, value: object, *, text: bool) -> None:
        row = SETTINGS.get(key)
        if row is None:
            self.problems.append(f"{key}: unknown setting{nearest(key, SETTINGS)}")
            return
        try:
            good = row.parse(str(value)) if text else row.check(value)
        except ValueError as error:
            self.problems.append(f"{key}: {error}")
        else:
            self.values[row.attribute] = good


def _flatten(table: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _complete(settings: Settings) -> tuple[Settings, list[str]]:
    """Fill in what depends on the node, and check what one row alone cannot."""
    problems: list[str] = []
    pod = settings.pod_name
    node_id = settings.node_id or _node_id_of_pod(settings.node_role, pod)
    problems += _check_node_id(settings, node_id)
    listeners: list[network.Listener] = []
    for listener in settings.listeners:
        try:
            listeners.append(network.resolve_listener(listener, pod, node_id))
        except ValueError as error:
            problems.append(f"listeners: {error}")
    if settings.node_role == "broker":
        problems += _check_broker(settings)
    else:
        problems += _check_flanking(settings)
    rpc, found = _rpc_address(settings, node_id)
    problems += found
    completed = dataclasses.replace(
        settings,
        node_id=node_id,
        listeners=tuple(listeners),
        rpc_advertised_address=rpc,
        log_retention_ms=retention_ms(settings),
    )
    return completed, problems


def _rpc_address(settings: Settings, node_id: int) -> tuple[str, list[str]]:
    """The address for other brokers, filled in, and what is wrong with it."""
    template = settings.rpc_advertised_address
    if not template:
        return "", []
    try:
        address = network.parse_address(network.fill(template, settings.pod_name, node_id))
        if address.host in network.WILDCARD_HOSTS:
            raise ValueError(f"brokers cannot connect to {address.host}")
    except ValueError as error:
        return "", [f"rpc.advertised.address: {error}"]
    return str(address), []


def retention_ms(settings: Settings) -> int:
    """As Kafka: the hours count where nobody gave milliseconds."""
    hours = settings.log_retention_hours
    if settings.log_retention_ms != SETTINGS["log.retention.ms"].default:
        return settings.log_retention_ms
    return hours * HOUR_MS if hours >= 0 else -1


def _node_id_of_pod(role: str, pod: str) -> int:
    """`orders-broker-2` is node 3, `orders-flanking-0` is node 101; 0 if the name tells nothing."""
    match = POD_ORDINAL.fullmatch(pod)
    if match is None:
        return 0
    return int(match[1]) + (FIRST_FLANKING_ID if role == "flanking" else 1)


def _check_node_id(settings: Settings, node_id: int) -> Iterator[str]:
    if node_id == 0:
        pod = settings.pod_name
        where = f"the pod's name, {pod}, has no ordinal" if pod else "QUORATE_POD_NAME is not set"
        yield f"node.id: must be given, since {where}"
    elif settings.node_role == "broker" and node_id > LAST_BROKER_ID:
        yield f"node.id: brokers have 1 to {LAST_BROKER_ID}, not {node_id}"
    elif settings.node_role == "flanking" and node_id < FIRST_FLANKING_ID:
        yield f"node.id: flanking nodes have {FIRST_FLANKING_ID} and up, not {node_id}"


def _check_broker(settings: Settings) -> Iterator[str]:
    if not settings.listeners:
        yield "listeners: a broker needs at least one [[listeners]] table"
    if not settings.pod_info_dir and any(listener.is_told for listener in settings.listeners):
        yield f"listeners: advertised {network.TOLD} needs pod.info.dir, where it is told"
    if not settings.data_dir:
        yield "data.dir: must not be empty"
    yield from cross_problems(settings)
    yield from _check_ports(settings)


def cross_problems(settings: Settings) -> Iterator[str]:
    """What is wrong with settings that all brokers share, taken together."""
    if settings.group_min_session_timeout_ms > settings.group_max_session_timeout_ms:
        yield "group.min.session.timeout.ms: must not be above group.max.session.timeout.ms"
    if settings.raft_heartbeat_interval_ms * 2 > settings.raft_election_timeout_ms:
        yield "raft.heartbeat.interval.ms: must be at most half of raft.election.timeout.ms"


def _check_ports(settings: Settings) -> Iterator[str]:
    """One socket each; two rows with one port would fail later, with a worse sentence."""
    ports = {f"listeners ({listener.name})": listener.port for listener in settings.listeners}
    ports["rpc.port"] = settings.rpc_port
    ports["admin.port"] = settings.admin_port
    ports["proxy.port"] = settings.proxy_port
    if settings.metrics_port:
        ports["metrics.port"] = settings.metrics_port
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if port in taken:
            yield f"{name}: port {port} is also that of {taken[port]}"
        taken.setdefault(port, name)


def _check_flanking(settings: Settings) -> Iterator[str]:
    if not settings.bootstrap_servers:
        yield "bootstrap.servers: a flanking node needs at least one"
    for text in settings.bootstrap_servers:
        try:
            network.parse_address(text)
        except ValueError as error:
            yield f"bootstrap.servers: {error}"
    if not settings.admin_urls:
        yield "admin.urls: a flanking node needs at least one"
    for url in settings.admin_urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            yield f"admin.urls: must be http://host:port, not {url!r}"
    if settings.admin_port == settings.proxy_port:
        yield f"proxy.port: port {settings.proxy_port} is also that of admin.port"
    if settings.metrics_port in (settings.admin_port, settings.proxy_port):
        yield f"metrics.port: port {settings.metrics_port} is also that of another one"
