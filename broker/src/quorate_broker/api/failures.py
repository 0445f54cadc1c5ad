"""What a handler may do besides answering, and the plainest way to answer a failure.

Next: `dispatch`, where each API's way to say an error stands beside its handler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quorate_broker.api.context import Call
from quorate_broker.errors import ErrorCode

Failed = Callable[[Call, Any, ErrorCode], Any]
"""(call, request, code) -> a response that says `code` wherever this API says it."""


class CloseConnection(Exception):
    """Raised by a handler that has no other way to tell the client (Produce with acks=0)."""


def top_level(response: type) -> Failed:
    """For an API whose response has one `error_code` of its own."""

    def failed(call: Call, request: Any, code: ErrorCode) -> Any:
        return response(error_code=code)

    return failed
