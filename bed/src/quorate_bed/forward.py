"""`kubectl port-forward` as a context manager, the same for both providers."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from quorate_bed import binaries
from quorate_bed.progress import BedError


@contextlib.contextmanager
def port_forward(kubeconfig: Path, target: str, port: int, *, namespace: str) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to `port` of `target` while the block runs."""
    command = [binaries.tool("kubectl"), "--kubeconfig", kubeconfig, "--namespace", namespace]
    command += ["port-forward", "--address=127.0.0.1", target, f":{port}"]
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as lines:
        try:
            first = lines.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", first)
            if found is None:
                raise BedError(f"port-forward to {target}: {first.strip()}{lines.read().strip()}")
            yield int(found.group(1))
        finally:
            process.terminate()
            process.wait()
