"""Wait for something that another process does, with a deadline and without losing the reason."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


class NotYet(AssertionError):
    """What was waited for did not happen in time; says what was seen last."""


def eventually(
    check: Callable[[], Found | None],
    *,
    deadline_s: float = 30,
    every_s: float = 0.2,
    what: str = "",
) -> Found:
    """The first true answer of `check`, asked again and again.

    A false answer or an AssertionError counts as "not yet"; any other error is the caller's.
    """
    until = time.monotonic() + deadline_s
    while True:
        last: object
        try:
            found = check()
            if found:
                return found
            last = found
        except AssertionError as error:
            last = error
        if time.monotonic() > until:
            name = what or getattr(check, "__name__", "it")
            raise NotYet(f"{name}: not within {deadline_s:g} s; last seen: {last!r}")
        time.sleep(every_s)
