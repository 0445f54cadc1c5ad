"""Run a command, and when it fails say which one and what it printed.

Everything the test bed asks of other programs goes through `run`, so that a failure is always one
sentence plus the last lines of output, never a bare exit code.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

TAIL_LINES = 40


class CommandError(Exception):
    """A command exited non-zero. Carries what it printed."""

    def __init__(self, command: Sequence[str], code: int, stdout: str, stderr: str) -> None:
        self.command = tuple(command)
        self.code = code
        self.stdout = stdout
        self.stderr = stderr
        tail = "\n".join((stdout + stderr).strip().splitlines()[-TAIL_LINES:])
        super().__init__(f"{' '.join(map(str, command))!r} exited with {code}\n{tail}")


def run(
    command: Sequence[object],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: str | IO[bytes] | None = None,
    directory: Path | None = None,
    timeout_s: float = 600,
) -> str:
    """What the command printed to stdout; raises CommandError when it exits non-zero."""
    words = [str(word) for word in command]
    text = stdin.encode() if isinstance(stdin, str) else None
    stream = stdin if stdin is not None and not isinstance(stdin, str) else None
    result = subprocess.run(
        words,
        env=dict(environment) if environment is not None else None,
        input=text,
        stdin=stream if stream is not None else (None if text is not None else subprocess.DEVNULL),
        cwd=directory,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    stdout = result.stdout.decode(errors="replace")
    stderr = result.stderr.decode(errors="replace")
    if result.returncode != 0:
        raise CommandError(words, result.returncode, stdout, stderr)
    return stdout
