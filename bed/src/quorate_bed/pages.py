"""The pages under docs/ as tests read them: their code blocks, and the commands in those.

What a page shows is either an excerpt of a file in examples/, or something that a test runs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quorate_bed import paths

FOLDER = paths.REPOSITORY / "docs"
GUIDES = (
    "install",
    "connect",
    "scale",
    "roll-and-upgrade",
    "storage-and-loss",
    "gitops",
    "monitor",
    "troubleshoot",
)
"""In the order in which a newcomer needs them."""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language and its text."""

    page: str
    language: str
    text: str


def path(page: str) -> Path:
    return FOLDER / f"{page}.md"


def blocks(page: str, language: str = "") -> list[Block]:
    found = _BLOCK.findall(path(page).read_text(encoding="utf-8"))
    return [Block(page, kind, text) for kind, text in found if language in ("", kind)]


def commands(page: str) -> Iterator[str]:
    """Each line of the page's shell blocks."""
    for block in blocks(page, "bash"):
        yield from (line for line in block.text.splitlines() if line.strip())
