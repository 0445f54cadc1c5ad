"""The data directory: one owner, one identity, and a sentence for every refusal."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from quorate_broker.log.datadir import DataDir
from quorate_broker.log.disk import OsDisk
from quorate_broker.log.errors import DataDirError
from quorate_broker.log.journal import StateJournal
from quorate_broker.testing.simdisk import SimDisk

TOPIC = uuid.UUID("7a1f0a0e-0000-4000-8000-00000000beef")


def rewrite(path: Path, **fields: object) -> None:
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, **fields}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_an_empty_directory_gets_the_new_incarnation(folder: Path) -> None:
    data = DataDir.open(OsDisk(), str(folder), 1, "first")
    assert (data.node.node_id, data.node.incarnation, data.node.cluster_id) == (1, "first", "")
    data.close()


def test_a_known_directory_keeps_its_incarnation(folder: Path) -> None:
    DataDir.open(OsDisk(), str(folder), 1, "first").close()
    data = DataDir.open(OsDisk(), str(folder), 1, "second")
    assert data.node.incarnation == "first"
    data.close()


def test_what_was_saved_comes_back(folder: Path) -> None:
    data = DataDir.open(OsDisk(), str(folder), 1, "i")
    data.save(replace(data.node, cluster_id="c", phase="formed", genesis={"voters": [[1, "i"]]}))
    data.close()
    again = DataDir.open(OsDisk(), str(folder), 1, "")
    assert again.node == data.node
    again.close()


def test_the_identity_never_changes(folder: Path) -> None:
    data = DataDir.open(OsDisk(), str(folder), 1, "i")
    with pytest.raises(AssertionError):
        data.save(replace(data.node, incarnation="j"))
    data.close()


def test_a_second_process_is_refused(folder: Path) -> None:
    data = DataDir.open(OsDisk(), str(folder), 1, "i")
    program = (
        "import sys\n"
        "from quorate_broker.log.datadir import DataDir\n"
        "from quorate_broker.log.disk import OsDisk\n"
        "from quorate_broker.log.errors import DataDirError\n"
        "try:\n"
        "    DataDir.open(OsDisk(), sys.argv[1], 1, 'j').close()\n"
        "except DataDirError as error:\n"
        "    sys.exit(str(error))\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "in use by another process" in refused.stderr
    data.close()
    assert subprocess.run(command, check=False).returncode == 0


def test_another_nodes_directory_is_refused(folder: Path) -> None:
    DataDir.open(OsDisk(), str(folder), 1, "i").close()
    with pytest.raises(DataDirError, match="belongs to node 1, but this is node 2"):
        DataDir.open(OsDisk(), str(folder), 2, "j")
    DataDir.open(OsDisk(), str(folder), 1, "i").close()  # the refusal gave LOCK back


def test_another_format_is_refused(folder: Path) -> None:
    DataDir.open(OsDisk(), str(folder), 1, "i").close()
    rewrite(folder / "node.json", format=99)
    with pytest.raises(DataDirError, match="is of format 99"):
        DataDir.open(OsDisk(), str(folder), 1, "i")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"format": 1}', "\x00" * 40])
def test_an_unreadable_node_file_is_refused(folder: Path, content: str) -> None:
    DataDir.open(OsDisk(), str(folder), 1, "i").close()
    (folder / "node.json").write_text(content)
    with pytest.raises(DataDirError, match=r"node\.json"):
        DataDir.open(OsDisk(), str(folder), 1, "i")


def test_a_changed_node_file_is_refused(folder: Path) -> None:
    DataDir.open(OsDisk(), str(folder), 1, "i").close()
    rewrite(folder / "node.json", incarnation="j")
    with pytest.raises(DataDirError, match="changed or damaged"):
        DataDir.open(OsDisk(), str(folder), 1, "i")


def test_data_without_a_node_file_is_refused(folder: Path) -> None:
    data = DataDir.open(OsDisk(), str(folder), 1, "i")
    OsDisk().mkdirs(data.group_path(TOPIC, 0))
    data.close()
    (folder / "node.json").unlink()
    with pytest.raises(DataDirError, match=r"holds data but no node\.json"):
        DataDir.open(OsDisk(), str(folder), 1, "i")


def test_groups_without_their_votes_are_refused(folder: Path) -> None:
    data = DataDir.open(OsDisk(), str(folder), 1, "i")
    StateJournal.open(OsDisk(), data.journal_path).close()
    OsDisk().mkdirs(data.group_path(TOPIC, 0))
    data.close()
    DataDir.open(OsDisk(), str(folder), 1, "i").close()
    Path(data.journal_path).unlink()
    with pytest.raises(DataDirError, match="votes are lost"):
        DataDir.open(OsDisk(), str(folder), 1, "i")


def test_groups_are_listed_removed_and_retired(folder: Path) -> None:
    disk = OsDisk()
    data = DataDir.open(disk, str(folder), 1, "i")
    for partition in range(3):
        disk.mkdirs(data.group_path(TOPIC, partition))
    assert data.groups() == [(TOPIC, 0), (TOPIC, 1), (TOPIC, 2)]
    data.remove_group(TOPIC, 0)
    data.remove_group(TOPIC, 0)
    first = data.retire_group(TOPIC, 1, "corrupt")
    disk.mkdirs(data.group_path(TOPIC, 1))
    second = data.retire_group(TOPIC, 1, "corrupt")
    assert data.groups() == [(TOPIC, 2)]
    assert first != second
    assert Path(first).is_dir()
    assert Path(second).is_dir()
    data.close()


def test_a_directory_that_is_set_aside_is_kept_and_leaves_an_empty_one(folder: Path) -> None:
    data = DataDir.open(OsDisk(), str(folder), 1, "first")
    StateJournal.open(OsDisk(), data.journal_path).close()
    OsDisk().mkdirs(data.group_path(TOPIC, 0))
    target = Path(data.set_aside())
    assert sorted(one.name for one in target.iterdir()) == ["groups", "node.json", "raft"]
    assert (target / "groups" / f"{TOPIC}-0").is_dir()
    data.close()
    again = DataDir.open(OsDisk(), str(folder), 1, "second")
    assert again.node.incarnation == "second"
    assert again.groups() == []
    again.close()


def test_a_directory_that_was_half_set_aside_still_says_whose_it_was(folder: Path) -> None:
    data = DataDir.open(OsDisk(), str(folder), 1, "first")
    StateJournal.open(OsDisk(), data.journal_path).close()
    OsDisk().mkdirs(data.group_path(TOPIC, 0))
    data.close()
    for name in ("groups", "raft"):  # in the order in which they go
        (folder / name).rename(folder / f"{name}-gone")
        data = DataDir.open(OsDisk(), str(folder), 1, "second")
        assert data.node.incarnation == "first"
        data.close()


def test_a_foreign_folder_among_the_groups_is_named(folder: Path) -> None:
    data = DataDir.open(OsDisk(), str(folder), 1, "i")
    (folder / "groups" / "stranger").mkdir()
    with pytest.raises(DataDirError, match="stranger"):
        data.groups()
    data.close()


def test_a_power_cut_leaves_an_old_or_a_new_node_file() -> None:
    seen = set()
    for seed in range(60):
        disk = SimDisk(random.Random(seed))
        data = DataDir.open(disk, "/data", 1, "i")
        disk.cut_power_after = seed % 8
        try:
            data.save(replace(data.node, cluster_id="c"))
            disk.cut_power_after = None
        except Exception:  # noqa: BLE001 - whatever a machine says when its power goes
            disk.crash()
            seen.add(DataDir.open(disk, "/data", 1, "i").node.cluster_id)
    assert seen == {"", "c"}
