"""kopf as a watch engine, and as nothing else.

Every handler does one thing: it wakes the worker of a cluster, unless what it was given is no news.
There are no on.create or on.update handlers, no daemons, timers, finalizers or annotations: those
act on edges, and an edge that is missed is missed for good. What kopf misses, `resync.py` finds.

Read next: `workers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from quorate_operator import model
from quorate_operator.health import Thing
from quorate_operator.names import CLUSTER_LABEL, Key

WATCHED: Final = (
    ("v1", "pods"),
    ("v1", "services"),
    ("v1", "configmaps"),
    ("v1", "serviceaccounts"),
    ("v1", "persistentvolumeclaims"),
    ("apps/v1", "statefulsets"),
    ("policy/v1", "poddisruptionbudgets"),
    ("networking.k8s.io/v1", "networkpolicies"),
    ("autoscaling/v2", "horizontalpodautoscalers"),
)
"""Children, filtered by our label on the server."""


def registry(
    wake: Callable[[Key], None],
    heard: Callable[[Thing, str], bool],
    login: Callable[[], kopf.ConnectionInfo],
) -> kopf.OperatorRegistry:
    """Everything that kopf is told to do."""
    found = kopf.OperatorRegistry()

    async def sign_in(**_: Any) -> kopf.ConnectionInfo:
        return login()

    def tell(thing: Thing, cluster: str, event: kopf.RawEvent) -> None:
        is_gone = event["type"] == "DELETED"
        version = "" if is_gone else event["object"]["metadata"].get("resourceVersion", "")
        if heard(thing, version):
            wake(Key(thing.namespace, cluster))

    async def cluster(*, namespace: str | None, name: str, event: kopf.RawEvent, **_: Any) -> None:
        tell(Thing(model.PLURAL, namespace or "", name), name, event)

    async def child(
        *,
        namespace: str | None,
        name: str,
        labels: kopf.Labels,
        event: kopf.RawEvent,
        param: Any = "",
        **_: Any,
    ) -> None:
        tell(Thing(param, namespace or "", name), labels[CLUSTER_LABEL], event)

    kopf.on.login(registry=found, id="login")(sign_in)
    kopf.on.event(f"{model.GROUP}/{model.VERSION}", model.PLURAL, registry=found, id="cluster")(
        cluster
    )
    for version, plural in WATCHED:
        kopf.on.event(
            version,
            plural,
            labels={CLUSTER_LABEL: kopf.PRESENT},
            registry=found,
            id=plural,
            param=plural,
        )(child)
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
