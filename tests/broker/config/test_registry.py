"""The registry of settings holds together, whatever rows are added to it."""

from __future__ import annotations

import dataclasses
import pathlib

from quorate_broker import config


def test_each_field_has_the_name_of_its_row() -> None:
    for field in dataclasses.fields(config.Settings):
        assert field.metadata["setting"].attribute == field.name
        assert field.default == field.metadata["setting"].default


def test_names_and_aliases_are_unique_and_none_is_the_prefix_of_another() -> None:
    names = list(config.SETTINGS)
    assert len({row.environment for row in config.SETTINGS.values()}) == len(names)
    aliases = [row.alias for row in config.SETTINGS.values() if row.alias]
    assert len(set(aliases)) == len(aliases)
    for name in names:
        assert not [other for other in names if other.startswith(f"{name}.")]


def test_each_default_passes_its_own_check() -> None:
    for row in config.SETTINGS.values():
        value = list(row.default) if isinstance(row.default, tuple) else row.default
        assert row.check(value) == row.default, row.name


def test_each_row_says_what_it_is_for_and_its_unit() -> None:
    for row in config.SETTINGS.values():
        assert len(row.doc) > 10, row.name
        for unit in ("bytes", "ms"):
            if row.name.endswith(f".{unit}"):
                assert row.unit == unit, row.name


READ_WHILE_LOADING = {"log.retention.hours"}
"""Becomes another setting: `load`."""


def test_each_setting_is_read_by_something() -> None:
    """A setting that nothing reads is a promise that nothing keeps."""
    package = pathlib.Path(config.__file__).parent.parent
    text = "\n".join(
        path.read_text()
        for path in package.rglob("*.py")
        if not {"config", "dev", "testing"} & set(path.relative_to(package).parts[:-1])
    )
    for row in config.SETTINGS.values():
        is_read = f".{row.attribute}" in text or f'"{row.topic_name}"' in text
        assert is_read or row.name in READ_WHILE_LOADING, row.name
