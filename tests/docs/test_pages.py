"""The guides under docs/: what they show exists, is shown as a picture, and names every reason."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import shlex
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest
import typer

from quorate_bed import binaries, charts, pages, paths
from quorate_operator.cli.app import APP
from quorate_operator.plan import blocked, conditions

ROOT = paths.REPOSITORY
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").rglob("*")
    if path.is_file() and "invalid" not in path.parts
)
KINDS = {
    "brokercluster",
    "brokerclusters",
    "bc",
    "pod",
    "pods",
    "pvc",
    "crd",
    "node",
    "nodes",
}
DRAWINGS = ("flowchart", "sequenceDiagram", "stateDiagram-v2")


def every(language: str) -> list[pages.Block]:
    return [block for page in pages.GUIDES for block in pages.blocks(page, language)]


def every_command() -> list[str]:
    return [line for page in pages.GUIDES for line in pages.commands(page)]


def undented(text: str) -> list[str]:
    return textwrap.dedent(text).strip("\n").splitlines()


def is_excerpt(block: list[str], whole: list[str]) -> bool:
    """Whether the lines stand there one after the other, indented or not."""
    size = len(block)
    return any(
        undented("\n".join(whole[at : at + size])) == block for at in range(len(whole) - size + 1)
    )


@pytest.mark.parametrize("block", every("yaml"), ids=lambda block: block.page)
def test_what_is_shown_as_yaml_stands_in_an_example(block):
    lines = undented(block.text)
    texts = [path.read_text(encoding="utf-8").splitlines() for path in EXAMPLES]
    assert any(is_excerpt(lines, text) for text in texts), block.text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_used_by_a_page_and_by_a_test(path):
    """By its name, or with the folder that it is in."""
    names = {path.name, path.parent.relative_to(ROOT).as_posix()}
    shown = "\n".join(page.read_text() for page in [*pages.FOLDER.glob("*.md"), ROOT / "README.md"])
    shown += "\n".join(one.read_text() for one in EXAMPLES if one != path)
    assert any(name in shown for name in names)
    tests = "\n".join(one.read_text() for one in (ROOT / "tests").rglob("*.py"))
    assert path.name in tests or "examples" in tests


@pytest.mark.parametrize("page", pages.GUIDES)
def test_a_guide_is_short_and_has_a_picture(page):
    text = pages.path(page).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 130
    drawn = pages.blocks(page, "mermaid")
    assert drawn
    for block in drawn:
        first, *rest = block.text.splitlines()
        assert first.split()[0] in DRAWINGS, first
        for line in rest:
            assert ";" not in line, "Mermaid ends a statement there"
            for opening, closing in ("[]", "()", "{}"):
                assert line.count(opening) == line.count(closing), line


def test_the_readme_leads_to_every_guide():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page for page in pages.GUIDES if f"(docs/{page}.md)" not in text] == []


@cache
def help_of(tool: str, *verbs: str) -> str:
    command = [str(binaries.tool(tool)), *verbs, "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if tool == "kubectl":
        options = subprocess.run(
            [command[0], "options"], capture_output=True, text=True, check=True
        )
        text += options.stdout
    return text


def known_options(tool: str, *verbs: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", help_of(tool, *verbs)))


def files_exist(words: list[str]) -> None:
    for before, word in itertools.pairwise(words):
        if before in ("-f", "-k", "--values"):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize(
    "line", [line for line in every_command() if re.match(r"kubectl (?!quorate)", line)]
)
def test_a_kubectl_command_has_verbs_options_and_kinds_that_exist(line):
    words = shlex.split(line)
    options = known_options("kubectl", words[1])
    for word in words[2:]:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, word
    files_exist(words)
    named = [word for word in words[2:] if not word.startswith("-")]
    if words[1] in ("get", "wait", "delete", "describe", "scale", "patch", "explain"):
        assert re.split(r"[/.]", named[0])[0] in KINDS, named


@pytest.mark.parametrize("line", [line for line in every_command() if line.startswith("helm ")])
def test_a_helm_command_has_options_charts_and_values_that_exist(line):
    words = shlex.split(line)
    options = known_options("helm", words[1])
    for word in words[2:]:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, word
    if words[1] in ("install", "upgrade"):
        assert ROOT / words[3] in charts.ALL
        given = [word for before, word in itertools.pairwise(words) if before == "--set"]
        found = charts.template(ROOT / words[3], *(f"--set={one}" for one in given))
        assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    "line", [line for line in every_command() if re.match(r"kubectl[- ]quorate ", line)]
)
def test_a_command_of_the_plugin_is_one_that_it_takes(line):
    words = shlex.split(line.replace("kubectl quorate", "kubectl-quorate"))[1:]
    command = typer.main.get_command(APP)
    if words[0].startswith("-"):
        assert words[0] in {name for one in command.params for name in one.opts} | {"--help"}
        return
    command.commands[words[0]].make_context(words[0], words[1:])


def test_every_other_command_is_known():
    """Commands of other people's tools: said here, so that a new one is thought about."""
    known = ("kubectl", "helm", "curl", "uv tool install", "kubectl-quorate")
    assert [line for line in every_command() if not line.startswith(known)] == []


def first_cells(page: str) -> set[str]:
    text = pages.path(page).read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    return {name.strip() for row in rows for name in row.split(",")}


def condition_types() -> set[str]:
    """The types of all verdicts, as the source names them."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(conditions))):
        match node:
            case ast.Call(func=ast.Name(id="Verdict"), args=[ast.Constant(value=str(kind)), *_]):
                found.add(kind)
            case ast.Assign(targets=[ast.Name(id="kind")], value=ast.Constant(value=str(kind))):
                found.add(kind)
    return found


def test_trouble_is_looked_up_by_every_condition_and_every_reason_for_waiting():
    named = first_cells("troubleshoot")
    assert len(condition_types()) >= 9
    assert condition_types() - named == set()
    assert {reason.value for reason in blocked.Reason} - named == set()


def test_trouble_is_looked_up_by_every_reason_why_nobody_leads():
    source = inspect.getsource(conditions._why_nobody_leads)
    reasons = set(re.findall(r'return "(\w+)"', source))
    assert len(reasons) >= 5
    assert reasons - first_cells("troubleshoot") == set()


def test_completion_of_the_plugin_works_as_kubectl_asks_for_it(tmp_path):
    script = ROOT / "examples/kubectl_complete-quorate"
    scripts = Path(sys.executable).parent
    found = subprocess.run(
        [script, "sta"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{scripts}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert found.stdout.splitlines() == ["status", ":4"]
