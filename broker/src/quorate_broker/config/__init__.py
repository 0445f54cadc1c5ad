"""Configuration: one registry of settings, read once at start into one frozen object.

Everything a person may set stands in `settings.Settings`, a frozen dataclass whose fields carry
their own registry row (`setting.Setting`). `load.load` reads a TOML file, the environment and
`--set`, checks all of it, and raises one `ConfigError` that names every bad key. Nothing else in
the broker reads the environment or a configuration file.

This is the lowest layer: importers write `from quorate_broker import config` and use
`config.Settings`, `config.SETTINGS`, `config.Listener`, `config.load`.
Read next: `setting` (what a row is), `settings` (the rows), `load` (where values come from).
"""

from __future__ import annotations

from quorate_broker.config.load import ENVIRONMENT_PREFIX, load
from quorate_broker.config.network import Address, Listener, Seed, parse_address
from quorate_broker.config.setting import ConfigError, Scope, Setting
from quorate_broker.config.settings import SETTINGS, TOPIC_SETTINGS, Settings

__all__ = [
    "ENVIRONMENT_PREFIX",
    "SETTINGS",
    "TOPIC_SETTINGS",
    "Address",
    "ConfigError",
    "Listener",
    "Scope",
    "Seed",
    "Setting",
    "Settings",
    "load",
    "parse_address",
]
