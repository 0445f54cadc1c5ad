"""The settings of one process as they are now: its file, and what the cluster has said since.

    default  <  file, until the cluster has settings  |  the cluster's  <  this broker's own in it
             <  environment and --set, for what a single broker may differ in

A cluster's settings are texts by name (`Texts`), as people wrote them: a version that does not know
a name, or takes another value for wrong, says so (`unknown`, `invalid`) and stays at the default.
What needs a restart keeps the value that the process began with; `restart` tells that it is behind.
Whoever keeps a value somewhere else listens. Read next: `node/listening`, where all of them stand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from quorate_broker.config.load import cross_problems, nearest, retention_ms
from quorate_broker.config.network import Listener
from quorate_broker.config.setting import Scope, Setting
from quorate_broker.config.settings import SETTINGS, Settings

Texts = Mapping[str, str]
"""Settings by Kafka's names; only those that were set."""

_HOURS, _RETENTION = SETTINGS["log.retention.hours"], SETTINGS["log.retention.ms"]
_BY_ALIAS = {row.alias: row for row in SETTINGS.values() if row.alias}


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """What the cluster says: to all brokers, and to this one; `version` 0: nothing yet."""

    version: int = 0
    everybody: Texts = dataclasses.field(default_factory=dict)
    own: Texts = dataclasses.field(default_factory=dict)


class Live:
    """One per process."""

    def __init__(self, file: Settings, pinned: frozenset[str] = frozenset()) -> None:
        self.file = file
        self.pinned = frozenset(name for name in pinned if SETTINGS[name].scope is Scope.BROKER)
        """Named by the environment or the command line, which a single broker may go by."""
        self.said = Said()
        self.now = file
        self.unknown: tuple[str, ...] = ()
        self.invalid: tuple[str, ...] = ()
        self.behind: frozenset[str] = frozenset()
        """What is to have another value than the process began with."""
        self._began_with: Settings | None = None
        self._listeners: dict[str, list[Callable[[], None]]] = {}

    @property
    def restart(self) -> bool:
        """Only a restart brings this process to what the cluster says."""
        return bool(self.behind)

    def begin(self, said: Said) -> None:
        """Before anything is running: what the cluster said when this broker last heard of it."""
        self._take(said)
        self._began_with, self.behind = self.now, frozenset()

    def hear(self, said: Said) -> None:
        """The cluster's settings as they are now: whoever listens to one that changed is called."""
        if said == self.said:
            return
        before = self.now
        self._take(said)
        called: dict[Callable[[], None], None] = {}
        for name, listeners in self._listeners.items():
            if self.now[name] != before[name]:
                called.update(dict.fromkeys(listeners))
        for listener in called:
            listener()

    def listen(self, names: tuple[str, ...], listener: Callable[[], None]) -> None:
        """`listener` acts on `now` whenever one of these has changed."""
        for name in names:
            row = SETTINGS[name]
            assert row.scope is not Scope.NODE, f"{name} is the file's"
            assert not row.needs_restart, f"{name} says that nobody listens"
            self._listeners.setdefault(name, []).append(listener)

    def _take(self, said: Said) -> None:
        self.said = said
        began_with = self.file if self._began_with is None else self._began_with
        wanted = self.file if said.version == 0 else self._wanted(said)
        held = {
            row.attribute: began_with[row.name]
            for row in SETTINGS.values()
            if row.needs_restart and self._began_with is not None
        }
        self.now = dataclasses.replace(wanted, **held)  # type: ignore[arg-type]  # of its own kind
        self.behind = frozenset(
            row.name for row in SETTINGS.values() if wanted[row.name] != self.now[row.name]
        )

    def _wanted(self, said: Said) -> Settings:
        values: dict[str, object] = {
            row.name: row.default
            for row in SETTINGS.values()
            if row.scope is not Scope.NODE and row.name not in self.pinned
        }
        unknown: dict[str, None] = {}
        invalid: dict[str, None] = {}
        for name, text in (*said.everybody.items(), *said.own.items()):
            row = SETTINGS.get(name)
            if row is None:
                unknown[name] = None
            elif (value := _read(row, text)) is None:
                invalid[name] = None
            elif name not in self.pinned:
                values[name] = value
        self.unknown, self.invalid = tuple(unknown), tuple(invalid)
        return _of(self.file, values)


def _of(base: Settings, values: Mapping[str, object]) -> Settings:
    fields = {SETTINGS[name].attribute: value for name, value in values.items()}
    found = dataclasses.replace(base, **fields)  # type: ignore[arg-type]  # checked by their rows
    return dataclasses.replace(found, log_retention_ms=retention_ms(found))


def _read(row: Setting, text: str) -> object | None:
    try:
        return row.parse(text)
    except ValueError:
        return None


def named(name: str) -> Setting | None:
    """A row by Kafka's name or by the Admin API's."""
    return SETTINGS.get(name) or _BY_ALIAS.get(name)


def problems(texts: Texts, before: Texts, *, one_broker: bool) -> dict[str, str]:
    """What speaks against these settings of a cluster, or of one broker in it: a sentence by name.

    Names and values that stand in `before` have been taken once, perhaps by a newer version.
    """
    changed = [name for name in {**before, **texts} if before.get(name) != texts.get(name)]
    said = {name: _problem(name, texts[name], one_broker) for name in changed if name in texts}
    found = {name: why for name, why in said.items() if why}
    rows = ((SETTINGS.get(name), text) for name, text in texts.items())
    values = {row.name: _read(row, text) for row, text in rows if row is not None}
    good = {name: value for name, value in values.items() if value is not None}
    for sentence in cross_problems(_of(Settings(), good)):
        about = [name for name in changed if name in sentence]
        if about:
            found.setdefault(about[0], sentence)
    return found


def _problem(name: str, text: str, one_broker: bool) -> str:
    row = SETTINGS.get(name)
    if row is None:
        return f"unknown setting{nearest(name, SETTINGS)}"
    if row.scope is Scope.NODE:
        return "is a node's own: it stands in that node's file"
    if one_broker and row.scope is not Scope.BROKER:
        return "all brokers share it: set it for the whole cluster"
    try:
        row.parse(text)
    except ValueError as error:
        return str(error)
    return ""


def seeds(file: Settings) -> dict[str, str]:
    """What the file says about the cluster, as its first settings."""
    found = {
        row.name: text_of(file[row.name])
        for row in SETTINGS.values()
        if row.scope is not Scope.NODE and file[row.name] != row.default
    }
    if _HOURS.name in found and file.log_retention_ms == retention_ms(
        dataclasses.replace(file, log_retention_ms=int(str(_RETENTION.default)))
    ):
        found.pop(_RETENTION.name, None)
    return found


def text_of(value: object) -> str:
    """A value as its row reads it; a listener as clients are told of it."""
    match value:
        case bool():
            return "true" if value else "false"
        case Listener():
            told = value.advertised if value.is_told else value.advertised_address
            return f"{value.name}://{told}"
        case tuple():
            return ",".join(text_of(part) for part in value)
        case _:
            return str(value)
