"""The one table from API key to handler.

`net.server` decodes a request, finds its `Route` here, calls `handle` and encodes what comes back
(the three shapes that may come back are told in `api.context`). A handler answers what it expects
to go wrong itself, with the error code in the right place of its own response; anything else that
it raises becomes `failed(call, request, code)`: our bug costs a client one answer, never its
connection. Next: `api.produce`, the longest way through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from quorate_broker.api.context import Call, Context
from quorate_broker.errors import ErrorCode

Handler = Callable[[Context, Call, Any], "Any | Awaitable[Any]"]
"""(context, call, request) -> response, or None for no reply, or an awaitable of either."""

Failed = Callable[[Call, Any, ErrorCode], Any]
"""(call, request, code) -> a response that says `code` wherever this API says it."""


class CloseConnection(Exception):
    """Raised by a handler that has no other way to tell the client (Produce with acks=0)."""


@dataclass(frozen=True, slots=True)
class Route:
    """How one API is answered."""

    handle: Handler
    failed: Failed


ROUTES: dict[int, Route] = {}
