"""What the suites of the simulators share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def printed_by_hash_seed() -> Callable[[str], set[str]]:
    """What a program prints, in two processes of different hash seeds; its argument is the seed."""

    def printed(program: str) -> set[str]:
        return {
            subprocess.run(
                [sys.executable, "-c", program, hash_seed],
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                check=True,
                text=True,
            ).stdout
            for hash_seed in ("1", "2")
        }

    return printed
