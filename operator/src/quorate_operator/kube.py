"""The only talker to the Kubernetes API: dicts in, dicts out.

The `kubernetes` package brings transport, TLS and tokens; its typed models are not used, since they
drop fields that a newer API server knows. Children are written by server-side apply with one field
manager: what we do not name stays other people's.

Read next: `reconcile.py`, which calls this; `access.py`, which finds the credentials.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import aiohttp
from kubernetes.aio import client

from quorate_operator import model
from quorate_operator.metrics import REQUESTS

Json = dict[str, Any]

TIMEOUT_S: Final = 20.0
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json"
METADATA: Final = f"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,{JSON}"
PAGE: Final = 500
"""Objects in one answer, where not all of them are needed at once."""

KINDS: Final[Mapping[str, tuple[str, str]]] = {
    model.KIND: (f"{model.GROUP}/{model.VERSION}", model.PLURAL),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "ConfigMap": ("v1", "configmaps"),
    "Service": ("v1", "services"),
    "Pod": ("v1", "pods"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "PodMonitor": ("monitoring.coreos.com/v1", "podmonitors"),
    "Node": ("v1", "nodes"),
    "ControllerRevision": ("apps/v1", "controllerrevisions"),
    "Event": ("events.k8s.io/v1", "events"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
}
"""Every kind that is ever touched: the RBAC of the chart is this list."""


class KubeError(Exception):
    """A request that did not succeed. Status 0: no answer at all."""

    def __init__(self, status: int, message: str, *, leaving: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.leaving = leaving
        """The namespace is being deleted: nothing can be made in it any more."""

    @property
    def final(self) -> bool:
        """Refused by a rule: the same request would be refused again."""
        return self.status in (400, 403, 405, 413, 422)


@dataclasses.dataclass(frozen=True, slots=True)
class Owner:
    """Who else set a field that we want to set."""

    manager: str
    field: str

    def __str__(self) -> str:
        return f"{self.field} (set by {self.manager})"


class Conflict(KubeError):
    """Server-side apply met another manager's fields."""

    def __init__(self, message: str, owners: tuple[Owner, ...]) -> None:
        super().__init__(409, message)
        self.owners = owners


@dataclasses.dataclass(frozen=True, slots=True)
class Only:
    """Which very object is to be deleted, and how."""

    uid: str
    version: str
    now: bool = False
    """Without waiting for its Kubernetes node to say that it has stopped."""
    alone: bool = False
    """What it owns stays."""


class Talker(Protocol):
    """What a pass asks of the Kubernetes API; the talker below, or a model of it."""

    async def get(self, kind: str, namespace: str, name: str) -> Json | None: ...

    async def all(self, kind: str, namespace: str | None, selector: str = "") -> list[Json]: ...

    async def apply(self, manifest: Json, manager: str, *, force: bool, part: str = "") -> Json: ...

    async def merge(self, kind: str, namespace: str, name: str, body: Json) -> Json: ...

    async def delete(self, kind: str, namespace: str, name: str, *, only: Only) -> None: ...

    async def create(self, manifest: Json) -> Json: ...


def always() -> bool:
    return True


class Kube:
    """A handful of verbs over one connection pool."""

    def __init__(
        self, configuration: client.Configuration, may_write: Callable[[], bool] = always
    ) -> None:
        self._api = client.ApiClient(configuration)
        self._may_write = may_write

    async def aclose(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: str, namespace: str, name: str) -> Json | None:
        try:
            return await self._request("GET", _path(kind, namespace, name))
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def all(self, kind: str, namespace: str | None, selector: str = "") -> list[Json]:
        """All objects of a kind; a namespace of None means everywhere."""
        query = [("labelSelector", selector)] if selector else []
        answer = await self._request("GET", _path(kind, namespace), query=query)
        version, _ = KINDS[kind]
        return [{"apiVersion": version, "kind": kind, **item} for item in answer["items"]]

    async def metadata(self, kind: str, namespace: str | None, selector: str) -> list[Json]:
        """What stands in the metadata of all of them, without what managers own of them."""
        found: list[Json] = []
        where = ""
        while True:
            query = [("labelSelector", selector), ("limit", str(PAGE)), ("continue", where)]
            query = [(name, value) for name, value in query if value]
            path = _path(kind, namespace)
            answer = await self._request("GET", path, query=query, form=METADATA)
            found += (_slim(item["metadata"]) for item in answer["items"] or ())
            where = answer.get("metadata", {}).get("continue", "")
            if not where:
                return found

    async def apply(self, manifest: Json, manager: str, *, force: bool, part: str = "") -> Json:
        """Server-side apply; `part` is a subresource. Raises Conflict unless forced."""
        metadata = manifest["metadata"]
        path = _path(manifest["kind"], metadata["namespace"], metadata["name"])
        query = [("fieldManager", manager), ("force", "true" if force else "false")]
        return await self._request("PATCH", path + part, query=query, body=manifest, form=APPLY)

    async def merge(self, kind: str, namespace: str, name: str, body: Json) -> Json:
        """JSON merge patch. A `uid` in the metadata makes it a precondition."""
        return await self._request("PATCH", _path(kind, namespace, name), body=body, form=MERGE)

    async def delete(self, kind: str, namespace: str, name: str, *, only: Only) -> None:
        """Delete exactly what was seen; status 409 when it is another one by now."""
        body: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": only.uid, "resourceVersion": only.version},
        }
        if only.now:
            body["gracePeriodSeconds"] = 0
        if only.alone:
            body["propagationPolicy"] = "Orphan"
        await self._request("DELETE", _path(kind, namespace, name), body=body)

    async def create(self, manifest: Json) -> Json:
        path = _path(manifest["kind"], manifest["metadata"]["namespace"])
        return await self._request("POST", path, body=manifest)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Json | None = None,
        form: str = JSON,
    ) -> Json:
        """`form` of the body, or of the answer to a GET."""
        headers = {"Accept": form} if method == "GET" else {"Accept": JSON, "Content-Type": form}
        if method != "GET" and not self._may_write():
            raise KubeError(0, "this operator is not the active one")
        request = await self._api.param_serialize(
            method,
            path,
            query_params=query or [],
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                response = await self._api.call_api(*request)
                raw: bytes = await response.read()  # type: ignore[no-untyped-call]
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            REQUESTS.labels(method, "none").inc()
            raise KubeError(0, f"no answer from the Kubernetes API: {error!r}") from error
        REQUESTS.labels(method, f"{response.status // 100}xx").inc()
        answer = _parse(raw)
        if response.status >= 300:
            raise _error(response.status, answer)
        return answer


def _slim(metadata: Json) -> Json:
    return {name: value for name, value in metadata.items() if name != "managedFields"}


def _path(kind: str, namespace: str | None, name: str = "") -> str:
    version, plural = KINDS[kind]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{inside}/{plural}" + (f"/{name}" if name else "")


def _parse(raw: bytes) -> Json:
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"message": raw[:500].decode(errors="replace")}


def _error(status: int, answer: Json) -> KubeError:
    message = str(answer.get("message", "")) or f"status {status}"
    causes = (answer.get("details") or {}).get("causes") or []
    owners = tuple(
        Owner(_manager(str(cause.get("message", ""))), str(cause.get("field", "")))
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    )
    if status == 409 and owners:
        return Conflict(message, owners)
    leaving = any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
    return KubeError(status, message, leaving=leaving)


def _manager(message: str) -> str:
    """`conflict with "kubectl" using apps/v1` -> `kubectl`."""
    parts = message.split('"')
    return parts[1] if len(parts) > 2 else message
