"""The facts that a manifest needs beside the spec: image, cluster id, size of the claims. Pure."""

from __future__ import annotations

from quorate_operator.facts import DefaultImage, Subject
from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import RESTART_ANNOTATION
from quorate_operator.plan import gate, identity, leadership, quantity, size
from quorate_operator.plan.inputs import Wish


def subject(wish: Wish, default: DefaultImage) -> Subject:
    lead = leadership.read(wish)
    return Subject(
        spec=_in_order(wish.spec),
        names=wish.names,
        uid=wish.observed.cluster["metadata"]["uid"],
        image=image(wish, default),
        cluster_id=lead.cluster_id,
        claim_size=_claim_size(wish),
        brokers=size.effective(wish),
        operator=default.namespace,
        disruptions=int(gate.could_lose_any(wish, lead)),
        restart=wish.annotation(RESTART_ANNOTATION),
    )


def _in_order(spec: BrokerClusterSpec) -> BrokerClusterSpec:
    """Listeners are told apart by name: another order of them in the spec changes nothing."""
    listeners = sorted(spec.listeners, key=lambda listener: listener.port)
    return spec.model_copy(update={"listeners": listeners})


def image(wish: Wish, default: DefaultImage) -> str:
    """A cluster that names no version stays on the one it was formed with.

    Otherwise a newer operator would restart all flanking nodes of all clusters at once.
    """
    wanted = wish.spec.image
    tag = wanted.tag or wish.spec.version
    if tag:
        return f"{wanted.repository or default.repository}:{tag}"
    live = wish.image("broker")
    formed = identity.recorded(wish)
    if live and formed and wanted.repository in (None, live.rpartition(":")[0]):
        return live
    return f"{wanted.repository or default.repository}:{default.tag}"


def _claim_size(wish: Wish) -> str:
    """Claim templates cannot be edited: keep the first size, the volumes grow one by one.

    Unless volumes may be replaced: then the StatefulSet is made anew for it (`volumes.py`).
    """
    claims = wish.workload("broker").get("spec", {}).get("volumeClaimTemplates") or []
    wanted = wish.spec.storage.size
    if not claims or wish.spec.storage.replace == "Guided":
        return wanted
    live = str(claims[0]["spec"]["resources"]["requests"]["storage"])
    return wanted if quantity.same(wanted, live) else live
