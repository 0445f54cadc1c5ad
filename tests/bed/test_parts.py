"""The test bed's parts that need no cluster: images as files, sizes, hashes, waiting, refusals."""

import hashlib
import json
import os
import signal
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate_bed import cluster, oci, paths, suite
from quorate_bed.local import holds, processes, state, volumes
from quorate_bed.polling import NotYet, eventually
from quorate_bed.progress import BedError
from quorate_bed.shell import CommandError, run

REFERENCE = "docker.io/library/quorate-broker:dev"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_layout(directory: Path, layers: list[bytes]) -> oci.Layout:
    """An image layout as buildah writes it, with one named image and one blob too many."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data: bytes) -> dict[str, object]:
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"digest": digest(data), "size": len(data), "mediaType": oci.MANIFEST}

    manifest = {"config": put(b"{}"), "layers": [put(layer) for layer in layers]}
    entry = {**put(json.dumps(manifest).encode()), "annotations": {oci.REFERENCE: REFERENCE}}
    unnamed = put(json.dumps({"config": put(b"old"), "layers": []}).encode())
    (directory / "index.json").write_text(json.dumps({"manifests": [unnamed, entry]}))
    return oci.Layout(directory)


def test_a_node_that_has_the_base_is_sent_only_the_layer_that_changed(tmp_path: Path) -> None:
    image = make_layout(tmp_path, [b"base", b"ours"]).find(REFERENCE)
    there = {digest(b"base"), digest(b"{}")}
    with oci.thin_archive(image, there) as file, tarfile.open(fileobj=file) as tar:
        names = tar.getnames()
    blobs = {name for name in names if name.startswith("blobs/")}
    wanted = {image.manifest_digest, digest(b"ours")}
    assert blobs == {f"blobs/{one.replace(':', '/')}" for one in wanted}
    assert {"index.json", "oci-layout"} <= set(names)


def test_pruning_a_layout_keeps_what_a_name_leads_to_and_nothing_else(tmp_path: Path) -> None:
    layout = make_layout(tmp_path, [b"base"])
    layout.prune()
    image = layout.find(REFERENCE)
    kept = {f"sha256:{path.name}" for path in (tmp_path / "blobs" / "sha256").iterdir()}
    assert kept == set(image.blobs)
    with pytest.raises(BedError, match="no image elsewhere"):
        layout.find("elsewhere")


@given(st.integers(1, 10**6), st.sampled_from(sorted(volumes.UNITS)))
def test_a_quantity_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert volumes.size_bytes(f"{number}{unit}") == number * volumes.UNITS[unit]


def test_a_fraction_is_a_quantity_and_a_word_is_none() -> None:
    assert volumes.size_bytes("1.5Gi") == 3 << 29
    with pytest.raises(ValueError, match="no size"):
        volumes.size_bytes("much")


def claim(**changes: object) -> dict[str, object]:
    return {
        "metadata": {"annotations": {volumes.SELECTED_NODE: "node-1"}},
        "spec": {
            "storageClassName": volumes.CLASS,
            "resources": {"requests": {"storage": "2Gi"}},
        },
        "status": {"phase": "Pending"},
        **changes,
    }


LEAVING = {"annotations": {volumes.SELECTED_NODE: "node-1"}, "deletionTimestamp": "now"}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"metadata": {}}, False),
        (
            {"metadata": {"annotations": {volumes.SELECTED_NODE: "n"}, "deletionTimestamp": "t"}},
            False,
        ),
        ({"spec": {"storageClassName": "another"}}, False),
        ({"spec": {"storageClassName": volumes.CLASS, "volumeName": "there"}}, False),
    ],
)
def test_a_volume_is_made_for_a_claim_of_our_class_whose_node_is_chosen(
    changes: dict[str, object], wanted: bool
) -> None:
    assert volumes.wanted(claim(**changes)) is wanted


def test_only_a_bound_claim_that_asks_for_more_grows() -> None:
    volume = {"spec": {"capacity": {"storage": "1Gi"}}}
    assert not volumes.grows(claim(), volume)
    assert volumes.grows(claim(status={"phase": "Bound"}), volume)
    assert not volumes.grows(
        claim(status={"phase": "Bound"}), {"spec": {"capacity": {"storage": "2Gi"}}}
    )


def test_a_hash_sees_names_contents_and_who_may_execute(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    seen = {paths.hash_files([file], tmp_path)}
    file.chmod(0o755)
    seen.add(paths.hash_files([file], tmp_path))
    file.write_text("two")
    seen.add(paths.hash_files([file], tmp_path))
    seen.add(paths.hash_files([file.rename(tmp_path / "b")], tmp_path))
    seen.add(paths.hash_files([tmp_path / "b"], tmp_path, "more"))
    assert len(seen) == 5


def test_the_state_of_this_process_is_alive_and_a_cut_file_is_no_state(tmp_path: Path) -> None:
    ticks = state.started_ticks(os.getpid())
    assert ticks is not None
    mine = state.State(os.getpid(), ticks, state.boot_id(), 1234)
    state.write(tmp_path, mine)
    assert state.read(tmp_path) == mine
    assert mine.alive()
    assert not state.State(mine.pid, ticks + 1, mine.boot, 1).alive()
    (tmp_path / state.FILE).write_text('{"pid": 1')
    assert state.read(tmp_path) is None
    assert state.read(tmp_path / "nowhere") is None


def test_a_hold_refuses_only_containers_of_its_pod_and_only_their_creation(tmp_path: Path) -> None:
    template = paths.PACKAGE / "local" / "runc-unless-held.sh"
    wrapper = tmp_path / "runc-unless-held"
    text = template.read_text().replace("@RUNC@", "/bin/echo")
    wrapper.write_text(text.replace("@HOLDS@", str(tmp_path / holds.DIRECTORY)))
    wrapper.chmod(0o755)

    def create(pod: str, kind: str = "container", verb: str = "create") -> int:
        annotations = {
            "io.kubernetes.cri.container-type": kind,
            "io.kubernetes.cri.sandbox-namespace": "default",
            "io.kubernetes.cri.sandbox-name": pod,
        }
        config = json.dumps({"annotations": annotations}, separators=(",", ":"))
        (tmp_path / "config.json").write_text(config)
        command = [str(wrapper), "--root", "/r", verb, "--bundle", str(tmp_path), "id"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert create("broker-0") == 0
    with holds.hold(tmp_path, "default", "broker-0"):
        assert create("broker-0") == 1
        assert create("broker-0", kind="sandbox") == 0
        assert create("broker-0", verb="delete") == 0
        assert create("broker-01") == 0
    assert create("broker-0") == 0


def test_what_a_node_runs_is_found_by_its_socket_with_all_that_it_has_started() -> None:
    socket = f"/run/of-this-test.{os.getpid()}"
    script = "sleep 600 & echo $!; wait"
    shell = ["sh", "-c", script, socket]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        child = int(started.stdout.readline())
        assert processes.with_word(f"{socket}.another") == set()
        found = processes.with_word(socket)
        assert found == {started.pid, child}
        processes.end_all(found)
        assert processes.with_word(socket) == set()
    assert started.returncode == -signal.SIGKILL
    processes.end_all(found)


def test_waiting_gives_what_was_found_and_says_at_its_end_what_was_seen() -> None:
    answers = iter([None, 0, "there"])
    assert eventually(lambda: next(answers), every_s=0) == "there"

    def never() -> bool:
        raise AssertionError("no leader")

    with pytest.raises(NotYet, match="no leader"):
        eventually(never, deadline_s=0)
    with pytest.raises(KeyError):
        eventually(lambda: {}["a fault is no delay"])


def test_a_command_that_fails_says_which_and_what_it_printed() -> None:
    with pytest.raises(CommandError, match=r"exited with 3[\s\S]*it was this") as caught:
        run(["sh", "-c", "echo it was this >&2; exit 3"])
    assert caught.value.code == 3


def test_without_root_and_without_docker_a_sentence_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("QUORATE_PROVIDER", raising=False)
    monkeypatch.setattr(cluster, "docker_answers", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BedError, match=r"Docker engine .* or root"):
        cluster.provider_name()
    monkeypatch.setenv("QUORATE_PROVIDER", "cloud")
    with pytest.raises(BedError, match="kind or local"):
        cluster.provider_name()


def test_a_part_of_the_tests_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(BedError, match=r"no part nonsense .* there are chaos, unit"):
        suite.run(["nonsense"], full=False)


def test_what_watches_a_clock_runs_in_order_and_two_others_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beside = threading.Barrier(3, timeout=10)
    told: list[str] = []

    def run_part(part: suite.Part, sessions: set[int] | None = None) -> suite.Result:
        assert sessions == set()
        if part.name in ("chaos", "simulation", "kubernetes"):
            beside.wait()
        told.append(part.name)
        return suite.Result(part, (), (), 0)

    monkeypatch.setattr(suite, "_run_part", run_part)
    results = suite._run_all(suite.PARTS)
    assert [result.part for result in results] == list(suite.PARTS)
    clock = [name for name in told if name in ("kubernetes", "processes", "long")]
    assert clock == ["kubernetes", "processes", "long"]


def test_a_part_beside_others_has_little_weight_and_a_session_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripts = Path("/bin")
    shown = "ps -o ni=,sess= -p $$; cat /proc/self/autogroup || true"
    light: set[int] = set()
    light_now = f'[ "$(ps -o ni= -p $$)" -ge {suite.LITTLE_WEIGHT} ]'
    wait = f"for i in $(seq 100); do {light_now} && break; sleep 0.1; done"
    code, _, _ = suite._stream(scripts, ("sh", "-c", f"{wait}; {shown}"), "part ", light)
    assert code == 0
    said = capsys.readouterr().out
    niceness, session = said.splitlines()[1].removeprefix("part ").split()
    assert int(niceness) >= suite.LITTLE_WEIGHT
    assert int(session) != os.getsid(0)
    assert light == set(), "it has ended"


def test_what_watches_a_clock_keeps_its_weight_also_beside_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "_environment", lambda part: (Path("/bin"), ""))
    shown = ("sh", "-c", "sleep 0.2; ps -o ni= -p $$")
    part = suite.Part("a", "", (shown,), suite.Track.FIRST, watches_clock=True)
    suite._run_part(part, set())
    assert capsys.readouterr().out.splitlines()[-1].split() == ["a", str(os.nice(0))]


def test_a_part_is_set_up_before_it_runs_and_one_that_cannot_be_has_failed() -> None:
    told: list[str] = []

    def missing() -> None:
        raise BedError("no Java here")

    ready = suite.Part("a", "", (("true",),), needs=(lambda: told.append("set up"),))
    assert suite._environment(ready) == (suite.SCRIPTS, "")
    assert told == ["set up"]
    result = suite._run_part(suite.Part("b", "", (("true",),), needs=(missing,)))
    assert result.failed == ("set-up",)
    assert "no Java here" in result.note
