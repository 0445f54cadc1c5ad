"""Every reason for waiting, every reason for a restart: told, documented and tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate_operator.plan.blocked import NEEDS_A_PERSON, SENTENCES, Blocked, Reason
from quorate_operator.plan.outdated import Why

TESTS = Path("tests/operator")
README = Path("operator/README.md").read_text(encoding="utf-8")


def mentioned(word: str) -> bool:
    """In a test other than this one, as people read it."""
    return any(
        f'"{word}"' in path.read_text(encoding="utf-8")
        for path in TESTS.glob("test_*.py")
        if path.name != Path(__file__).name
    )


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_for_waiting_has_a_sentence_a_row_and_a_test(reason):
    assert reason in SENTENCES
    assert Blocked(reason, "x").sentence
    rows = [line for line in README.splitlines() if line.startswith("|")]
    assert any(reason.value in row for row in rows), f"{reason} is missing in operator/README.md"
    assert mentioned(reason.value), f"no test meets {reason}"


@pytest.mark.parametrize("why", Why)
def test_every_reason_for_a_restart_has_a_test_and_is_documented(why):
    assert why.value in README
    assert mentioned(why.value), f"no test meets {why}"


def test_what_needs_a_person_says_what_to_do_or_who_refused():
    assert set(Reason) >= NEEDS_A_PERSON
