"""The local cluster from outside: create, delete, load images, kill pods.

Nothing here needs to know how far a creation came: `delete` ends the cluster's first process, which
ends all others and undoes mounts and networks, then removes the control groups and the directory.
Next: `anchor.py`, the step inside.
"""

import contextlib
import fcntl
import functools
import json
import os
import select
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from quorate_bed import access, binaries, containers, debian, oci, paths
from quorate_bed.local import holds, layout, pki, state
from quorate_bed.progress import BedError, console, step
from quorate_bed.shell import run

CREATE_DEADLINE_S = 300
KILL_DEADLINE_S = 10
LOADS_AT_ONCE = 2
CGROUPS = Path("/sys/fs/cgroup")


class LocalCluster(access.Access):
    """See `quorate_bed.cluster.Cluster`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = paths.cluster_directory(name)

    @property
    def kubeconfig_path(self) -> Path:
        return self.directory / "kubeconfig"

    def exists(self) -> bool:
        found = state.read(self.directory)
        whole = not (self.directory / layout.DEAD).exists()
        return (
            found is not None
            and whole
            and found.alive()
            and found.ready
            and self._answers(found.port)
        )

    def create(self, *, nodes: int = 1) -> None:
        with self._alone():
            if self.exists():
                return
            self._remove()
            debian.install(debian.CLUSTER)
            tools = binaries.kubernetes()
            self._start(nodes, tools)

    def delete(self) -> None:
        with self._alone():
            self._remove()

    def load_image(self, archive: Path, reference: str) -> bool:
        image = oci.Layout(archive).find(reference)
        with ThreadPoolExecutor(max_workers=LOADS_AT_ONCE) as pool:
            loaded = list(pool.map(functools.partial(self._load, image, reference), self._nodes()))
        return any(loaded)

    def _load(self, image: oci.Image, reference: str, node: layout.Node) -> bool:
        if self._image_id(node, reference) == image.manifest_digest:
            return False
        present = set(self._ctr(node, "content", "ls", "-q").split())
        with oci.thin_archive(image, present) as stream:
            self._ctr(node, "images", "import", "--no-unpack", "--digests=false", "-", stdin=stream)
        return True

    def tag_image(self, reference: str, another: str) -> None:
        for node in self._nodes():
            self._ctr(node, "images", "tag", "--force", reference, another)

    @contextlib.contextmanager
    def power_cut(self, node: str) -> Iterator[None]:
        """See `faults.py`. What it does not do: lose what was written and not synced."""
        self._fault("cut", node)
        try:
            yield
        finally:
            self._fault("restore", node)
            self.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=60s")

    @contextlib.contextmanager
    def api_stopped(self) -> Iterator[None]:
        self._fault("stop-api")
        try:
            yield
        finally:
            self._fault("start-api")

    def _fault(self, *words: str) -> None:
        self.run_inside(sys.executable, "-m", "quorate_bed.local.faults", *words)

    def kill(
        self,
        pod: str,
        signal: signal.Signals = signal.SIGKILL,
        *,
        hold: bool = False,
        namespace: str = "default",
    ) -> holds.FileHold:
        held = holds.hold(self.directory, namespace, pod) if hold else holds.FileHold(None)
        found = self._kill_once(namespace, pod, signal)
        until = time.monotonic() + KILL_DEADLINE_S
        while hold and self._kill_once(namespace, pod, signal) and time.monotonic() < until:
            pass  # one that was just being started when the hold was put down
        if not found and not hold:
            raise BedError(f"no container of the pod {namespace}/{pod} runs")
        return held

    def _kill_once(self, namespace: str, pod: str, which: signal.Signals) -> bool:
        nodes = [functools.partial(self._ctr, node) for node in self._nodes()]
        found = [containers.kill(ctr, namespace, pod, which) for ctr in nodes]
        return any(found)

    def part(self, name: str) -> int:
        """The process id, as seen from outside, of a part such as "etcd" or "node-1.kubelet"."""
        inner = int((self.directory / "pids" / name).read_text())
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                ids = next(
                    line.split()[1:]
                    for line in status.read_text().splitlines()
                    if line.startswith("NSpid:")
                )
                if len(ids) > 1 and int(ids[-1]) == inner and self._inside(int(ids[0])):
                    return int(ids[0])
        raise BedError(f"{name} does not run")

    def run_inside(
        self, *command: str | Path, node: int | None = None, stdin: IO[bytes] | str | None = None
    ) -> str:
        """Run a command in the cluster's namespaces (in a node's network, when given)."""
        found = state.read(self.directory)
        if found is None or not found.alive():
            raise BedError(f"the cluster {self.name!r} does not run; make cluster brings it up")
        words = ["nsenter", f"--target={found.pid}", "--mount", "--pid", "--net", "--ipc", "--uts"]
        if node is not None:
            words += ["nsenter", f"--net={layout.Node(node).network_namespace}"]
        return run([*words, *command], stdin=stdin)

    # -- creation -------------------------------------------------------------------------------

    def _start(self, nodes: int, tools: Path) -> None:
        self.directory.mkdir(parents=True)
        self._make_cgroups()
        settings = {"name": self.name, "nodes": nodes, "binaries": str(tools)}
        settings |= {"port": 0, "cgroup": f"/{self._cgroup_name}"}
        (self.directory / "settings.json").write_text(json.dumps(settings))
        with (self.directory / "anchor.log").open("wb") as log:
            anchor = subprocess.Popen(
                [sys.executable, "-m", "quorate_bed.local.anchor", str(self.directory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._follow(anchor)
        except BedError:
            self._explain()
            raise
        finally:
            anchor.wait()
        self._finish(nodes)

    def _follow(self, anchor: subprocess.Popen[bytes]) -> None:
        """Show the keeper's steps until it is ready."""
        assert anchor.stdout is not None
        with anchor.stdout as lines, contextlib.ExitStack() as shown:
            until = time.monotonic() + CREATE_DEADLINE_S
            while True:
                line = _line(lines.fileno(), until)
                word, _, rest = line.partition(" ")
                if word == "begin":
                    shown.close()
                    shown.enter_context(step(rest))
                elif word == "ready":
                    return
                else:
                    raise BedError(f"the cluster did not come up: {rest or 'see its logs'}")

    def _finish(self, nodes: int) -> None:
        found = state.read(self.directory)
        assert found is not None
        token = (self.directory / "pki" / "admin.token").read_text()
        server = f"https://127.0.0.1:{found.port}"
        authority = self.directory / "pki" / "ca.crt"
        pki.write_kubeconfig(self.kubeconfig_path, server, authority, token)
        ready = state.State(found.pid, found.started_ticks, found.boot, found.port, ready=True)
        state.write(self.directory, ready)

    def _explain(self) -> None:
        """The last lines of the logs that a person would look at first."""
        for log in [self.directory / "anchor.log", *sorted(self.directory.glob("logs/*.log"))]:
            tail = log.read_text(errors="replace").splitlines()[-5:]
            if tail:
                console.print(f"[dim]{log}[/]\n  " + "\n  ".join(tail), markup=False)

    # -- removal --------------------------------------------------------------------------------

    def _remove(self) -> None:
        found = state.read(self.directory)
        if found is not None:
            found.end()
        for group in self._cgroups():
            _remove_groups(group)
        if self.directory.exists():
            shutil.rmtree(self.directory)

    # -- control groups -------------------------------------------------------------------------

    @property
    def _cgroup_name(self) -> str:
        return f"quorate-{self.name}"

    def _cgroups(self) -> list[Path]:
        """This cluster's group in each hierarchy (one with cgroup v2)."""
        if (CGROUPS / "cgroup.controllers").exists():
            return [CGROUPS / self._cgroup_name]
        mounted = [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]
        return [path / self._cgroup_name for path in mounted if (path / "tasks").exists()]

    def _make_cgroups(self) -> None:
        for group in self._cgroups():
            group.mkdir(exist_ok=True)

    # -- inside ---------------------------------------------------------------------------------

    def _nodes(self) -> list[layout.Node]:
        settings = json.loads((self.directory / "settings.json").read_text())
        return [layout.Node(number + 1) for number in range(settings["nodes"])]

    def _ctr(self, node: layout.Node, *args: str, stdin: IO[bytes] | str | None = None) -> str:
        command = ["ctr", "--address", str(node.containerd), "--namespace", "k8s.io", *args]
        return self.run_inside(*command, stdin=stdin)

    def _image_id(self, node: layout.Node, reference: str) -> str | None:
        for line in self._ctr(node, "images", "ls", f"name=={reference}").splitlines()[1:]:
            return line.split()[2]
        return None

    def _inside(self, pid: int) -> bool:
        found = state.read(self.directory)
        if found is None:
            return False
        ours, theirs = (os.readlink(f"/proc/{one}/ns/pid") for one in (found.pid, pid))
        return ours == theirs

    def _answers(self, port: int) -> bool:
        context = ssl.create_default_context(cafile=str(self.directory / "pki" / "ca.crt"))
        try:
            url = f"https://127.0.0.1:{port}/readyz"
            with urllib.request.urlopen(url, timeout=5, context=context) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One `create` or `delete` of this cluster at a time."""
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        with (self.directory.parent / f"{self.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _line(handle: int, until_s: float) -> str:
    """One line off the pipe; empty at its end. Raises BedError when time is up."""
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([handle], [], [], max(0, until_s - time.monotonic()))
        if not readable:
            raise BedError(f"not ready after {CREATE_DEADLINE_S} s")
        byte = os.read(handle, 1)
        if not byte:
            break
        line += byte
    return line.decode().strip()


def _remove_groups(group: Path, deadline_s: float = 10) -> None:
    """Remove a control group and those below it. They are busy until the last process is buried."""
    if not group.exists():
        return
    until = time.monotonic() + deadline_s
    for path, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                os.rmdir(path)
                break
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
