"""What people see of a study, on a terminal, in a log, and at the end."""

from __future__ import annotations

import io
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from harness_bench.core.files import write_json
from harness_bench.study import watch as watching
from harness_bench.study.alive import Alive
from harness_bench.study.job import LOG, Ended, Needs, StudyJob, keys, state_file, tell
from harness_bench.study.look import Look, clock, stacked_bar
from harness_bench.study.saved import PLANNING, session
from harness_bench.study.status import count
from harness_bench.study.watch import Watch, last_study, missing

if TYPE_CHECKING:
    from pathlib import Path

JOBS = {
    job.name: job
    for job in (
        StudyJob(name="prepare a", kind="prepare"),
        StudyJob(name="probe x", kind="probe", folder="probes/x", after=("prepare a",)),
        StudyJob(name="probe y", kind="probe", after=("prepare a",), needs=Needs(hours=1)),
        StudyJob(name="publish x", kind="publish", after=("probe x",)),
        StudyJob(name="board", kind="board", after=("publish x",)),
    )
}
KEYS = keys(JOBS)


def _tell(out: Path, name: str, state: Any, **more: Any) -> None:
    ended = Ended(name=name, state=state, host="n1", begun=time.time(), seconds=4.0, **more)
    tell(out, JOBS[name], KEYS[name], ended)


def _console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=140, force_terminal=terminal, color_system=None)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_gets_plain_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each job that ended, once; and where the study is now and then."""
    monkeypatch.setattr(watching, "_BETWEEN", 0.01)
    console = _console(terminal=False)
    with session(tmp_path, JOBS, KEYS, title="A study"):
        _tell(tmp_path, "prepare a", "done")
        _tell(tmp_path, "probe x", "failed", why="no sound")
        running = {"state": "running", "begun": time.time(), "key": KEYS["probe y"]}
        watch = Watch(tmp_path, console, since=time.time() - 5)
        with Alive(state_file(tmp_path, JOBS["probe y"]), running), watch.shown():
            time.sleep(0.3)
        _tell(tmp_path, "probe y", "done")
        with watch.shown():
            pass
    lines = _text(console).splitlines()
    assert sum("prepare a: done in 4.0 s on n1" in line for line in lines) == 1
    assert sum("probe x: FAILED after 4.0 s" in line for line in lines) == 1
    assert sum("probe y: done" in line for line in lines) == 1, "the last look is behind the end"
    news = [line for line in lines if "1 of 5 jobs done" in line]
    assert len(news) == 1, "seldom"
    assert "1 running" in news[0]
    assert "probe y" in news[0]
    assert not any("\x1b" in line for line in lines)


def test_a_disk_that_is_away_for_a_moment_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_BETWEEN", 0.01)
    monkeypatch.setattr(watching, "_SELDOM", 0.01)
    console, looks = _console(terminal=False), iter([OSError(5, "away"), None, OSError(5, "away")])
    with session(tmp_path, JOBS, KEYS, title="A study"):
        watch = Watch(tmp_path, console, since=time.time() - 5)
        real = watch.look

        def look() -> Look:
            if error := next(looks, None):
                raise error
            return real()

        monkeypatch.setattr(watch, "look", look)
        with watch.shown():
            time.sleep(0.2)
            _tell(tmp_path, "prepare a", "done")
    assert "prepare a: done" in _text(console)


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    console = _console(terminal=True)
    with session(tmp_path, JOBS, KEYS, title="A study", workers=2):
        _tell(tmp_path, "prepare a", "done")
        folder = tmp_path / "probes/x"
        folder.mkdir(parents=True)
        (folder / LOG).write_text("ser dev at step 200: accuracy 40 %\n")
        running = {"state": "running", "begun": time.time() - 61, "key": KEYS["probe x"]}
        running |= {"progress": {"done": 1, "of": 4, "unit": "trials", "per_second": 0.1}}
        with Alive(state_file(tmp_path, JOBS["probe x"]), running):
            console.print(Watch(tmp_path, console).look().picture(140))
    lines = _text(console).splitlines()
    assert "A study" in lines[0]
    row = next(line for line in lines if line.startswith("probe x"))
    words = (socket.gethostname().split(".")[0], "1:0", "25%", "6.0 trials/min", "0:30",
             "ser dev at step 200: accuracy 40 %")  # fmt: skip
    for word in words:
        assert word in row
    assert any(line.split()[:3:2] == ["probe", "0/2"] for line in lines)


def test_a_job_that_starts_says_that_it_has_said_nothing(tmp_path: Path) -> None:
    """A row without a bar and a line, for half a minute of imports, looks like one that hangs."""
    with session(tmp_path, JOBS, KEYS, title="A study"):
        running = {"state": "running", "begun": time.time(), "key": KEYS["probe x"]}
        with Alive(state_file(tmp_path, JOBS["probe x"]), running):
            console = _console(terminal=True)
            console.print(Watch(tmp_path, console).look().picture(100))
    (row,) = (line for line in _text(console).splitlines() if line.startswith("probe x"))
    assert row.rstrip().endswith("no output yet")


def test_what_is_missing_is_told_with_why(tmp_path: Path) -> None:
    with session(tmp_path, JOBS, KEYS, title="A study"):
        pass
    _tell(tmp_path, "prepare a", "done")
    (tmp_path / "probes/x").mkdir(parents=True)
    log = tmp_path / "probes/x" / LOG
    log.write_text("")
    _tell(tmp_path, "probe x", "failed", why="exit code 1")
    lines = [line.plain for line in missing(Watch(tmp_path, _console(terminal=False)).look())]
    assert not any(str(log) in line for line in lines), "nothing follows"
    log.write_text("first\nOut of memory\n")
    _tell(tmp_path, "publish x", "left out", why="it needs 'probe x'")
    _tell(tmp_path, "board", "left out", why="it needs 'publish x'")
    _tell(tmp_path, "probe y", "no time")
    lines = [line.plain for line in missing(Watch(tmp_path, _console(terminal=False)).look())]
    assert lines[0] == "failed: probe x"
    assert any("exit code 1" in line for line in lines)
    assert any("Out of memory" in line for line in lines)
    left_out = next(line for line in lines if line.startswith("left out"))
    assert "2 jobs" in left_out
    assert left_out.endswith("probe x"), "the cause, and not what it kept from running"
    assert any("probe y" in line for line in lines)


def test_nothing_is_missing_of_what_is_whole(tmp_path: Path) -> None:
    with session(tmp_path, JOBS, KEYS, title="A study"):
        pass
    for name in JOBS:
        _tell(tmp_path, name, "done")
    assert missing(Watch(tmp_path, _console(terminal=False)).look()) == []


def test_the_study_at_work_last_is_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no study"):
        last_study(tmp_path)
    for name in ("b", "a"):
        with session(tmp_path / name, JOBS, KEYS, title=name):
            time.sleep(0.01)
    # Planned last, by a driver that was killed: there is no such process.
    write_json(tmp_path / "b" / PLANNING, {"host": socket.gethostname(), "pid": 2**22})
    assert last_study(tmp_path) == tmp_path / "a"


def test_a_bar_shows_what_is_rare(tmp_path: Path) -> None:
    """One failure of ten thousand jobs is one cell, and the bar keeps its length."""
    with session(tmp_path, JOBS, KEYS, title="x"):
        pass
    counts = count(()) | {"done": 10_000, "failed": 1, "waiting": 3}
    bar = stacked_bar(counts, 20)
    assert len(bar) == 20
    assert any("red" in str(span.style) and span.end > span.start for span in bar.spans)


@pytest.mark.parametrize(
    ("seconds", "text"), [(9.4, "0:09"), (3599.6, "1:00:00"), (90_000, "1 d 01 h"), (None, "")]
)
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text
