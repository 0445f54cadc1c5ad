"""Runs targets under atheris: their names first, with commas, then what libFuzzer takes.

To look into every import costs ten seconds, so it is done once and each target gets a process that
begins after it. `{}` in what libFuzzer takes stands for the target's name.
"""

from __future__ import annotations

import os
import sys

import atheris

with atheris.instrument_imports(include=["quorate_broker"]):
    from quorate_broker.testing.fuzzing import targets


def main() -> None:
    """Exits with what the first target that breaks exits with."""
    names, *options = sys.argv[1:]
    for name in names.split(","):
        process = os.fork()
        if not process:
            arguments = [sys.argv[0], *(each.format(name) for each in options)]
            atheris.Setup(arguments, targets.TARGETS[name])
            atheris.Fuzz()  # never returns: libFuzzer ends the process
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if code:
            sys.exit(f"{name}: exit code {code}")


if __name__ == "__main__":
    main()
