"""Maintenance windows: when restarts that can wait may happen. Pure; all times are UTC."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Final

from quorate_operator.model_lifecycle import Window

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def is_open(several: Iterable[Window], now: datetime.datetime) -> bool:
    """A window may reach over midnight: it belongs to the day on which it begins."""
    return any(_is_open(one, now) for one in several)


def _is_open(one: Window, now: datetime.datetime) -> bool:
    hour, minute = one.start.split(":")
    length = datetime.timedelta(minutes=one.minutes)
    for days_ago in (0, 1):
        day = now - datetime.timedelta(days=days_ago)
        opens = day.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
        if one.days and DAYS[opens.weekday()] not in one.days:
            continue
        if opens <= now < opens + length:
            return True
    return False


def text(several: Iterable[Window]) -> str:
    """`Sat,Sun 22:00 +240min UTC`"""
    return ", ".join(
        f"{','.join(one.days) or 'daily'} {one.start} +{one.minutes}min UTC" for one in several
    )
