"""The settings of the running brokers: changed there, before anything restarts. Pure.

    spec.config ──differences──▶ PUT /v1/cluster_config ──▶ each broker acts on it, or says that
                                                            only a restart will do (`rollout.py`)

What the cluster sets is in its brokers' metadata and comes with their news; the spec is the only
source of it, so a setting that somebody made elsewhere is taken back, and one that is gone from the
spec is at its default again. A cluster that has none yet gets them from the brokers' files.

Read next: `levels.py`, which has the settings be in the metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from quorate_operator.facts import Member
from quorate_operator.names import node_id
from quorate_operator.plan import size
from quorate_operator.plan.actions import Configure
from quorate_operator.plan.blocked import Blocked, Reason
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership


def steps(wish: Wish, lead: Leadership) -> Iterator[Configure]:
    """One change of all that differs."""
    view = lead.view
    if wish.spec.hibernate or view is None or view.config_version == 0:
        return
    put = {name: text for name, text in wish.spec.config.items() if view.config.get(name) != text}
    drop = tuple(sorted(view.config.keys() - wish.spec.config.keys()))
    if put or drop:
        yield Configure(put, drop)


def refused(problems: Mapping[str, str]) -> tuple[Blocked, ...]:
    """What the brokers said to that."""
    return tuple(
        Blocked(Reason.CONFIG_REFUSED, name, why) for name, why in sorted(problems.items())
    )


def behind(wish: Wish, lead: Leadership) -> tuple[str, ...]:
    """Brokers that answer and have not got what the cluster sets by now."""
    if lead.view is None:
        return ()
    version = lead.view.config_version
    return tuple(
        pod
        for pod, member in _answering(wish, lead)
        if member.config is not None and member.config.version < version
    )


def restarting(wish: Wish, lead: Leadership) -> tuple[str, ...]:
    """Pods whose broker says that only a restart brings it to what the cluster sets."""
    return tuple(
        pod for pod, member in _answering(wish, lead) if member.config and member.config.restart
    )


def departing(wish: Wish, lead: Leadership) -> tuple[str, ...]:
    """Brokers with settings of their own, or that do not understand some; a sentence for each."""
    found = []
    for pod, member in _answering(wish, lead):
        if member.config is None:
            continue
        kinds = (
            ("does not know", member.config.unknown),
            ("takes for wrong", member.config.invalid),
            ("sets for itself", member.config.own),
        )
        found += [f"{pod} {what} {', '.join(names)}" for what, names in kinds if names]
    return tuple(found)


def _answering(wish: Wish, lead: Leadership) -> Iterator[tuple[str, Member]]:
    for pod in sorted(wish.observed.pods_of("broker"), key=lambda one: one.ordinal):
        number = node_id("broker", pod.ordinal)
        member = lead.view.member(number) if lead.view else None
        if (
            member is not None
            and pod.name in wish.observed.views
            and number <= size.effective(wish)
        ):
            yield pod.name, member
