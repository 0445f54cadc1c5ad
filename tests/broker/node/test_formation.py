"""From empty disks to one cluster: every step on a real disk, over lines that are not."""

from __future__ import annotations

import asyncio
import pathlib
import random
from typing import cast

import msgspec
import pytest

from quorate_broker import config
from quorate_broker.cluster.genesis import Genesis, Phase
from quorate_broker.log.datadir import DataDir, NodeFile
from quorate_broker.log.disk import OsDisk
from quorate_broker.net.peers import PeerLost, Peers
from quorate_broker.node import formation
from quorate_broker.node.formation import Formation

SEEDS = "seeds=" + ",".join(f"{i}@127.0.0.1:{i}" for i in (1, 2, 3))
LISTENER = 'listeners=[{name="plain", host="127.0.0.1", port=1, authentication="none"}]'


class Lines:
    """Between formations in one process; `cut` holds the ids of those who cannot be reached."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.nodes: dict[int, Formation] = {}
        self.dirs: dict[int, DataDir] = {}
        self.cut: set[int] = set()
        self.garbled: set[int] = set()
        self.asked = 0

    def start(self, node_id: int, incarnation: str = "") -> Formation:
        path = str(self.folder / str(node_id))
        datadir = DataDir.open(OsDisk(), path, node_id, incarnation or f"disk-{node_id}")
        settings = config.load(
            None, {}, [f"node.id={node_id}", f"data.dir={path}", SEEDS, LISTENER]
        )

        async def save(node: NodeFile) -> None:
            datadir.save(node)

        made = Formation(settings, datadir, save, random.Random(node_id))
        self.nodes[node_id], self.dirs[node_id] = made, datadir
        return made

    def stop(self, node_id: int) -> None:
        del self.nodes[node_id]
        self.dirs.pop(node_id).close()

    def close(self) -> None:
        for node_id in list(self.nodes):
            self.stop(node_id)

    async def request(self, node_id: int, method: str, body: bytes, timeout_ms: int) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if node_id in self.cut or node_id not in self.nodes:
            raise PeerLost("it is not there")
        if node_id in self.garbled:
            return b"\xc1"
        return msgspec.msgpack.encode(self.nodes[node_id].state)

    async def form(self, *node_ids: int) -> list[Genesis]:
        async with asyncio.timeout(5):
            ways = (self.nodes[i].run(cast(Peers, self)) for i in node_ids)
            return list(await asyncio.gather(*ways))

    async def waits(self, *node_ids: int) -> None:
        """They ask and ask, and come no further."""
        trying = asyncio.ensure_future(self.form(*node_ids))
        self.asked = 0
        while self.asked < 100:
            await asyncio.sleep(0)
            assert not trying.done()
        trying.cancel()
        await asyncio.wait([trying])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formation, "ASK_EVERY_S", 0)


def test_three_empty_disks_become_one_cluster(tmp_path: pathlib.Path) -> None:
    lines = Lines(tmp_path)
    for node_id in (3, 1, 2):
        lines.start(node_id)
    found = asyncio.run(lines.form(3, 2, 1))
    assert len(set(found)) == 1
    assert [voter.node_id for voter in found[0].voters] == [1, 2, 3]
    lines.close()


def test_nobody_begins_while_a_seed_is_missing_or_answers_nonsense(
    tmp_path: pathlib.Path,
) -> None:
    lines = Lines(tmp_path)
    for node_id in (1, 2, 3):
        lines.start(node_id)
    lines.cut = {3}
    asyncio.run(lines.waits(1, 2))
    lines.cut, lines.garbled = set(), {3}
    asyncio.run(lines.waits(1, 2))
    assert lines.nodes[1].state.phase is Phase.EMPTY
    lines.close()


def test_who_was_stopped_half_way_goes_on_where_it_was(tmp_path: pathlib.Path) -> None:
    lines = Lines(tmp_path)
    for node_id in (1, 2, 3):
        lines.start(node_id)

    async def until_prepared() -> None:
        trying = asyncio.ensure_future(lines.form(1, 2))
        while lines.nodes[2].state.phase is not Phase.PREPARED:
            await asyncio.sleep(0)
        trying.cancel()
        await asyncio.wait([trying])

    asyncio.run(until_prepared())
    genesis = lines.nodes[2].genesis
    lines.stop(2)
    lines.start(2, "another process, the same disk")
    assert lines.nodes[2].state.incarnation == "disk-2"
    assert asyncio.run(lines.form(1, 2, 3)) == [genesis] * 3
    lines.close()
