"""What a supervisor asks a broker before it restarts it, and after it has.

    GET /v1/broker/pre_restart_probe?limit=    partitions at risk while this broker is away
    GET /v1/broker/post_restart_probe          how much of its load it has taken up again

Both are Redpanda's (25.1). The risks are judged by what the leaders tell of their replicas in sync,
the load by this broker's own replicas. Read next: `view`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quorate_broker.admin import requests
from quorate_broker.admin.shapes import Json
from quorate_broker.admin.view import AdminView, PartitionState

LISTED = 128
"""Partitions told of each risk, unless a limit is given."""


def routes(view: AdminView) -> list[Route]:
    async def before(request: Request) -> Response:
        limit = max(0, requests.integer(request, "limit", LISTED))
        me = view.settings.node_id
        return JSONResponse({"risks": risks(view.partitions(), me, limit)})

    async def after(request: Request) -> Response:
        held, caught_up = view.load()
        return JSONResponse({"load_reclaimed_pc": 100 * caught_up // held if held else 100})

    get = ["GET"]
    return [
        Route("/v1/broker/pre_restart_probe", before, methods=get),
        Route("/v1/broker/post_restart_probe", after, methods=get),
    ]


def risks(states: Iterable[PartitionState], me: int, limit: int = LISTED) -> Json:
    """By kind of risk, the partitions that run it while broker `me` is away.

    Everything is decided by majorities here: what cannot elect cannot take acks=all either.
    """
    mine = [state for state in states if me in state.replicas]

    def where(test: Callable[[PartitionState], bool]) -> list[str]:
        return [state.path for state in mine if test(state)][:limit]

    stopped = where(lambda state: len(state.replicas) > 1 and not _elects(state, me))
    return {
        "rf1_offline": where(lambda state: state.replicas == (me,)),
        "full_acks_produce_unavailable": stopped,
        "unavailable": stopped,
        "acks1_data_loss": where(
            lambda state: (
                len(state.replicas) > 1 and state.leader_id == me and not set(state.in_sync) - {me}
            )
        ),
    }


def _elects(state: PartitionState, me: int) -> bool:
    """Whether the others have a majority that has everything."""
    fit = set(state.in_sync) & set(state.replicas) - {me}
    return len(fit) > len(state.replicas) // 2
