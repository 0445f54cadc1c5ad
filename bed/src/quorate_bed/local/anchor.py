"""The step into the namespaces. `python -m quorate_bed.local.anchor <cluster directory>`

In this order, so that whatever is killed when, nothing runs that nobody knows of:
1. listen on 127.0.0.1 outside, make the namespaces, fork: the child is their first process and
waits;
2. write the child's id to state.json;
3. let the child go. If this process dies before, the child reads the end of the pipe and ends.

The first process mounts what must be private, starts the keeper and then only buries orphans. When
the keeper ends, so does it, and with it everything.
"""

import json
import os
import socket
import sys
from pathlib import Path

from quorate_bed.local import layout, namespaces, state
from quorate_bed.progress import BedError

# kubelet sets these for the whole machine. It is shown the values it wants and leaves the real
# ones.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def main(directory: Path) -> None:
    settings = json.loads((directory / "settings.json").read_text())
    listener = socket.create_server(("127.0.0.1", settings["port"]))
    namespaces.unshare(namespaces.EVERYTHING)
    waiting, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        if os.read(waiting, 1) == b"":
            os._exit(1)
        _first_process(directory, Path(settings["binaries"]), listener)
    ticks = state.started_ticks(pid)
    if ticks is None:
        raise BedError("the cluster's first process died at once")
    port = listener.getsockname()[1]
    state.write(directory, state.State(pid, ticks, state.boot_id(), port))
    os.write(go, b"1")


def _first_process(directory: Path, binaries: Path, listener: socket.socket) -> None:
    """Never returns."""
    _private_mounts(directory, binaries)
    keeper = os.fork()
    if keeper == 0:
        from quorate_bed.local.keeper import main as keep

        os._exit(keep(listener))
    listener.close()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)  # the pipe to `up`: the keeper alone holds it now
    while os.waitpid(-1, 0)[0] != keeper:
        pass
    os._exit(0)


def _private_mounts(directory: Path, binaries: Path) -> None:
    """A /run, /proc, /var/lib and /var/log of our own; nothing of it is seen from outside."""
    flags = namespaces.MS_REC | namespaces.MS_PRIVATE
    namespaces.mount("none", "/", None, flags)
    namespaces.mount("proc", "/proc", "proc")
    # /run hides what is below it, so both directories are held open until they are bound.
    held = [os.open(path, os.O_PATH) for path in (directory, binaries)]
    namespaces.mount("run", "/run", "tmpfs", 0, "mode=755")
    for handle, target in zip(held, (layout.HOME, layout.BINARIES), strict=True):
        target.mkdir()
        namespaces.bind(f"/proc/self/fd/{handle}", target)
        os.close(handle)
    layout.SOCKETS.mkdir()
    for path in ("/var/lib", "/var/log"):
        upper, work = (Path("/run/overlays") / path[1:] / part for part in ("upper", "work"))
        upper.mkdir(parents=True)
        work.mkdir()
        options = f"lowerdir={path},upperdir={upper},workdir={work}"
        namespaces.mount("overlay", path, "overlay", 0, options)
    Path("/run/sysctl").mkdir()
    for name, value in KERNEL_SETTINGS.items():
        shown = Path("/run/sysctl") / name.replace("/", ".")
        shown.write_text(value + "\n")
        namespaces.bind(shown, Path("/proc/sys") / name)
    flags = namespaces.MS_REC | namespaces.MS_SHARED
    namespaces.mount("none", "/", None, flags)  # what kubelet expects of a node


if __name__ == "__main__":
    main(Path(sys.argv[1]))
