"""The table of failure modes names a test for each line, and each of those tests exists."""

from __future__ import annotations

import ast
import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "failure-modes.md"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> list[str]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [
        line
        for line in lines
        if line.startswith("|") and not line.startswith("|---") and not line.startswith("| what |")
    ]


def test_every_failure_mode_has_four_columns_and_a_test() -> None:
    assert len(rows()) > 30
    bare = [row for row in rows() if row.count("|") != 5 or not NAMED.search(row)]
    assert bare == []


def test_every_test_that_is_said_to_show_a_failure_mode_exists() -> None:
    missing = []
    for path, name in NAMED.findall(PAGE.read_text(encoding="utf-8")):
        file = TESTS / path
        tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        if name not in {node.name for node in ast.walk(tree) if isinstance(node, kinds)}:
            missing.append(f"{path}::{name}")
    assert missing == []
