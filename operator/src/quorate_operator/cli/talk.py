"""How the commands reach things: kubectl, as the person has set it up.

No library and no credentials of its own: context, namespace, plugins and proxies of the person's
kubectl apply. The Admin API is reached through the API server's proxy to a pod, so that nothing has
to be forwarded and the person's own rights decide.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, Final

from quorate_operator import model
from quorate_operator.names import CLUSTER_LABEL

Json = dict[str, Any]
Run = Callable[[Sequence[str]], str]
RESOURCE: Final = f"{model.PLURAL}.{model.GROUP}"


class CommandFailed(Exception):
    """What kubectl said."""


def run(words: Sequence[str]) -> str:
    done = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(done.stderr.strip() or f"kubectl ended with {done.returncode}")
    return done.stdout


class Kubectl:
    """kubectl in one namespace and context, or in those that it would use itself."""

    def __init__(self, namespace: str = "", context: str = "", runs: Run = run) -> None:
        self._runs = runs
        self._flags = [
            *([f"--namespace={namespace}"] if namespace else []),
            *([f"--context={context}"] if context else []),
        ]

    def __call__(self, *words: str) -> str:
        return self._runs([*self._flags, *words])

    def clusters(self) -> list[Json]:
        found: list[Json] = json.loads(self("get", RESOURCE, "--output=json"))["items"]
        return found

    def cluster(self, name: str) -> Json:
        found: Json = json.loads(self("get", RESOURCE, name, "--output=json"))
        return found

    def annotate(self, name: str, annotation: str, value: str) -> None:
        self("annotate", RESOURCE, name, f"{annotation}={value}", "--overwrite")

    def set(self, name: str, field: str, value: bool) -> None:
        """One field of the spec."""
        patch = json.dumps({"spec": {field: value}})
        self("patch", RESOURCE, name, "--type=merge", f"--patch={patch}")

    def listed(self, kinds: str, cluster: str) -> list[Json]:
        selector = f"--selector={CLUSTER_LABEL}={cluster}"
        found: list[Json] = json.loads(self("get", kinds, selector, "--output=json"))["items"]
        return found

    def admin(self, namespace: str, pod: str, path: str) -> Any:
        """GET of a broker's Admin API."""
        return json.loads(self("get", f"--raw={_proxied(namespace, pod, path)}"))

    def admin_post(self, namespace: str, pod: str, path: str) -> None:
        self("create", f"--raw={_proxied(namespace, pod, path)}", "--filename=/dev/null")


def _proxied(namespace: str, pod: str, path: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{pod}:{model.ADMIN_PORT}/proxy{path}"
