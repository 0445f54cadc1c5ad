"""The list of flanking nodes over a change of the metadata leader."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from quorate_broker.admin.flanking_registry import TIME_TO_LIVE_MS, FlankingNode
from quorate_broker.net.peers import Peers
from quorate_broker.node.controller import Controller
from quorate_broker.node.flank import Flank
from quorate_broker.testing.stand import HandClock


def node(node_id: int) -> FlankingNode:
    return FlankingNode(
        node_id=node_id, pod=f"pod-{node_id}", incarnation="i", ready=True, version="1", proxy=""
    )


class Seen:
    """A flank, and the controller that it sees."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.controller: Any = SimpleNamespace(
            leads=False, partition=SimpleNamespace(leader_epoch=1), leader_id=2
        )
        self.changes = 0
        self.flank = Flank(
            cast(Controller, self.controller), cast(Peers, None), self.clock, self._changed
        )

    def _changed(self) -> None:
        self.changes += 1


def test_a_new_leader_goes_on_with_what_the_old_one_told() -> None:
    seen = Seen()
    seen.flank.hear((node(101), node(102)), 1)
    seen.controller.leads = True
    assert seen.flank.gossip() == (node(101), node(102))
    asyncio.run(seen.flank.register(node(101)))
    seen.clock.now_ms = TIME_TO_LIVE_MS - 1
    seen.flank.tick(seen.clock.now_ms)
    assert seen.flank.nodes() == (node(101), node(102))
    asyncio.run(seen.flank.register(node(101)))
    seen.clock.now_ms = TIME_TO_LIVE_MS
    seen.flank.tick(seen.clock.now_ms)
    assert seen.flank.nodes() == (node(101),)


def test_a_leader_of_an_older_term_is_not_heard_any_more() -> None:
    seen = Seen()
    seen.flank.hear((node(101),), 5)
    seen.flank.hear((), 4)
    assert seen.flank.nodes() == (node(101),)
    seen.flank.hear(None, -1)
    assert seen.flank.nodes() == (node(101),)
    seen.flank.hear((), 5)
    assert seen.flank.nodes() == ()


def test_whoever_leads_no_longer_shows_what_it_knew_last_until_it_is_told() -> None:
    seen = Seen()
    seen.controller.leads = True
    asyncio.run(seen.flank.register(node(101)))
    seen.controller.leads = False
    seen.flank.tick(0)
    assert seen.flank.nodes() == (node(101),)
    assert seen.flank.gossip() is None
    seen.flank.hear((), 2)
    assert seen.flank.nodes() == ()
