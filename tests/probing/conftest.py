"""Fresh Python processes: what is imported or patched there touches no other test."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm

type Python = Callable[..., str]  # runs Python with arguments; gives what it printed


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Return a runner of fresh processes, in an empty folder, on one thread."""
    return runner(warm.REAL, tmp_path_factory.mktemp("process"))


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Return the same, for processes that need not show what they import."""
    return runner(warm.python(), tmp_path_factory.mktemp("forked"))


def runner(program: str, folder: Path) -> Python:
    """Return a function that runs a Python in a folder and returns what it printed."""

    def run(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def printed_json(python: Python) -> Any:
    """Return a function that runs code and parses the last line that it prints."""
    return lambda code: json.loads(python("-c", code).strip().splitlines()[-1])
