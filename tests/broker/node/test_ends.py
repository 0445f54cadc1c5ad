"""How a node ends when it cannot begin, or is stopped on the way: a sentence and an exit code."""

from __future__ import annotations

import asyncio
import errno
import pathlib
import random
import socket
from collections.abc import Callable

import pytest

from quorate_broker import config, node, seams
from quorate_broker.log.disk import OsDisk
from quorate_broker.node.shelf import METADATA_GROUP

FOREVER_S = 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(folder: pathlib.Path, *overrides: str, seeds: int = 1) -> config.Settings:
    rpc = free_port()
    others = [f"{i}@127.0.0.1:{free_port()}" for i in range(2, seeds + 1)]
    listener = (
        f'listeners=[{{name="plain", host="127.0.0.1", port={free_port()}, authentication="none"}}]'
    )
    return config.load(
        None,
        {},
        [
            "node.id=1",
            f"data.dir={folder}",
            "seeds=" + ",".join([f"1@127.0.0.1:{rpc}", *others]),
            listener,
            "rpc.host=127.0.0.1",
            f"rpc.port={rpc}",
            "admin.host=127.0.0.1",
            f"admin.port={free_port()}",
            "proxy.host=127.0.0.1",
            f"proxy.port={free_port()}",
            *overrides,
        ],
    )


def ended(
    chosen: config.Settings,
    stop_when: Callable[[], bool] | None = None,
    disk: OsDisk | None = None,
) -> int:
    """The exit code of a node that is stopped as soon as `stop_when` says so."""

    async def main() -> int:
        stop = asyncio.Event()
        async with asyncio.timeout(FOREVER_S):
            running = asyncio.ensure_future(
                node.run(config.Live(chosen), seams.SystemClock(), random.Random(), stop, disk)
            )
            while stop_when is not None and not stop_when() and not running.done():
                await asyncio.sleep(0.005)
            if stop_when is not None:
                stop.set()
            return await running

    return asyncio.run(main())


def test_a_data_directory_that_is_none_is_a_sentence(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_text("a file")
    assert ended(settings(tmp_path / "data")) == 1
    assert str(tmp_path / "data") in caplog.text
    assert "Traceback" not in caplog.text


def test_a_rotten_journal_is_a_sentence(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "raft").mkdir()
    assert ended(settings(tmp_path), lambda: (tmp_path / "node.json").exists()) == 0
    (tmp_path / "raft" / "state.log").write_bytes(b"rot" * 1000)
    assert ended(settings(tmp_path)) == 1
    assert "journal" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("port", ["rpc.port", "admin.port", "proxy.port"])
def test_a_port_that_is_taken_is_a_sentence(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, port: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        assert ended(settings(tmp_path, f"{port}={number}")) == 1
    assert "address already in use" in caplog.text.lower()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("seen", ["LOCK", "node.json", "raft/state.log"])
def test_a_node_that_is_stopped_while_it_forms_ends_well(tmp_path: pathlib.Path, seen: str) -> None:
    assert ended(settings(tmp_path, seeds=3), lambda: (tmp_path / seen).exists()) == 0


def test_a_node_that_is_stopped_before_anything_else_ends_well(tmp_path: pathlib.Path) -> None:
    assert ended(settings(tmp_path), lambda: True) == 0


def test_a_node_that_serves_stops_and_starts_again(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(tmp_path)
    caplog.set_level("INFO")
    for _ in range(2):
        caplog.clear()
        assert ended(chosen, lambda: "serves" in caplog.text) == 0


class Failing(OsDisk):
    """Cannot sync an open file under one folder."""

    folder = ""

    def __init__(self) -> None:
        super().__init__()
        self._bad: set[int] = set()

    def open(self, path: str, create: bool = False) -> int:
        handle = super().open(path, create)
        if self.folder in path and not path.endswith(".tmp"):
            self._bad.add(handle)
        return handle

    def sync(self, handle: int) -> None:
        if handle in self._bad:
            raise OSError(errno.EIO, "bad sector")
        super().sync(handle)

    def close(self, handle: int) -> None:
        self._bad.discard(handle)
        super().close(handle)


@pytest.mark.parametrize(
    ("folder", "what"),
    [
        ("raft/state.log", "the journal of terms and votes failed"),
        (f"groups/{METADATA_GROUP}", "the log of the cluster's metadata failed"),
    ],
)
def test_a_node_without_its_journal_or_metadata_ends_with_a_sentence(
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    what: str,
) -> None:
    monkeypatch.setattr(Failing, "folder", folder)
    assert ended(settings(tmp_path), disk=Failing()) == 1
    assert what in caplog.text
    assert "bad sector" in caplog.text
    assert "Traceback" not in caplog.text
