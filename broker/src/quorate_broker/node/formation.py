"""From an empty disk to a member of a cluster: the loop around `cluster.genesis`.

It asks the other seeds what they hold, takes the one step that the answers allow, syncs it, and
asks again. Nothing else of the broker runs before it is through. Read next: `joining`, for a
cluster that is there already.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
from collections.abc import Awaitable, Callable

import msgspec

from quorate_broker import config, seams
from quorate_broker.cluster import genesis as rules
from quorate_broker.cluster.genesis import Answer, Genesis, Phase
from quorate_broker.cluster.records import Member
from quorate_broker.errors import KafkaError
from quorate_broker.log.datadir import DataDir, NodeFile
from quorate_broker.net.peers import PeerLost, Peers
from quorate_broker.node import joining

log = logging.getLogger(__name__)

METHOD = "probe"
ASK_EVERY_S = 0.1
ASK_TIMEOUT_MS = 1_000
REPORT_EVERY = 50


class Formation:
    """This node's way into a cluster. `state` is what it tells other seeds."""

    def __init__(
        self,
        settings: config.Settings,
        datadir: DataDir,
        save: Callable[[NodeFile], Awaitable[None]],
        source: random.Random,
    ) -> None:
        self._settings = settings
        self._datadir = datadir
        self._save = save
        self._random = source
        self._seeds = tuple(seed.node_id for seed in settings.seeds)

    @property
    def state(self) -> Answer:
        node = self._datadir.node
        return Answer(node.node_id, node.incarnation, Phase(node.phase), self.genesis, self._seeds)

    @property
    def genesis(self) -> Genesis | None:
        found = self._datadir.node.genesis
        return None if found is None else msgspec.convert(found, Genesis)

    @property
    def is_founder(self) -> bool:
        """Whether this disk is one of those that formed the cluster, and no later one."""
        node, found = self._datadir.node, self.genesis
        return found is not None and Member(node.node_id, node.incarnation) in found.voters

    async def run(self, peers: Peers) -> Genesis:
        """Until this node is a member; returns the genesis of its cluster."""
        waits = 0
        while self.state.phase is not Phase.FORMED:
            step = rules.step(self.state, await self._ask(peers), self._settings.cluster_id)
            reason: str | None = None
            match step:
                case rules.Wait():
                    reason = step.reason
                case rules.AskToJoin():
                    reason = await self._join(step, peers)
                case _:
                    await self._take(step)
            if reason is not None:
                if waits % REPORT_EVERY == 0:
                    log.info("waiting to become a member: %s", reason)
                waits += 1
                await asyncio.sleep(ASK_EVERY_S)
        found = self.genesis
        assert found is not None
        return found

    async def _join(self, step: rules.AskToJoin, peers: Peers) -> str | None:
        """None when this node is a member now, else why not."""
        node = self._datadir.node
        reason = await joining.ask(self._settings, node.incarnation, step, peers)
        if reason is None:
            log.info("joining cluster %s, which is there already", step.genesis.cluster_id)
            await self._save(
                dataclasses.replace(_prepared(node, step.genesis), phase=Phase.FORMED.value)
            )
        return reason

    async def _ask(self, peers: Peers) -> list[Answer]:
        async def ask(node_id: int) -> Answer | None:
            try:
                body = await peers.request(node_id, METHOD, b"", timeout_ms=ASK_TIMEOUT_MS)
                return msgspec.msgpack.decode(body, type=Answer)
            except (PeerLost, TimeoutError, KafkaError):
                return None
            except msgspec.MsgspecError as error:
                log.warning("broker %d answers what cannot be read: %s", node_id, error)
                return None

        others = [seed for seed in self._seeds if seed != self._settings.node_id]
        answers = await asyncio.gather(*(ask(node_id) for node_id in others))
        return [answer for answer in answers if answer is not None]

    async def _take(self, step: rules.Propose | rules.Adopt | rules.Form) -> None:
        node = self._datadir.node
        match step:
            case rules.Propose():
                new = Genesis(str(seams.new_uuid(self._random)), step.voters)
                log.info("starting cluster %s with brokers %s", new.cluster_id, _ids(new))
                await self._save(_prepared(node, new))
            case rules.Adopt():
                log.info("joining cluster %s", step.genesis.cluster_id)
                await self._save(_prepared(node, step.genesis))
            case rules.Form():
                await self._save(dataclasses.replace(node, phase=Phase.FORMED.value))


def _prepared(node: NodeFile, found: Genesis) -> NodeFile:
    return dataclasses.replace(
        node,
        cluster_id=found.cluster_id,
        phase=Phase.PREPARED.value,
        genesis=msgspec.to_builtins(found),
    )


def _ids(found: Genesis) -> list[int]:
    return [voter.node_id for voter in found.voters]
