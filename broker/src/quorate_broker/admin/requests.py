"""What handlers of the Admin API read out of a request; what is wrong with it becomes a 4xx.

Read next: `app`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10


def integer(request: Request, name: str, default: int) -> int:
    """A query parameter."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise HTTPException(400, f"{name} must be an integer, not {text!r}") from None


def flag(request: Request, name: str, default: bool) -> bool:
    """A query parameter, true or false."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise HTTPException(400, f"{name} must be true or false, not {text!r}")
    return text.lower() == "true"


async def decoded(request: Request, kind: Any) -> Any:
    """The body, as JSON of that type."""
    try:
        return msgspec.json.decode(await body(request), type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise HTTPException(400, str(error)) from None


async def body(request: Request) -> bytes:
    """Bounded in size and time."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                found += chunk
                if len(found) > MAX_BODY_BYTES:
                    raise HTTPException(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_SECONDS} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended within the body") from None
    return bytes(found)
