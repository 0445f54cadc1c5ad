"""`quorate-broker dev`: a whole cluster on one machine, for people who write clients.

One real process per node, real Raft, real files, on 127.0.0.1. `plan` decides which node gets
which ports and settings (pure), `supervisor` starts, watches and stops the processes, `probe`
asks their Admin API. Read next: `plan`.
"""

from __future__ import annotations

import asyncio
import pathlib
import shutil
import sys
import tempfile

from quorate_broker import seams
from quorate_broker.dev import plan, supervisor
from quorate_broker.dev.plan import Options

__all__ = ["Options", "main"]


def main(options: Options) -> int:
    """Run until a signal; the exit code. ConfigError if a setting is bad."""
    base = options.data
    if base is None:
        temporary = pathlib.Path(tempfile.mkdtemp(prefix="quorate-dev-"))
        try:
            return _serve(options, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return _serve(options, base.absolute())


def _serve(options: Options, base: pathlib.Path) -> int:
    nodes = plan.nodes(options, base)
    try:
        plan.write(nodes)
    except OSError as error:
        sys.stderr.write(f"quorate-broker: {error.filename}: {error.strerror}\n")
        return 1
    plan.check(nodes, options.overrides)
    taken = plan.taken_ports(nodes)
    if taken:
        sys.stderr.write("".join(f"quorate-broker: {sentence}\n" for sentence in taken))
        return 1
    cluster = supervisor.Supervisor(nodes, options, base, seams.SystemClock())
    return asyncio.run(cluster.run())
