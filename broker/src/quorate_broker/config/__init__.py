"""Configuration: one registry of settings, in one frozen object that another one may replace.

Everything a person may set stands in `settings.Settings`, a frozen dataclass whose fields carry
their own registry row (`setting.Setting`). `load.load` reads a TOML file, the environment and
`--set`, checks all of it, and raises one `ConfigError` that names every bad key. Nothing else in
the broker reads the environment or a configuration file. `live.Live` holds the object of the day:
the cluster's metadata changes settings while brokers run.

This is the lowest layer: importers write `from quorate_broker import config` and use
`config.Settings`, `config.SETTINGS`, `config.Listener`, `config.load`.
Read next: `setting` (what a row is), `settings` (the rows), `load` (where values come from),
`live` (what they become).
"""

from __future__ import annotations

from quorate_broker.config.live import Live, Said, Texts
from quorate_broker.config.load import ENVIRONMENT_PREFIX, load, pinned
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
    "Live",
    "Said",
    "Scope",
    "Seed",
    "Setting",
    "Settings",
    "Texts",
    "load",
    "parse_address",
    "pinned",
]
