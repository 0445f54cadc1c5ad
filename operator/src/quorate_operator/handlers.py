"""kopf as a watch engine, and as nothing else.

Every handler hands on what it was given to `news.py`. There are no on.create or on.update handlers,
no daemons, timers, finalizers or annotations: those act on edges, and an edge that is missed is
missed for good. What kopf misses, `resync.py` finds.

Read next: `news.py`, `workers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from quorate_operator import model
from quorate_operator.names import CLUSTER_LABEL
from quorate_operator.news import WATCHED, News


def registry(news: News, login: Callable[[], kopf.ConnectionInfo]) -> kopf.OperatorRegistry:
    """Everything that kopf is told to do."""
    found = kopf.OperatorRegistry()

    async def sign_in(**_: Any) -> kopf.ConnectionInfo:
        return login()

    async def deliver(*, event: kopf.RawEvent, param: Any = "", **_: Any) -> None:
        news.deliver(param, event["type"], dict(event["object"]["metadata"]))

    kopf.on.login(registry=found, id="login")(sign_in)
    kopf.on.event(
        f"{model.GROUP}/{model.VERSION}",
        model.PLURAL,
        registry=found,
        id=model.PLURAL,
        param=model.PLURAL,
    )(deliver)
    for version, plural in WATCHED:
        kopf.on.event(
            version,
            plural,
            labels={CLUSTER_LABEL: kopf.PRESENT},
            registry=found,
            id=plural,
            param=plural,
        )(deliver)
    return found


class Forgetful(ResourceMemories):
    """kopf's memories, remembering nothing: events need none, and each would be a kilobyte or two.

    Its name is kopf's own affair (what takes it is not), so a test holds that it is what kopf uses.
    """

    async def recall(
        self,
        raw_body: kopf.RawBody,
        *,
        memobase: Any = None,
        noticed_by_listing: bool = False,
        ephemeral: bool = False,
    ) -> ResourceMemory:
        return await super().recall(
            raw_body, memobase=memobase, noticed_by_listing=noticed_by_listing, ephemeral=True
        )


def settings() -> kopf.OperatorSettings:
    """Watches that notice silence; nothing is written to anybody's object."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    # No listing of namespaces and definitions: the rights for it would have to be cluster-wide.
    found.scanning.disabled = True
    found.watching.server_timeout = 300
    found.watching.client_timeout = 330
    found.watching.connect_timeout = 10
    found.watching.inactivity_timeout = 70
    found.networking.request_timeout = 30
    found.execution.default_backoff = 5
    # So long a task waits for more about an object: one for each that anything is heard of.
    found.queueing.idle_timeout = 1.0
    found.process.ultimate_exiting_timeout = 60
    # A safety net: should a handler ever need them, they are under our own name.
    found.persistence.finalizer = f"{model.GROUP}/kopf"
    found.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=model.GROUP)
    found.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=model.GROUP)
    for version, plural in WATCHED:
        found.watching.label_selectors[version, plural] = CLUSTER_LABEL
    return found
