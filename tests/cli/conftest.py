"""The command line in this process."""

import sys
from collections.abc import Callable

import pytest

from harness_bench.cli import app


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `harness-bench ...`: exit status, output, errors."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness-bench", *map(str, words)])
        code = 0
        try:
            app.main()
        except SystemExit as done:
            code = int(done.code or 0)
        return code, *capsys.readouterr()

    return run
