"""`quorate-operator`: builds every part and runs until told to stop.

Three things run side by side: kopf (events -> wake), one worker per cluster (wake -> pass), and the
resync (every minute: wake all). When any of them ends unexpectedly the process ends and is started
again; brokers neither notice nor care.

Read next: `handlers.py`, `workers.py`, `reconcile.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from typing import Final

import kopf

from quorate_operator import access, handlers, health, model
from quorate_operator.admin import HttpAdmin
from quorate_operator.brokers import Brokers
from quorate_operator.health import Pulse
from quorate_operator.kube import Kube, KubeError
from quorate_operator.names import Key
from quorate_operator.reconcile import Reconciler
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
    asyncio.run(run(settings, SystemClock()))


async def run(settings: Settings, clock: Clock) -> None:
    configuration = await access.configuration(os.environ)
    kube = Kube(configuration)
    pulse = Pulse(clock)
    try:
        async with (
            health.serve(pulse, settings.http_port),
            Brokers() as brokers,
            asyncio.TaskGroup() as group,
        ):
            reconciler = Reconciler(kube, HttpAdmin(brokers), settings.image, clock)
            workers = Workers(group, reconciler, brokers, clock)
            listed = asyncio.Event()
            resync = group.create_task(_resync(kube, settings, workers, pulse, listed))
            # kopf looks only once which resources there are: not before ours is one of them.
            await listed.wait()
            await kopf.operator(
                registry=handlers.registry(
                    workers.wake, lambda: access.connection(configuration, clock.now())
                ),
                settings=handlers.settings(),
                standalone=True,
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
            )
            LOGGER.info("stopping")
            resync.cancel()
            workers.stop()
    finally:
        await kube.close()


async def _resync(
    kube: Kube, settings: Settings, workers: Workers, pulse: Pulse, listed: asyncio.Event
) -> None:
    """Wakes every cluster once in a while: no event has to arrive for things to become right."""
    while True:
        pulse.tried()
        found: list[Key] = []
        try:
            for namespace in settings.namespaces or (None,):
                for item in await kube.all(model.KIND, namespace):
                    found.append(Key(item["metadata"]["namespace"], item["metadata"]["name"]))
            pulse.succeeded()
            listed.set()
        except KubeError as error:
            what = NO_DEFINITION if error.status == 404 else error.message
            LOGGER.warning("cannot list clusters: %s", what)
            await asyncio.sleep(2.0)
            continue
        for key in found:
            workers.wake(key)
            await asyncio.sleep(random.uniform(0, 2 * SPREAD_S / len(found)))
        await asyncio.sleep(RESYNC_S)


if __name__ == "__main__":
    main()
