"""kubectl, helm and port-forward by a kubeconfig: what both providers have in common."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from quorate_bed import binaries
from quorate_bed.progress import BedError
from quorate_bed.shell import run


class Access:
    """The part of `quorate_bed.cluster.Cluster` that needs no more than a kubeconfig."""

    @property
    def kubeconfig_path(self) -> Path:
        raise NotImplementedError

    def kubectl(self, *args: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        return run(self._command("kubectl", *args), stdin=stdin, timeout_s=timeout_s)

    def helm(self, *args: str, timeout_s: float = 300) -> str:
        return run(self._command("helm", *args), timeout_s=timeout_s)

    def nodes(self) -> list[str]:
        listed = self.kubectl("get", "nodes", "--output=jsonpath={.items[*].metadata.name}")
        return sorted(listed.split())

    @contextlib.contextmanager
    def port_forward(self, target: str, port: int, *, namespace: str) -> Iterator[int]:
        """A port of 127.0.0.1 that leads to `port` of `target` while the block runs."""
        forward = ("port-forward", "--address=127.0.0.1", target, f":{port}")
        process = subprocess.Popen(
            self._command("kubectl", "--namespace", namespace, *forward),
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
                    why = f"{first.strip()}{lines.read().strip()}"
                    raise BedError(f"port-forward to {target}: {why}")
                yield int(found.group(1))
            finally:
                process.terminate()
                process.wait()

    def _command(self, tool: str, *args: str) -> list[str]:
        return [str(binaries.tool(tool)), "--kubeconfig", str(self.kubeconfig_path), *args]
