"""Creating and deleting local clusters: idempotent, and nothing is left, whatever was killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate_bed import cluster as clusters
from quorate_bed import images, kube, paths
from quorate_bed.local import state
from quorate_bed.local.provider import LocalCluster
from quorate_bed.polling import eventually

pytestmark = [pytest.mark.kube, pytest.mark.usefixtures("local")]
NAME = "lifecycle"
SIZE = {"requests": {"storage": "20Mi"}}
POD_WITH_VOLUME: list[dict[str, object]] = [
    {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": SIZE},
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sleeper"},
        "spec": {
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            "containers": [
                {
                    "name": "sleeper",
                    "image": "quorate-pause:dev",
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
        },
    },
]
GREETER = """
import socket
server = socket.create_server(("", 7000))
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello")
    connection.close()
"""
GREET = """
import socket, sys, time
for attempt in range(50):
    try:
        print(socket.create_connection((sys.argv[1], 7000), 2).recv(5).decode())
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def local() -> None:
    if clusters.provider_name() != "local":
        pytest.fail("these tests are about the local provider: QUORATE_PROVIDER=local")


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    found = LocalCluster(NAME)
    found.delete()
    yield found
    found.delete()


def leftovers(name: str) -> list[str]:
    """Everything on this machine that belongs to the cluster of that name."""
    directory = str(paths.cluster_directory(name))
    mounts = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if directory in line
    ]
    loops = [
        str(file)
        for file in Path("/sys/block").glob("loop*/loop/backing_file")
        if f"/volumes/{name}/" in file.read_text()
    ]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/quorate-{name}")]
    processes = [
        str(path.parent)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if directory in path.read_text(errors="replace")
    ]
    files = [directory] if Path(directory).exists() else []
    return mounts + loops + groups + processes + files


@pytest.mark.full
def test_a_running_cluster_is_kept_as_it_is_and_a_dead_one_is_made_anew(
    cluster: LocalCluster,
) -> None:
    cluster.create()
    first = state.read(cluster.directory)
    assert first is not None
    cluster.create()
    assert state.read(cluster.directory) == first
    assert "node-1" in cluster.kubectl("get", "nodes", "--output=name")
    os.kill(cluster.part("node-1.kubelet"), signal.SIGKILL)
    eventually(lambda: not cluster.exists(), what="a cluster without kubelet is none")
    cluster.create()
    assert cluster.exists()
    assert not first.alive()


def test_nothing_is_left_of_a_deleted_cluster_and_the_machines_settings_are_untouched(
    cluster: LocalCluster,
) -> None:
    settings = [Path("/proc/sys/vm/overcommit_memory"), Path("/proc/sys/kernel/panic")]
    before = [path.read_text() for path in settings]
    namespaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    cluster.create()
    found = state.read(cluster.directory)
    assert found is not None
    kubectl = kube.Kubectl(cluster, "default")
    kubectl.apply(*POD_WITH_VOLUME)
    kubectl("wait", "pod/sleeper", "--for=condition=Ready", "--timeout=60s")
    assert any("/sys/block/loop" in one for one in leftovers(NAME))
    cluster.delete()
    assert not found.alive()
    assert leftovers(NAME) == []
    assert [path.read_text() for path in settings] == before
    after = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert after == namespaces
    assert not cluster.exists()


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("anchor.log", marks=pytest.mark.full),
        pytest.param("state.json", marks=pytest.mark.full),
        "logs/etcd.log",
        pytest.param("pids/coredns", marks=pytest.mark.full),
    ],
)
def test_nothing_is_left_of_a_creation_that_was_killed_half_way(
    cluster: LocalCluster, moment: str
) -> None:
    creation = subprocess.Popen(
        [sys.executable, "-m", "quorate_bed", "up", "--name", NAME],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        file = cluster.directory / moment
        eventually(file.exists, deadline_s=60, every_s=0.001, what=moment)
    finally:
        os.killpg(creation.pid, signal.SIGKILL)
        creation.wait()
    eventually(lambda: not anchors(cluster.directory), what="the step into the namespaces ended")
    cluster.delete()
    # A step that was forked and not yet begun is seen by nobody; it ends by itself.
    eventually(lambda: leftovers(NAME) == [], deadline_s=20, what="nothing is left")


def anchors(directory: Path) -> list[int]:
    """Processes that are still on their way into the namespaces (the first process is past it)."""
    found = state.read(directory)
    inside = set() if found is None else {found.pid}
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"quorate_bed.local.anchor\0{directory}" in path.read_text(errors="replace")
        and int(path.parent.name) not in inside
        and not in_a_namespace(int(path.parent.name))
    ]


def in_a_namespace(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return any(line.startswith("NSpid:") and len(line.split()) > 2 for line in lines)


def test_a_process_that_only_has_the_number_of_a_cluster_of_old_is_left_alone(
    cluster: LocalCluster,
) -> None:
    cluster.directory.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as innocent:
        ticks = state.started_ticks(innocent.pid)
        assert ticks is not None
        for stale in (
            state.State(innocent.pid, ticks, "another boot", 1, ready=True),
            state.State(innocent.pid, ticks - 1, state.boot_id(), 1, ready=True),
        ):
            cluster.directory.mkdir(parents=True, exist_ok=True)
            state.write(cluster.directory, stale)
            assert not cluster.exists()
            cluster.delete()
            assert innocent.poll() is None
            assert leftovers(NAME) == []
        innocent.kill()


@pytest.mark.full
def test_pods_on_nodes_of_three_zones_reach_each_other(cluster: LocalCluster) -> None:
    cluster.create(nodes=3)
    images.build_and_load(cluster, ("client",))
    with kube.namespace(cluster, "spread") as name:
        pods = [on_node(kube.Kubectl(cluster, name), number) for number in (1, 2, 3)]
        zones = {zone(pod) for pod in pods}
        assert len(zones) == 3
        for pod in pods:
            for other in pods:
                found = other.kubectl.get("pod", other.name)
                assert found is not None
                said = pod.run("python3", "-c", GREET, found["status"]["podIP"], stdin="")
                assert said == "hello\n"


def on_node(kubectl: kube.Kubectl, number: int) -> kube.ClientPod:
    """A client pod on that node, which greets whoever connects to port 7000."""
    pod = kube.ClientPod(kubectl, f"client-{number}")
    pod.start(node=f"node-{number}")
    kubectl("exec", pod.name, "--", "sh", "-c", f"nohup python3 -c '{GREETER}' >/dev/null 2>&1 &")
    return pod


def zone(pod: kube.ClientPod) -> str:
    found = pod.kubectl.get("pod", pod.name)
    assert found is not None
    node = pod.kubectl.json("get", "node", found["spec"]["nodeName"])
    return str(node["metadata"]["labels"]["topology.kubernetes.io/zone"])
