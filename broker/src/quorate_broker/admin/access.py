"""The one gate in front of the Admin API: who asks, and may they.

Reading asks for DESCRIBE on the cluster, anything else for ALTER. The readiness probe is let
through: the kubelet has no credentials and learns nothing but yes or no. Until a listener of the
Admin API authenticates, everybody is ANONYMOUS; the question is asked all the same.
"""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from quorate_broker.api.principal import (
    ANONYMOUS,
    CLUSTER_NAME,
    Authorizer,
    Operation,
    Principal,
    ResourceType,
)

OPEN_PATHS = frozenset({"/v1/status/ready"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """ASGI middleware around the whole router."""

    def __init__(self, app: ASGIApp, authorizer: Authorizer) -> None:
        self._app = app
        self._authorizer = authorizer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            who = principal_of(scope)
            operation = Operation.DESCRIBE if scope["method"] in READING else Operation.ALTER
            if not self._authorizer.allows(who, operation, ResourceType.CLUSTER, CLUSTER_NAME):
                message = f"{who} may not {operation.name} the cluster"
                refusal = JSONResponse({"message": message, "code": 403}, status_code=403)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def principal_of(scope: Scope) -> Principal:
    """Whoever the connection was authenticated as."""
    return ANONYMOUS
