"""Runs one target under atheris: its name first, then what libFuzzer takes."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["quorate_broker"]):
    from quorate_broker.testing.fuzzing import targets


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    target = targets.TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
