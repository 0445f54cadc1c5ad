"""Kubernetes quantities: two spellings of one amount must not look like a difference."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_FORM: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_FACTORS: Final = {
    "m": Decimal("0.001"),
    **{sign: Decimal(1000) ** power for power, sign in enumerate(["", *"kMGTPE"])},
    **{f"{sign}i": Decimal(1024) ** power for power, sign in enumerate("KMGTPE", start=1)},
}


def parse(text: str) -> Decimal | None:
    """The amount; None for what is no quantity."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    return Decimal(match[1]) * _FACTORS[match[2] or ""]


def same(one: str, other: str) -> bool:
    left = parse(one)
    return left is not None and left == parse(other)
