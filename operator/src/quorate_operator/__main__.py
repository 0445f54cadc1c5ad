"""`quorate-operator`: builds every part and runs until told to stop.

Several may run; one of them is active (`lease.py`). Three things run side by side in it: kopf
(events -> wake), one worker per cluster (wake -> pass), and the resync (lists show what no event
told of). When any of them ends unexpectedly the process ends and is started again;
brokers neither notice nor care.

Read next: `lease.py`, `handlers.py`, `resync.py`, `workers.py`, `reconcile.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

import kopf
from kubernetes.aio import client

from quorate_operator import access, handlers, health, kube
from quorate_operator.admin import HttpAdmin
from quorate_operator.brokers import Brokers
from quorate_operator.budget import Budget
from quorate_operator.health import Pulse
from quorate_operator.kube import Kube
from quorate_operator.lease import Lease, LeaseLost
from quorate_operator.metrics import ACTIVE
from quorate_operator.news import News
from quorate_operator.reconcile import Reconciler
from quorate_operator.resync import Resync
from quorate_operator.seams import Clock, SystemClock
from quorate_operator.settings import Settings, SettingsError, load
from quorate_operator.workers import Workers

LOGGER: Final = logging.getLogger("quorate_operator")


def main() -> None:
    try:
        settings = load(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # What was imported stays; garbage may grow to a quarter of all that is not frozen.
    gc.collect()
    gc.freeze()
    try:
        asyncio.run(run(settings, SystemClock()))
    except* LeaseLost as lost:
        print(f"stopping: {lost.exceptions[0]}", file=sys.stderr)
        sys.exit(1)


async def run(settings: Settings, clock: Clock) -> None:
    """Standby until this is the active operator, active until told to stop or the lease is lost."""
    configuration = await access.configuration(os.environ)
    pulse = Pulse(clock)
    async with (
        contextlib.aclosing(Kube(configuration)) as unguarded,
        health.serve(pulse, settings.http_port),
        asyncio.TaskGroup() as group,
    ):
        beat = group.create_task(_beat(pulse))
        if settings.lease is None:
            ACTIVE.set(1)
            await _active(configuration, settings, clock, pulse, kube.always)
        else:
            lease = Lease(unguarded, settings.lease, settings.identity, clock)
            if await _elected(group, lease, pulse):
                keeper = group.create_task(lease.keep())
                await _active(configuration, settings, clock, pulse, lease.may_write)
                keeper.cancel()
                await lease.release()
        beat.cancel()


async def _elected(group: asyncio.TaskGroup, lease: Lease, pulse: Pulse) -> bool:
    """False: told to stop before it came to that."""
    loop = asyncio.get_running_loop()
    waiting = group.create_task(lease.acquire())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, waiting.cancel)
    pulse.standby = True
    await asyncio.wait([waiting])
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    pulse.tried()
    pulse.standby = False
    ACTIVE.set(0 if waiting.cancelled() else 1)
    return not waiting.cancelled()


async def _active(
    configuration: client.Configuration,
    settings: Settings,
    clock: Clock,
    pulse: Pulse,
    may_write: Callable[[], bool],
) -> None:
    async with (
        contextlib.aclosing(Kube(configuration, may_write)) as talker,
        Brokers() as brokers,
        asyncio.TaskGroup() as group,
    ):
        budget = Budget(settings.rollouts)
        reconciler = Reconciler(talker, HttpAdmin(brokers), settings.image, clock, budget)
        workers = Workers(group, reconciler, brokers, clock)
        listed = asyncio.Event()
        resync = group.create_task(
            Resync(talker, settings.namespaces, workers, pulse, budget).run(listed)
        )
        # kopf looks only once which resources there are: not before ours is one of them.
        await listed.wait()
        await kopf.operator(
            registry=handlers.registry(
                News(pulse, workers.wake),
                lambda: access.connection(configuration, clock.now()),
            ),
            settings=handlers.settings(),
            memories=handlers.Forgetful(),
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
        )
        LOGGER.info("stopping")
        resync.cancel()
        workers.stop()


async def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(health.BEAT_S)


if __name__ == "__main__":
    main()
