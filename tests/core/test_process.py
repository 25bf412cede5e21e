"""A stage's process must leave a log, and its failure must be told where it is seen."""

import sys
from pathlib import Path

import pytest

from harness_bench.core.process import log_lines, run_logged


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_both_outputs_go_into_the_log_behind_the_command(tmp_path: Path) -> None:
    """Two runs share a log: the reader must see where each begins and what it was."""
    log = tmp_path / "new folder" / "log.txt"
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    seconds = run_logged(python(code), log, threads=1)
    run_logged(python("print('again')"), log, threads=1)
    lines = log.read_text().splitlines()
    assert lines[0].startswith("$ ")
    assert "import sys" in lines[0]
    assert [line for line in lines if not line.startswith("$ ")] == ["out", "err", "again"]
    assert seconds > 0


def test_a_failure_shows_command_code_and_the_logs_end(tmp_path: Path) -> None:
    """The first lines of a long log are noise; the cause stands last."""
    code = "print(*range(1000), sep='\\n'); raise SystemExit(3)"
    with pytest.raises(RuntimeError, match=r"^Exit code 3 of: .*python") as caught:
        run_logged(python(code), tmp_path / "log.txt", threads=1)
    shown = str(caught.value).splitlines()
    assert shown[-1] == "999"
    assert "0" not in shown
    assert str(tmp_path / "log.txt") in str(caught.value)


def test_threads_and_variables_reach_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stages with all threads each would fight for the cores; none waits for the keyboard."""
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("KEPT", "yes")
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KEPT", "ADDED"]
    code = f"import os, sys; print(*[os.environ[name] for name in {names}], sys.stdin.read())"
    run_logged(python(code), tmp_path / "log.txt", threads=3, environment={"ADDED": "x"})
    assert log_lines(tmp_path / "log.txt")[-1] == "3 3 3 yes x"


def test_the_end_of_a_huge_log_is_read_quickly(tmp_path: Path) -> None:
    """The progress picture reads it twice a second."""
    log = tmp_path / "log.txt"
    log.write_text("line\n" * 1_000_000 + "last\n")
    lines = log_lines(log)
    assert lines[-1] == "last"
    assert len(lines) < 5000
    # A redrawn bar is one line.
    log.write_bytes(b"start\n 0%\r 50%\r100%\n\n   \n\xff half a letter\nnow 1\rnow 2")
    assert log_lines(log) == ["start", "100%", "\N{REPLACEMENT CHARACTER} half a letter", "now 2"]
