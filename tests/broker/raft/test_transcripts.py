"""Transcripts of small clusters: what they say must be what happens.

After a change that is meant, run with QUORATE_REWRITE=1 and review the diff.
"""

import os
from pathlib import Path

import pytest

from quorate_broker.testing import transcript

FILES = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


def test_there_are_transcripts() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_small_cluster_does_what_its_transcript_says(path: Path) -> None:
    written = path.read_text()
    happened = transcript.run(written)
    if os.environ.get("QUORATE_REWRITE"):
        path.write_text(happened)
    else:
        assert happened == written
