"""Kafka's own definitions of its messages, out of the jars on Maven Central.

They are fetched once into ${QUORATE_CACHE:-~/.cache/quorate}/kafka-definitions and never committed.
This part of the tests needs Maven (and so Java); without it, it fails and says so.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile
from typing import Any

import pytest

KAFKA = "4.3.1"
JARS = ("kafka-clients", "kafka-group-coordinator")

# kio, the second oracle, has no release for newer Pythons.
collect_ignore = ["test_bytes.py"] if sys.version_info >= (3, 13) else []


@pytest.fixture(scope="session")
def definitions() -> dict[str, dict[str, Any]]:
    """Kafka's definitions, by the name of the message."""
    found: dict[str, dict[str, Any]] = {}
    for jar in JARS:
        with zipfile.ZipFile(_fetched(jar)) as archive:
            for entry in archive.namelist():
                if entry.startswith("common/message/") and entry.endswith(".json"):
                    definition = json.loads(_without_comments(archive.read(entry).decode()))
                    found[definition["name"]] = definition
    return found


def _fetched(jar: str) -> pathlib.Path:
    cache = os.environ.get("QUORATE_CACHE") or os.path.expanduser("~/.cache/quorate")
    folder = pathlib.Path(cache) / "kafka-definitions"
    path = folder / f"{jar}-{KAFKA}.jar"
    if path.exists():
        return path
    maven = shutil.which("mvn")
    if maven is None:
        pytest.fail(
            "the conformance tests compare our message tables with the definitions in Kafka's own"
            f" jars and need Maven to fetch them: install maven, or put {path.name} into {folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    copy = subprocess.run(
        [
            *(maven, "--batch-mode", "--quiet", "dependency:copy"),
            f"-Dartifact=org.apache.kafka:{jar}:{KAFKA}",
            f"-DoutputDirectory={folder}",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        check=False,
    )
    if copy.returncode != 0 or not path.exists():
        pytest.fail(f"Maven could not fetch {path.name}:\n{copy.stdout}{copy.stderr}")
    return path


_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*')


def _without_comments(text: str) -> str:
    return _STRING_OR_COMMENT.sub(lambda m: m[0] if m[0].startswith('"') else "", text)
