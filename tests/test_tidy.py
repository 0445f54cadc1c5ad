"""The code base checks itself: what reviewers would otherwise have to say again and again.

Sizes and names come from the project's style; each message says what to do about it. A rule that
has to be broken somewhere is broken here, by name and with a reason, not by a comment in the code.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FUNCTION_LINES = 70
FILE_LINES = 700
VAGUE = re.compile(r"(^|_)(utils?|helpers?|misc|common)$")
ALLOWED_BIG = {
    # tables that are read by looking a line up, not from top to bottom
    "broker/src/quorate_broker/config/registry.py",
}


def tracked(suffix: str = "") -> list[Path]:
    """Files under version control, and those that are about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in names.splitlines() if name.endswith(suffix)]
    return [file for file in files if file.is_file()]


def modules() -> list[Path]:
    return tracked(".py")


def sources() -> list[Path]:
    """Python that is shipped: not tests."""
    return [file for file in modules() if "src" in file.relative_to(ROOT).parts]


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_there_is_something_to_check() -> None:
    assert len(sources()) > 50


def test_a_function_fits_a_screen() -> None:
    long = [
        f"{name(file)}:{node.lineno} {node.name} has {lines} lines"
        for file in modules()
        for node in functions(file)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]
    assert long == [], "split it: one part decides, another does"


def test_a_file_can_be_read_in_one_sitting() -> None:
    big = [
        f"{name(file)} has {lines} lines"
        for file in modules()
        if name(file) not in ALLOWED_BIG
        if (lines := len(file.read_text().splitlines())) > FILE_LINES
    ]
    assert big == [], "find the second subject in it and give it a module"


def test_every_module_says_why_it_exists() -> None:
    silent = [
        name(file)
        for file in sources()
        if file.read_text().strip() and not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert silent == [], "open with a docstring: why it exists, which module to read next"


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [name(file) for file in modules() if VAGUE.search(file.stem)]
    vague += [name(file) for file in modules() if any(map(VAGUE.search, file.parts[:-1]))]
    assert vague == [], "name it after what it is about"


def test_no_project_folder_shadows_the_standard_library() -> None:
    """Python started at the root would import operator/ in place of its own `operator`, and die."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "broker" / "__init__.py").exists()


def test_tests_are_no_package_and_import_nothing_from_each_other() -> None:
    assert [name(file) for file in (ROOT / "tests").rglob("__init__.py")] == []
    crossed = [
        name(file)
        for file in (ROOT / "tests").rglob("*.py")
        if re.search(r"^\s*(from|import) (tests|conftest|test_\w+)\b", file.read_text(), re.M)
    ]
    assert crossed == [], "shared code lives in quorate_broker.testing or quorate_bed"


def test_no_test_is_skipped() -> None:
    """A test that does not run proves nothing."""
    skip = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail)\b|unittest\.skip")
    found = [
        name(file)
        for file in (ROOT / "tests").rglob("*.py")
        if file != Path(__file__) and skip.search(file.read_text())
    ]
    assert found == [], "make it run everywhere, or delete it"


def test_no_test_waits_by_sleeping() -> None:
    """Between two looks of a loop it may; on its own it is slow and still a race."""
    found = [
        f"{name(file)}:{call.lineno}"
        for file in (ROOT / "tests").rglob("*.py")
        for call in sleeps(ast.parse(file.read_text()), in_loop=False)
    ]
    assert found == [], "wait for what is meant, with a deadline (quorate_bed.polling.eventually)"


def sleeps(node: ast.AST, *, in_loop: bool) -> Iterator[ast.Call]:
    """Calls of anything.sleep(more than 0) outside every loop."""
    if isinstance(node, ast.Call) and not in_loop:
        named = isinstance(node.func, ast.Attribute) and node.func.attr == "sleep"
        if named and not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0):
            yield node
    inside = in_loop or isinstance(node, ast.While | ast.For | ast.AsyncFor)
    for child in ast.iter_child_nodes(node):
        yield from sleeps(child, in_loop=inside)


def test_tests_are_named_as_sentences() -> None:
    short = [
        f"{name(file)}:{node.lineno} {node.name}"
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in functions(file)
        if node.name.startswith("test_") and node.name.count("_") < 2
    ]
    assert short == [], "say what is true when it passes"


def test_no_source_is_dead() -> None:
    """Each module is imported by another, or is an entry: __init__, __main__, a script."""
    text = "\n".join(file.read_text() for file in modules())
    text += (ROOT / "Makefile").read_text()
    dead = []
    for file in sources():
        if file.stem.startswith("__") or "scripts" in file.parts:
            continue
        parts = file.relative_to(ROOT).with_suffix("").parts
        dotted = ".".join(parts[parts.index("src") + 1 :])
        package, _, stem = dotted.rpartition(".")
        used = (
            rf"{re.escape(dotted)}\b",
            rf"from {re.escape(package)} import [^\n]*\b{stem}\b",
            rf"from {re.escape(package)} import \([^)]*\b{stem}\b",
        )
        if not any(re.search(pattern, text) for pattern in used):
            dead.append(name(file))
    assert dead == [], "delete it, or use it"


def test_no_work_is_left_in_comments() -> None:
    left = re.compile(r"#\s*(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{name(file)}:{number}"
        for file in modules()
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if left.search(line)
    ]
    assert found == [], "do it, or write it into the README's known flaws"


@pytest.mark.parametrize("file", [".ci/run", "Makefile", "bed/setup"])
def test_what_a_newcomer_runs_is_there(file: str) -> None:
    assert (ROOT / file).is_file()


def test_links_in_the_documentation_lead_somewhere() -> None:
    broken = []
    for file in tracked(".md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text()):
            if "://" not in target and not (file.parent / target).exists():
                broken.append(f"{name(file)}: {target}")
    assert broken == []


def test_every_test_that_is_said_to_prove_a_requirement_exists() -> None:
    said = re.findall(r"`([\w/]+\.py)::(\w+)(…?)`", (ROOT / "tests" / "README.md").read_text())
    assert said
    missing = []
    for path, name_, shortened in said:
        file = ROOT / "tests" / path
        names = [node.name for node in functions(file)] if file.exists() else []
        if not any(one.startswith(name_) if shortened else one == name_ for one in names):
            missing.append(f"{path}::{name_}")
    assert missing == []
