"""The command line: wrong arguments are a sentence, and a node loads little to read its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from quorate_broker.__main__ import EXIT_CONFIG, main


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dev", "--nodes", "100"], "100 is not from 1 to 99"),
        (["run", "--role", "king"], "invalid choice: 'king'"),
        (["run", "--conf", "x"], "unrecognized arguments: --conf x"),
        ([], "required: COMMAND"),
    ],
)
def test_a_wrong_argument_is_told_in_words(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == EXIT_CONFIG
    assert sentence in capsys.readouterr().err


def test_a_node_starts_without_a_library_for_command_lines() -> None:
    looks = (
        "import sys, quorate_broker.__main__, quorate_broker.node\n"
        "print({'typer', 'pydantic', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", looks], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_shell_completes_commands(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out
    asks = "COMP_WORDS=(quorate-broker ins); COMP_CWORD=1; _shtab_quorate_broker"
    done = subprocess.run(
        ["bash", "-c", f'{script}\n{asks} quorate-broker ins; echo "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["inspect"]
