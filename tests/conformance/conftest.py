"""Kafka itself, as far as it is needed to compare with: jars from Maven Central (see pom.xml).

They are fetched once into ${QUORATE_CACHE:-~/.cache/quorate}/kafka-<version>-<hash of pom.xml> and
never committed.
These tests need Maven and Java; without them they fail and say so.
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
import zlib
from collections.abc import Callable
from typing import Any

import pytest

HERE = pathlib.Path(__file__).parent
POM = (HERE / "pom.xml").read_text()
KAFKA = re.search("<kafka.version>(.*)<", POM)[1]  # type: ignore[index]
JARS = f"kafka-{KAFKA}-{zlib.crc32(POM.encode()):08x}"  # another pom, another folder

# kio, the second oracle for bytes, has no release for newer Pythons.
collect_ignore = ["test_bytes.py"] if sys.version_info >= (3, 13) else []


@pytest.fixture(scope="session")
def jars() -> pathlib.Path:
    """The folder of Kafka's jars and what they need."""
    cache = os.environ.get("QUORATE_CACHE") or os.path.expanduser("~/.cache/quorate")
    folder = pathlib.Path(cache) / JARS
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    goal = ("dependency:copy-dependencies", f"-DoutputDirectory={partial}")
    pom = str(HERE / "pom.xml")
    fetched = _run([_tool("mvn"), "--batch-mode", "--quiet", "-f", pom, *goal])
    if fetched.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        pytest.fail(f"Maven could not fetch Kafka's jars:\n{fetched.stdout}{fetched.stderr}")
    partial.rename(folder)
    return folder


@pytest.fixture(scope="session")
def definitions(jars: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Kafka's definitions, by the name of the message."""
    found: dict[str, dict[str, Any]] = {}
    for jar in ("kafka-clients", "kafka-group-coordinator"):
        with zipfile.ZipFile(jars / f"{jar}-{KAFKA}.jar") as archive:
            for entry in archive.namelist():
                if entry.startswith("common/message/") and entry.endswith(".json"):
                    definition = json.loads(_without_comments(archive.read(entry).decode()))
                    found[definition["name"]] = definition
    return found


@pytest.fixture(scope="session")
def java_batches(jars: pathlib.Path) -> Callable[[str, pathlib.Path], str]:
    """Runs Batches.java: ("read" or "write", file) -> what it prints."""

    def run(verb: str, file: pathlib.Path) -> str:
        program = [_tool("java"), "-cp", f"{jars}/*", str(HERE / "Batches.java"), verb, str(file)]
        done = _run(program)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def dump_segments(jars: pathlib.Path) -> Callable[..., tuple[list[str], list[str]]]:
    """Kafka's DumpLogSegments (`kafka-dump-log.sh`) over segment files: what it prints, and what it
    complains about."""

    def run(*files: pathlib.Path) -> tuple[list[str], list[str]]:
        tool = "org.apache.kafka.tools.DumpLogSegments"
        options = ("--deep-iteration", "--print-data-log", "--files", ",".join(map(str, files)))
        done = _run([_tool("java"), "-cp", f"{jars}/*", tool, *options])
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()

    return run


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(
            f"the conformance tests compare us with Kafka's own jars and need {name}, which is not"
            " on the PATH: install Maven and a JDK (17 or newer)"
        )
    return path


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*')


def _without_comments(text: str) -> str:
    return _STRING_OR_COMMENT.sub(lambda m: m[0] if m[0].startswith('"') else "", text)
