"""`quorate-operator`: builds every part and runs until told to stop.

Several may run; one of them is active (`lease.py`). Three things run side by side in it: kopf
(events -> wake), one worker per cluster (wake -> pass), and the resync (every minute: a list shows
whom no event told of). When any of them ends unexpectedly the process ends and is started again;
brokers neither notice nor care.

Read next: `lease.py`, `handlers.py`, `workers.py`, `reconcile.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Final

import kopf
from kubernetes.aio import client

from quorate_operator import access, handlers, health, kube, model
from quorate_operator.admin import HttpAdmin
from quorate_operator.brokers import Brokers
from quorate_operator.budget import Budget
from quorate_operator.facts import Json
from quorate_operator.health import Pulse, Thing
from quorate_operator.kube import Kube, KubeError
from quorate_operator.lease import Lease, LeaseLost
from quorate_operator.metrics import ACTIVE
from quorate_operator.names import Key
from quorate_operator.reconcile import Listed, Reconciler
from quorate_operator.seams import Clock, SystemClock
from quorate_operator.settings import Settings, SettingsError, load
from quorate_operator.workers import Workers

LOGGER: Final = logging.getLogger("quorate_operator")
RESYNC_S: Final = 60.0
SPREAD_S: Final = 12.0
"""Over this the clusters of one resync are spread."""
NO_DEFINITION: Final = (
    f"the definition {model.PLURAL}.{model.GROUP} is not installed: install the chart quorate-crds"
)


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
        reconciler.listed = _noting(pulse)
        workers = Workers(group, reconciler, brokers, clock)
        listed = asyncio.Event()
        resync = group.create_task(
            Resync(talker, settings.namespaces, workers, pulse, budget).run(listed)
        )
        # kopf looks only once which resources there are: not before ours is one of them.
        await listed.wait()
        await kopf.operator(
            registry=handlers.registry(
                workers.wake,
                pulse.heard,
                lambda: access.connection(configuration, clock.now()),
            ),
            settings=handlers.settings(),
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


def _noting(pulse: Pulse) -> Listed:
    """What passes list is held against what the watches deliver."""
    watched = {kube.KINDS[kind][1]: kind for kind in kube.KINDS}
    plurals = {watched[plural]: plural for _, plural in handlers.WATCHED}

    def note(key: Key, objects: Iterable[Json]) -> None:
        versions = {
            Thing(plurals[one["kind"]], key.namespace, one["metadata"]["name"]): str(
                one["metadata"].get("resourceVersion", "")
            )
            for one in objects
            if one["kind"] in plurals
        }
        pulse.listed(key, versions)

    return note


class Resync:
    """Finds clusters of which no event told: none has to arrive for things to become right.

    A list each minute shows whether the watch of the clusters lives; one that it missed is woken,
    one that nobody looks after yet is looked after from now on.
    """

    def __init__(
        self,
        talker: Kube,
        namespaces: tuple[str, ...],
        workers: Workers,
        pulse: Pulse,
        budget: Budget,
    ) -> None:
        self._kube = talker
        self._namespaces = namespaces
        self._workers = workers
        self._pulse = pulse
        self._budget = budget
        self._known: set[Key] = set()

    async def run(self, listed: asyncio.Event) -> None:
        while True:
            self._pulse.tried()
            try:
                found = await self._look(first=not listed.is_set())
            except KubeError as error:
                what = NO_DEFINITION if error.status == 404 else error.message
                LOGGER.warning("cannot list clusters: %s", what)
                await asyncio.sleep(2.0)
                continue
            listed.set()
            for key in self._missed(found):
                self._workers.wake(key)
            for key in found:
                self._workers.look_after(key)
                await asyncio.sleep(random.uniform(0, 2 * SPREAD_S / len(found)))
            await asyncio.sleep(RESYNC_S)

    async def _look(self, *, first: bool) -> dict[Key, str]:
        clusters = [
            one
            for namespace in self._namespaces or (None,)
            for one in await self._kube.all(model.KIND, namespace)
        ]
        if first:
            self._budget.begin_with(clusters)
        metadata = [one["metadata"] for one in clusters]
        found = {
            Key(one["namespace"], one["name"]): str(one.get("resourceVersion", ""))
            for one in metadata
        }
        self._pulse.succeeded()
        for gone in self._known - set(found):
            self._pulse.forget(gone)
        self._known = set(found)
        self._pulse.listed(None, {_thing(key): version for key, version in found.items()})
        return found

    def _missed(self, found: dict[Key, str]) -> list[Key]:
        return [
            key for key, version in found.items() if not self._pulse.has_heard(_thing(key), version)
        ]


def _thing(key: Key) -> Thing:
    return Thing(model.PLURAL, key.namespace, key.name)


if __name__ == "__main__":
    main()
