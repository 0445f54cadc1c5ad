"""`quorate-broker inspect`: what it finds, what it calls damage, and that it touches nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import uuid
from typing import Any

import pytest

from quorate_broker.__main__ import main
from quorate_broker.log.datadir import DataDir
from quorate_broker.log.disk import OsDisk
from quorate_broker.log.journal import StateJournal, Vote
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.raft import membership
from quorate_broker.raft.messages import Peer
from quorate_broker.wire import batch

TOPIC = uuid.UUID(int=7)
SETTINGS = LogSettings(segment_bytes=700, index_interval_bytes=200, preallocate_bytes=4096)
MEMBERS = membership.of([Peer(1, "one"), Peer(2, "two")], learners=[Peer(3, "three")])


class Bench:
    """A data directory with one group of several segments."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.disk = OsDisk()
        self.datadir = DataDir.open(self.disk, str(root), 1, "one")
        journal = StateJournal.open(self.disk, self.datadir.journal_path)
        journal.put(f"{TOPIC}-0", 3, Vote(2, "two"))
        journal.close()
        self.group = pathlib.Path(self.datadir.group_path(TOPIC, 0))
        self.log = Log.open(self.disk, str(self.group), SETTINGS, 0, founding=MEMBERS.encode())
        self.log.append_internal(batch.InternalKind.TERM_START, 2, b"", 1_000)
        for number in range(20):
            self.append(number)
        self.log.checkpoint(self.log.last_index, b"producers")
        self.sync()

    def append(self, number: int) -> None:
        records = [batch.Record(b"key", b"v" * 60)] * 2
        data = batch.build(
            records,
            timestamp_ms=1_700_000_000_000 + number,
            producer_id=9,
            producer_epoch=0,
            base_sequence=2 * number,
        )
        batch.stamp(data, self.log.next_offset, 2 + number // 10)
        self.log.append(data)

    def sync(self) -> None:
        while (job := self.log.take_job()) is not None:
            job.run()
            self.log.job_done(job)

    def close(self) -> None:
        self.log.close()
        self.datadir.close()

    @property
    def segments(self) -> list[pathlib.Path]:
        return sorted(self.group.glob("*.log"))


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Bench:
    return Bench(tmp_path / "data")


@pytest.fixture
def closed(bench: Bench) -> Bench:
    bench.close()
    return bench


def run(*arguments: str) -> tuple[int, str, str]:
    out, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        pytest.raises(SystemExit) as done,
    ):
        main(["inspect", *arguments])
    assert isinstance(done.value.code, int)
    return done.value.code, out.getvalue(), errors.getvalue()


def facts(path: pathlib.Path, *options: str, code: int = 0) -> Any:
    found, text, _ = run(str(path), "--json", *options)
    assert found == code, text
    return json.loads(text)


def flip(path: pathlib.Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x21
    path.write_bytes(data)


def test_a_sound_directory_is_told_as_json(closed: Bench) -> None:
    report = facts(closed.root)
    assert report["kind"] == "data directory"
    assert report["held_by"] is None
    assert (report["node"]["node_id"], report["node"]["incarnation"]) == (1, "one")
    state = report["journal"][f"{TOPIC}-0"]
    assert state == {"term": 3, "vote": {"node_id": 2, "incarnation": "two"}}
    (group,) = report["groups"]
    assert (group["name"], group["term"], group["vote"]) == (f"{TOPIC}-0", 3, "node 2")
    assert group["membership"] == {"index": -1, "voters": [1, 2], "outgoing": [], "learners": [3]}
    known = group["checkpoint"]
    assert (known["next_offset"], known["last_index"], known["internal_entries"]) == (40, 40, 1)
    assert [range_["term"] for range_ in known["terms"]] == [2, 3]
    assert sum(segment["records"] for segment in group["segments"]) == 40
    assert [segment["producers"] for segment in group["segments"]] == [[9]] * len(closed.segments)
    assert all(not segment["damage"] + segment["notes"] for segment in group["segments"])
    assert report["all_damage"] == []


def test_batches_are_listed_when_asked_for(closed: Bench) -> None:
    (group,) = facts(closed.root, "--batches")["groups"]
    listed = [batch for segment in group["segments"] for batch in segment["listed"]]
    assert len(listed) == 21
    assert (listed[0]["kind"], listed[0]["index"], listed[0]["count"]) == ("term start", 0, 0)
    last = listed[-1]
    assert (last["base_offset"], last["last_offset"], last["index"]) == (38, 39, 39)
    assert (last["producer_id"], last["base_sequence"], last["term"]) == (9, 38, 3)
    assert last["crc_holds"]


def test_people_read_who_what_and_whether_it_is_sound(closed: Bench) -> None:
    code, text, _ = run(str(closed.root), "--batches")
    assert code == 0
    for piece in ("node 1, incarnation one", "voted for node 2", "voters [1, 2]", "learners [3]"):
        assert piece in text
    assert "00000000000000000000.log" in text
    assert "term start" in text
    assert text.rstrip().endswith("no damage found")


def test_quick_opens_no_segment(closed: Bench) -> None:
    flip(closed.segments[0], 100)
    (group,) = facts(closed.root, "--quick")["groups"]
    assert group["segments"] == []
    assert group["checkpoint"]["next_offset"] == 40


def test_it_works_beside_a_running_node_and_changes_nothing(bench: Bench) -> None:
    bench.append(20)
    bench.sync()
    before = snapshot(bench.root)
    report = facts(bench.root)
    assert report["held_by"] == os.getpid()
    assert snapshot(bench.root) == before
    assert bench.disk.lock(str(bench.root / "LOCK")) is None  # still held
    segments = report["groups"][0]["segments"]
    assert sum(segment["records"] for segment in segments) == 42
    _, text, _ = run(str(bench.root))
    assert f"in use by process {os.getpid()}" in text
    assert facts(bench.group)["held_by"] == os.getpid()
    bench.close()


def snapshot(root: pathlib.Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_group_and_a_lone_segment_can_be_inspected(closed: Bench) -> None:
    report = facts(closed.group)
    assert report["kind"] == "group"
    assert report["groups"][0]["term"] is None
    lone = facts(closed.segments[1], "--batches")["segment"]
    assert lone["base_offset"] == lone["listed"][0]["base_offset"] > 0
    assert lone["listed"][0]["index"] is None
    assert lone["damage"] == []


@pytest.mark.parametrize("at", [3, 14, 20, 30, 70, 150])
def test_rot_in_a_segment_is_named_and_the_exit_code_says_so(closed: Bench, at: int) -> None:
    flip(closed.segments[1], at)
    report = facts(closed.root, code=1)
    (damage,) = report["all_damage"]
    assert damage.startswith(f"{TOPIC}-0/{closed.segments[1].name}: ")
    code, text, _ = run(str(closed.root))
    assert code == 1
    assert "1 damaged" in text
    assert closed.segments[1].name in text.split("damage ")[-1]


def test_a_torn_tail_is_a_note_and_no_damage(closed: Bench) -> None:
    last = closed.segments[-1]
    with last.open("ab") as file:
        file.write(bytes(2) + b"half a batch")
    (note,) = facts(closed.root)["groups"][0]["segments"][-1]["notes"]
    assert "torn" in note
    assert "14 bytes" in note


def test_a_valid_batch_behind_bad_bytes_is_damage(closed: Bench) -> None:
    last = closed.segments[-1]
    data = batch.build([batch.Record(None, b"x")], timestamp_ms=1, base_offset=41, leader_epoch=3)
    with last.open("ab") as file:
        file.write(b"\1" * 100 + data)
    (damage,) = facts(closed.root, code=1)["all_damage"]
    assert "a valid batch behind them" in damage


def test_a_missing_segment_or_one_that_was_cut_short_is_damage(closed: Bench) -> None:
    os.truncate(closed.segments[0], 300)
    assert "that were synced" in facts(closed.root, code=1)["all_damage"][0]
    closed.segments[0].unlink()
    assert "is gone, but was synced" in facts(closed.root, code=1)["all_damage"][0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("node.json", "node.json"),
        ("raft/state.log", "journal"),
        (f"groups/{TOPIC}-0/checkpoint", "checkpoint"),
    ],
)
def test_every_other_file_that_rots_is_named(closed: Bench, name: str, words: str) -> None:
    path = closed.root / name
    size = path.stat().st_size
    path.write_bytes(b"\xff" * min(size, 400) + path.read_bytes()[400:400])
    report = facts(closed.root, code=1)
    assert any(words in damage for damage in report["all_damage"]), report["all_damage"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("node.json", "node.json is gone"),
        ("raft/state.log", "the votes of 1 groups are lost"),
        (f"groups/{TOPIC}-0/checkpoint", "segments but no checkpoint"),
    ],
)
def test_every_other_file_that_is_gone_is_named(closed: Bench, name: str, words: str) -> None:
    (closed.root / name).unlink()
    report = facts(closed.root, code=1)
    assert any(words in damage for damage in report["all_damage"]), report["all_damage"]


def test_a_damaged_index_is_a_note(closed: Bench) -> None:
    flip(sorted(closed.group.glob("*.qindex"))[0], 5)
    notes = facts(closed.root)["groups"][0]["segments"][0]["notes"]
    assert notes == ["its index is damaged or gone, and is built again when it is needed"]


def test_what_is_no_data_directory_is_refused_with_a_sentence(tmp_path: pathlib.Path) -> None:
    stray = tmp_path / "notes.txt"
    stray.write_text("x")
    for path, words in (
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path, "is no data directory"),
        (stray, "is no segment"),
    ):
        code, _, complaint = run(str(path))
        assert code == 2
        assert words in complaint
