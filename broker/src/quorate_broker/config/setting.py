"""One row of the registry: a setting's names, type, unit, limits and meaning, and how it is read.

A value comes in two shapes: typed from TOML (`check`) or as text from the environment, from
`--set` and from topic configurations on the wire (`parse`). Both end in the same checks and raise
ValueError with the half sentence that follows the key's name. Read next: `settings`.
"""

from __future__ import annotations

import dataclasses
import enum
import tomllib

from quorate_broker.config import network

MAX_INT64 = (1 << 63) - 1
LEVELS = ("debug", "info", "warning", "error")


class ConfigError(Exception):
    """Every problem found in one configuration, each beginning with the key's name."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Scope(enum.StrEnum):
    """Who shares a value.

    NODE is who a process is, where it listens and what it logs: its own file, environment and
    command line say it. All others live in the cluster's metadata; a file only seeds them.
    """

    NODE = "node"
    BROKER = "broker"
    """One value for all, from which a single broker may differ."""
    CLUSTER = "cluster"
    TOPIC = "topic"
    """The cluster's default of a topic's own setting."""


class Kind(enum.StrEnum):
    """The types of values."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"
    STRINGS = "list of strings"
    SEEDS = "list of seeds"
    LISTENERS = "list of listeners"
    LEVELS = "list of levels"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A row: Kafka's name, the Admin API's alias, the topic-level name where there is one."""

    name: str
    kind: Kind
    default: object
    doc: str
    scope: Scope
    alias: str = ""
    topic_name: str = ""
    unit: str = ""
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    needs_restart: bool = True
    """Whether a running broker leaves a change of it alone until it is started again."""

    @property
    def attribute(self) -> str:
        """The field of `Settings` that holds it."""
        return self.name.replace(".", "_")

    @property
    def environment(self) -> str:
        """The environment variable that overrides it."""
        return "QUORATE_" + self.name.upper().replace(".", "_")

    def parse(self, text: str) -> object:
        """The typed value of `text`; ValueError says what is wrong with it."""
        match self.kind:
            case Kind.BOOLEAN:
                return _parse_boolean(text)
            case Kind.INTEGER:
                return self.check(_parse_integer(text))
            case Kind.NUMBER:
                return self.check(_parse_number(text))
            case Kind.STRING:
                return self.check(text)
            case Kind.STRINGS | Kind.SEEDS | Kind.LEVELS:
                return self.check([part.strip() for part in text.split(",") if part.strip()])
            case Kind.LISTENERS:
                return self.check(_parse_toml(text))

    def check(self, value: object) -> object:
        """The frozen form of a value that came typed out of TOML; ValueError if it may not be."""
        match self.kind:
            case Kind.BOOLEAN:
                if not isinstance(value, bool):
                    raise ValueError(f"must be true or false, not {value!r}")
                return value
            case Kind.INTEGER:
                return self._check_integer(value)
            case Kind.NUMBER:
                return self._check_number(value)
            case Kind.STRING:
                return self._check_string(value)
            case Kind.STRINGS:
                return _check_strings(value)
            case Kind.SEEDS:
                return network.check_seeds(_check_strings(value))
            case Kind.LISTENERS:
                return network.check_listeners(value)
            case Kind.LEVELS:
                return _check_levels(_check_strings(value))

    def _check_integer(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be an integer, not {value!r}")
        low = -MAX_INT64 if self.minimum is None else self.minimum
        high = MAX_INT64 if self.maximum is None else self.maximum
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}, not {value}")
        return value

    def _check_number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be a number, not {value!r}")
        assert self.minimum is not None, "each has limits"
        assert self.maximum is not None, "each has limits"
        if not self.minimum <= value <= self.maximum:  # false for nan, too
            raise ValueError(f"must be from {self.minimum} to {self.maximum}, not {value}")
        return float(value)

    def _check_string(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be a string, not {value!r}")
        if self.choices and value not in self.choices:
            raise ValueError(f"must be one of {', '.join(self.choices)}, not {value!r}")
        return value


def _parse_boolean(text: str) -> bool:
    values = {"true": True, "false": False}
    if text.strip().lower() not in values:
        raise ValueError(f"must be true or false, not {text!r}")
    return values[text.strip().lower()]


def _parse_integer(text: str) -> int:
    try:
        return int(text.strip(), 10)
    except ValueError:
        raise ValueError(f"must be an integer, not {text!r}") from None


def _parse_number(text: str) -> float:
    try:
        return float(text.strip())
    except ValueError:
        raise ValueError(f"must be a number, not {text!r}") from None


def _parse_toml(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"must be a TOML array of inline tables ({error})") from None


def _check_strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise ValueError(f"must be a list of strings, not {value!r}")
    return tuple(value)


def _check_levels(values: tuple[str, ...]) -> tuple[str, ...]:
    for text in values:
        name, _, level = text.partition("=")
        if not name or level not in LEVELS:
            raise ValueError(f"each must be logger=level ({', '.join(LEVELS)}), not {text!r}")
    return values
