"""What the operator asks of brokers beside the watch: their Admin API, a few short calls.

Nothing here decides. A survey is one look at everything that a restart or a removal depends on, and
it is taken in the very pass that acts; what cannot be read whole counts as no answer.

Read next: `facts.Survey`; `plan/gate.py` and `plan/scaling.py`, which judge it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import aiohttp

from quorate_operator.brokers import Brokers, bounded
from quorate_operator.facts import Claim, Json, Partition, Survey

TIMEOUT_S: Final = 2.0
ACTION_TIMEOUT_S: Final = 10.0
LIMIT: Final = 32 << 20
"""Bytes of one answer: some hundred for each partition."""


class AdminError(Exception):
    """A call that did not succeed; the message is the broker's."""


class ConfigRefused(AdminError):
    """Settings that the brokers do not take, with their words by name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in problems.items()))
        self.problems = dict(problems)


class Admin(Protocol):
    """What a pass asks of brokers; the talker below, or a model of it."""

    async def survey(self, host: str) -> Survey | None:
        """As the broker at `host` sees it; None when it does not say all of it in time."""

    async def transfer(self, host: str, to: int) -> None:
        """Have the lead of the metadata group handed over. Raises AdminError."""

    async def decommission(self, host: str, node_id: int, *, leave: bool) -> None:
        """Begin to drain a broker, or call that off. Raises AdminError."""

    async def configure(self, host: str, put: Mapping[str, str], drop: tuple[str, ...]) -> None:
        """Change the cluster's settings. Those that are refused stay as they are, the others do
        not wait for them. Raises ConfigRefused then, and AdminError."""

    async def raise_level(self, host: str, level: int) -> None:
        """Have the cluster go on to this feature level, for good. Raises AdminError."""


class HttpAdmin:
    """Over HTTP, on the connections of `Brokers`."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    async def survey(self, host: str) -> Survey | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                members = await self._get(host, "/v1/brokers")
                health = await self._get(host, "/v1/cluster/health_overview")
                partitions = await self._get(host, "/v1/partitions")
                leaving = [
                    one["node_id"] for one in members if one["membership_status"] == "draining"
                ]
                drains = {
                    node_id: await self._get(host, f"/v1/brokers/{node_id}/decommission")
                    for node_id in leaving
                }
            return survey(members, health, partitions, drains)
        except (OSError, TimeoutError, ValueError, KeyError, TypeError, aiohttp.ClientError):
            return None
        except AdminError:
            return None

    async def transfer(self, host: str, to: int) -> None:
        await self._do("POST", host, f"/v1/raft/0/transfer_leadership?target={to}")

    async def decommission(self, host: str, node_id: int, *, leave: bool) -> None:
        verb = "decommission" if leave else "recommission"
        await self._do("PUT", host, f"/v1/brokers/{node_id}/{verb}")

    async def configure(self, host: str, put: Mapping[str, str], drop: tuple[str, ...]) -> None:
        refused: dict[str, str] = {}
        while put or drop:
            body = {"upsert": dict(put), "remove": list(drop)}
            status, found = await self._send("PUT", host, "/v1/cluster_config", body)
            if status < 300:
                break
            problems = _problems(found)
            if not problems.keys() & {*put, *drop}:
                raise AdminError(_message(status, found))
            refused |= problems
            put = {name: value for name, value in put.items() if name not in problems}
            drop = tuple(name for name in drop if name not in problems)
        if refused:
            raise ConfigRefused(refused)

    async def raise_level(self, host: str, level: int) -> None:
        status, found = await self._send("GET", host, "/v1/features")
        if status != 200:
            raise AdminError(_message(status, found))
        for feature in sorted(json.loads(found)["features"], key=lambda one: one["level"]):
            if feature["state"] == "available" and feature["level"] <= level:
                path = f"/v1/features/{feature['name']}"
                status, answer = await self._send("PUT", host, path, {"state": "active"})
                if status >= 300:
                    raise AdminError(_message(status, answer))

    async def _get(self, host: str, path: str) -> Any:
        limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with self._brokers.request("GET", host, path, limit) as response:
            body = await bounded(response.content, LIMIT)
            if response.status != 200:
                raise AdminError(f"GET {path}: {_message(response.status, body)}")
            return json.loads(body)

    async def _do(self, method: str, host: str, path: str) -> None:
        status, found = await self._send(method, host, path)
        if status >= 300:
            raise AdminError(_message(status, found))

    async def _send(
        self, method: str, host: str, path: str, body: Json | None = None
    ) -> tuple[int, bytes]:
        """Status and body. Raises AdminError when there is no answer."""
        limit = aiohttp.ClientTimeout(total=ACTION_TIMEOUT_S)
        try:
            async with self._brokers.request(method, host, path, limit, body) as response:
                return response.status, await bounded(response.content, LIMIT)
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            raise AdminError(f"no answer from {host}: {error!r}") from error


def survey(members: Any, health: Any, partitions: Any, drains: dict[int, Any]) -> Survey:
    """Out of the four answers; ValueError and its kin for what is not one."""
    if not isinstance(members, list) or not isinstance(partitions, list):
        raise ValueError("not the answers of an Admin API")
    ids = _ids(one["node_id"] for one in members)
    if health["controller_id"] not in ids:
        raise ValueError("a leader that is no member knows of no members")
    return Survey(
        leader=Claim(int(health["controller_id"]), int(health["term"])),
        members=ids,
        nodes_down=_ids(health["nodes_down"]),
        partitions=tuple(
            Partition(
                f"{one['ns']}/{one['topic']}/{int(one['partition_id'])}",
                int(one["leader_id"]),
                _ids(replica["node_id"] for replica in one["replicas"]),
                _ids(one["in_sync_replicas"]),
            )
            for one in partitions
        ),
        stuck={
            node_id: "; ".join(map(str, drain["allocation_failures"]))
            for node_id, drain in drains.items()
            if drain["allocation_failures"]
        },
    )


def _ids(several: Iterable[Any]) -> tuple[int, ...]:
    return tuple(sorted(int(one) for one in several))


def _problems(body: bytes) -> dict[str, str]:
    """By name, out of a refusal; empty for one of another kind."""
    try:
        found = json.loads(body)
        return {} if "code" in found else {str(name): str(why) for name, why in found.items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def _message(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}"
