"""A program that logs into a file for hours must be seen to move on the terminal."""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from harness_bench.core import bars, process
from tests.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def draw(log: Path, done: int, of: int, title: str) -> None:
    """Append what tqdm itself writes."""
    text = io.StringIO()
    bar = tqdm(total=of, desc=title, file=text)
    bar.n = done
    bar.refresh()
    with log.open("a", encoding="utf-8") as stream:
        stream.write(text.getvalue())


def wait_for(words: str, terminal: Terminal) -> None:
    since = time.monotonic()
    while words not in terminal.getvalue():
        assert time.monotonic() - since < 20, terminal.getvalue()[-300:]
        time.sleep(0.01)


def test_a_terminal_shows_the_bar_of_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a second bar, with its own total; what the log had before is over."""
    log, terminal = tmp_path / "log.txt", Terminal()
    draw(log, 7, 9, "of an earlier run")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(bars, "_PERIOD", 0.01)
    with bars.shown(log, "seed 1"):
        wait_for("seed 1: 00:0", terminal)
        draw(log, 20, 80, "overall")
        wait_for("20/80", terminal)
        draw(log, 3, 4, "test")
        wait_for("seed 1, test:  75%", terminal)
    assert "of an earlier run" not in terminal.getvalue()
    assert "seed 1, overall:  25%" in terminal.getvalue()


def test_a_log_of_a_cluster_gets_no_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with bars.shown(tmp_path / "log.txt", "seed 1"):
        draw(tmp_path / "log.txt", 1, 4, "overall")
    assert capfd.readouterr() == ("", "")


def test_the_bar_of_a_log_in_numbers(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    draw(log, 1, 4, "overall")
    found, line = bars.last_bar("12:00:00 a line\n" + process.read_tail(log))
    assert found is not None
    assert (found.title, found.done, found.of, line) == ("overall", 1, 4, "12:00:00 a line")
    other = "12:00:00 Stage 11: training\nFailed to import a library\n1. /a/path\n"
    assert bars.last_bar(f"$ run\n{other}")[1] == "12:00:00 Stage 11: training"
    assert bars.last_bar(f"{other}$ run\nstarts\n")[1] == "starts", "above it is another command's"
    assert process.read_tail(log, log.stat().st_size) == ""
    assert bars.last_bar(process.read_tail(tmp_path / "none")) == (None, "")
