"""Starts the nodes' processes, watches them, and leaves none behind.

    start all -> poll until all serve -> print `ready …` -> wait for a signal -> stop all

A child gets its own session, so that Ctrl-C in the terminal reaches `dev` alone and `dev` stops
the nodes in order; and a parent-death signal, so that a killed `dev` takes its nodes with it. A
node that dies after the cluster was ready stays down, as a dead machine would, unless --restart;
one that dies before that is an error of its configuration or its disk and ends everything.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Sequence

from quorate_broker.dev import plan, probe
from quorate_broker.seams import Clock

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.05
PATIENCE_MS = 10_000
RESTART_DELAYS_SECONDS = (0.2, 1.0, 5.0)
STEADY_MS = 30_000
TAIL_BYTES = 4_000
EXIT_CONFIG = 2
PR_SET_PDEATHSIG = 1


class _Over(Exception):
    """Leaves the task group: everything is to be stopped."""


class Supervisor:
    """The processes of one development cluster."""

    def __init__(
        self,
        nodes: Sequence[plan.Node],
        options: plan.Options,
        base: pathlib.Path,
        clock: Clock,
    ) -> None:
        self._nodes = nodes
        self._options = options
        self._base = base
        self._clock = clock
        self._over = asyncio.Event()
        self._down: set[int] = set()
        self._announced = False
        self._exit_code = 0

    async def run(self) -> int:
        """Until a signal, or until nothing is left to run; the exit code of `dev`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._over.set)
        try:
            async with asyncio.TaskGroup() as group:
                for node in self._nodes:
                    group.create_task(self._keep(node))
                group.create_task(self._announce())
                await self._over.wait()
                raise _Over
        except* _Over:
            pass
        for node in self._nodes:
            node.pid_file.unlink(missing_ok=True)
        return self._exit_code

    async def _keep(self, node: plan.Node) -> None:
        """Run one node; again after it died, with --restart."""
        failures = 0
        while True:
            started_ms = self._clock.monotonic_ms()
            code = await self._run_once(node)
            if self._clock.monotonic_ms() - started_ms > STEADY_MS:
                failures = 0
            if not self._may_go_on(node, code):
                return
            await asyncio.sleep(RESTART_DELAYS_SECONDS[min(failures, 2)])
            failures += 1

    async def _run_once(self, node: plan.Node) -> int:
        with node.log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *_command(node, self._options.overrides),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        try:
            _write_atomically(node.pid_file, f"{process.pid}\n")
            return await process.wait()
        finally:
            await _end(process)

    def _may_go_on(self, node: plan.Node, code: int) -> bool:
        """Say that a node ended; True if it is to be started again."""
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended ({code})"
        if code != EXIT_CONFIG and self._options.restart:
            _say(f"node {node.node_id} {how}; starting it again")
            return True
        if not self._announced:
            _say(f"node {node.node_id} {how} before the cluster was ready. {node.log_file}:")
            _say(_tail(node.log_file))
            self._fail()
            return False
        _say(f"node {node.node_id} {how}; it stays down (--restart would start it again)")
        self._down.add(node.node_id)
        if len(self._down) == len(self._nodes):
            _say("no node is left")
            self._fail()
        return False

    def _fail(self) -> None:
        self._exit_code = 1
        self._over.set()

    async def _announce(self) -> None:
        """Print the one line on stdout that scripts wait for."""
        started_ms = self._clock.monotonic_ms()
        complain_ms = started_ms + PATIENCE_MS
        while waiting := await probe.not_ready(self._nodes):
            if self._clock.monotonic_ms() > complain_ms:
                _say(f"still waiting: {'; '.join(waiting)}")
                complain_ms += PATIENCE_MS
            await asyncio.sleep(POLL_SECONDS)
        self._announced = True
        options = self._options
        seconds = (self._clock.monotonic_ms() - started_ms) / 1000
        sys.stdout.write(
            f"ready bootstrap={plan.bootstrap(options)}"
            f" admin=http://{plan.HOST}:{options.admin_port}"
            f" proxy=http://{plan.HOST}:{options.proxy_port}"
            f" data={self._base} seconds={seconds:.1f}\n"
        )
        sys.stdout.flush()


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, time to hand over and close, then SIGKILL."""
    if process.returncode is not None:
        return
    try:
        process.terminate()
        async with asyncio.timeout(GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        _say(f"pid {process.pid} did not stop within {GRACE_SECONDS:.0f} s; killing it")
        process.kill()
        await process.wait()
    except ProcessLookupError:
        await process.wait()


def _command(node: plan.Node, overrides: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "quorate_broker", "run", "--config", str(node.config_file)]
    for override in overrides:
        command += ["--set", override]
    return command


def _environment() -> dict[str, str]:
    """Without QUORATE_…: one environment cannot configure several nodes; --set can."""
    return {key: value for key, value in os.environ.items() if not key.startswith("QUORATE_")}


def _die_with(parent: int) -> Callable[[], None]:
    """For the child, between fork and exec: SIGKILL me when `parent` is gone (Linux only)."""
    if not sys.platform.startswith("linux"):
        return lambda: None
    libc = ctypes.CDLL(None, use_errno=True)

    def arm() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we were armed
            os._exit(1)

    return arm


def _write_atomically(path: pathlib.Path, text: str) -> None:
    """Readers see the old pid or the new one, never half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="ascii")
    fresh.replace(path)


def _tail(path: pathlib.Path) -> str:
    text = path.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace")
    return "\n".join(f"    {line}" for line in text.splitlines()[-15:])


def _say(text: str) -> None:
    sys.stderr.write(f"quorate-broker dev: {text}\n")
    sys.stderr.flush()
