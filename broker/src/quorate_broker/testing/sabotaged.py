"""Run one broker whose disk and clock go wrong as the environment says: for tests only.

    python -m quorate_broker.testing.sabotaged --config FILE [--set KEY=VALUE]

The product's own command line has no such switch, and refuses the variables. Read next: `sabotage`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import pathlib
import random
import signal
import sys

from quorate_broker import config, node
from quorate_broker.testing import sabotage


def main(arguments: list[str]) -> int:
    """The broker's exit code, or one of `sabotage`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=pathlib.Path, required=True)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args(arguments)
    environ = sabotage.without_switches(os.environ)
    settings = config.load(options.config, environ, options.overrides)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    return asyncio.run(_run(config.Live(settings, config.pinned(environ, options.overrides))))


async def _run(live: config.Live) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    saboteur = sabotage.Saboteur(os.environ)
    disk = sabotage.SabotagedDisk(saboteur, live.file.data_dir)
    clock = sabotage.SabotagedClock(saboteur)
    return await node.run(live, clock, random.Random(), stop, disk)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
