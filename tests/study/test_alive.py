"""Signs of life: what is read from another process must be right after a kill, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from harness_bench.study import alive
from harness_bench.study.alive import Alive, is_alive, repeated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not until():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_progress_is_written_and_the_file_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "_PROGRESS", 0.02)
    monkeypatch.setattr(alive, "BEAT", 0.02)
    path = tmp_path / "a.json"
    with Alive(path, {"name": "a"}) as running:
        running.progress(1, 10, "updates")
        time.sleep(0.01)
        running.progress(3, 10, "updates")
        _wait(lambda: "progress" in json.loads(path.read_text()))
        found = json.loads(path.read_text())
        speed = found["progress"].pop("per_second")
        assert found["progress"] == {"done": 3, "of": 10, "unit": "updates"}
        assert 0 < speed < 2 / 0.01
        os.utime(path, (1, 1))
        _wait(lambda: path.stat().st_mtime > 1)
        assert is_alive(path, found)
    os.utime(path, (1, 1))
    time.sleep(0.1)
    assert path.stat().st_mtime == 1  # nobody touches it behind the block


def test_a_process_that_is_gone_is_not_alive(tmp_path: Path) -> None:
    """On this host by its id at once; on others by the age of the file."""
    path = tmp_path / "a.json"
    path.write_text("{}")
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    here = Alive(path, {}).facts
    assert is_alive(path, here)
    assert not is_alive(path, here | {"pid": gone.pid})
    assert is_alive(path, {"host": "elsewhere", "pid": gone.pid})
    os.utime(path, (time.time() - 2 * alive.SILENT,) * 2)
    assert not is_alive(path, {"host": "elsewhere", "pid": gone.pid})
    assert not is_alive(tmp_path / "none.json", here)


def test_what_is_repeated_goes_on_after_a_failure() -> None:
    """Or one slow answer of Dask's scheduler would end the replacing of lost workers for good."""
    calls, enough = list[int](), threading.Event()

    def call() -> None:
        calls.append(1)
        if len(calls) == 3:
            enough.set()
        raise TimeoutError("no answer")

    with repeated(call, 0.01):
        assert enough.wait(5)
    made = len(calls)
    time.sleep(0.05)
    assert len(calls) == made
