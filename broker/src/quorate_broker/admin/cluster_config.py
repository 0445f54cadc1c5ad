"""The cluster's settings and its feature level, under Redpanda's paths and in its shapes.

    GET  /v1/cluster_config            values, with defaults unless told otherwise
    PUT  /v1/cluster_config            {"upsert": {name: value}, "remove": [name]}
    GET  /v1/cluster_config/schema     what there is, and what needs a restart
    GET  /v1/cluster_config/status     which broker runs which version of it, and what it cannot
    GET  /v1/features, PUT /v1/features/NAME {"state": "active"}

Names are Kafka's; the Admin API's are taken, too. What speaks against a change is told by name,
with 400. Read next: `config.live`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quorate_broker import config
from quorate_broker.admin import requests
from quorate_broker.admin.shapes import Json, plain
from quorate_broker.admin.view import AdminView, Overview
from quorate_broker.cluster import commands, records
from quorate_broker.config import live
from quorate_broker.config.setting import Kind

TYPES = {
    Kind.BOOLEAN: "boolean",
    Kind.INTEGER: "integer",
    Kind.NUMBER: "number",
    Kind.STRING: "string",
}
SHARED = {name: row for name, row in config.SETTINGS.items() if row.scope is not config.Scope.NODE}

Value = bool | int | float | str | None


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /v1/cluster_config. A null means the default, as a removal does."""

    upsert: dict[str, Value] = {}
    remove: list[str] = []


class Wanted(msgspec.Struct):
    """Body of PUT /v1/features/{name}."""

    state: str


def routes(view: AdminView) -> list[Route]:
    handlers = _Handlers(view)
    path = "/v1/cluster_config"
    return [
        Route(path, handlers.values, methods=["GET"]),
        Route(path, handlers.change, methods=["PUT"]),
        Route(path + "/schema", handlers.schema, methods=["GET"]),
        Route(path + "/status", handlers.status, methods=["GET"]),
        Route("/v1/features", handlers.features, methods=["GET"]),
        Route("/v1/features/{name}", handlers.activate, methods=["PUT"]),
    ]


class _Handlers:
    def __init__(self, view: AdminView) -> None:
        self._view = view

    async def values(self, request: Request) -> Response:
        said = self._view.overview().settings
        found: Json = {}
        if requests.flag(request, "include_defaults", True):
            found = {name: plain(row.default) for name, row in SHARED.items()}
        found |= {name: _typed(name, text) for name, text in said.items()}
        key = request.query_params.get("key")
        if key is None:
            return JSONResponse(found)
        row = live.named(key)
        name = row.name if row else key
        if name not in found:
            raise HTTPException(404, f"{key} is not set, or there is no such setting")
        return JSONResponse({name: found[name]})

    async def change(self, request: Request) -> Response:
        asked: Change = await requests.decoded(request, Change)
        put = {
            _name(key): live.text_of(value)
            for key, value in asked.upsert.items()
            if value is not None
        }
        drop = [*asked.remove, *(key for key, value in asked.upsert.items() if value is None)]
        result = await self._view.change_settings(
            commands.ChangeSettings(
                put=put,
                drop=tuple(map(_name, drop)),
                validate_only=requests.flag(request, "dry_run", False),
            )
        )
        if result.problems:
            return JSONResponse(result.problems, status_code=400)
        return JSONResponse({"config_version": result.version})

    async def schema(self, request: Request) -> Response:
        return JSONResponse({"properties": {name: _described(SHARED[name]) for name in SHARED}})

    async def status(self, request: Request) -> Response:
        return JSONResponse(standings(self._view.overview()))

    async def features(self, request: Request) -> Response:
        return JSONResponse(features(self._view.overview()))

    async def activate(self, request: Request) -> Response:
        name = request.path_params["name"]
        level = records.FEATURES.get(name)
        if level is None:
            raise HTTPException(404, f"there is no feature {name}")
        wanted: Wanted = await requests.decoded(request, Wanted)
        if wanted.state != "active":
            raise HTTPException(400, "a feature can be made active; there is no way back from it")
        await self._view.raise_level(level)
        return Response(status_code=200)


def standings(overview: Overview) -> list[Json]:
    """GET /v1/cluster_config/status; -1: a broker that has not told yet."""
    return [
        {
            "node_id": member.node_id,
            "restart": member.standing.restart if member.standing else False,
            "config_version": member.standing.version if member.standing else -1,
            "invalid": list(member.standing.invalid) if member.standing else [],
            "unknown": list(member.standing.unknown) if member.standing else [],
        }
        for member in overview.members
    ]


def features(overview: Overview) -> Json:
    """GET /v1/features. `level` is ours: what has to be reached for it."""
    known = min((member.feature_level for member in overview.members), default=0)
    reached = overview.feature_level

    def state(level: int) -> str:
        return "active" if level <= reached else "available" if level <= known else "unavailable"

    return {
        "cluster_version": reached,
        "original_cluster_version": records.OLDEST,
        "node_latest_version": overview.newest_level,
        "node_earliest_version": records.OLDEST,
        "features": [
            {"name": name, "state": state(level), "was_active": level <= reached, "level": level}
            for name, level in records.FEATURES.items()
        ],
    }


def _described(row: config.Setting) -> Json:
    found: Json = {
        "type": TYPES.get(row.kind, "array"),
        "description": row.doc,
        "nullable": False,
        "needs_restart": row.needs_restart,
        "visibility": "user",
        "is_secret": False,
        "default": plain(row.default),
        "aliases": [row.alias] if row.alias else [],
    }
    optional: Mapping[str, object] = {
        "units": row.unit,
        "enum_values": list(row.choices),
        "minimum": row.minimum,
        "maximum": row.maximum,
    }
    return found | {key: value for key, value in optional.items() if value not in ("", [], None)}


def _name(key: str) -> str:
    row = live.named(key)
    return row.name if row else key


def _typed(name: str, text: str) -> object:
    """As its row reads it; as it stands where this version cannot."""
    row = config.SETTINGS.get(name)
    try:
        return text if row is None else plain(row.parse(text))
    except ValueError:
        return text
