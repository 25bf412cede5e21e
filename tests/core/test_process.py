"""A stage's process must leave a log, and its failure must be told where it is seen."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness_bench.core.process import Worker, bound, log_lines, read_tail, run_logged, share_cores


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


SERVES = """
import json, os, sys
for line in sys.stdin:
    order = json.loads(line)
    (word,) = order["arguments"]
    if word == "die":
        os._exit(7)
    with open(order["log"], "a") as log:
        log.write(f"{word} by {os.getpid()} of {os.environ['OMP_NUM_THREADS']}\\n")
    print(json.dumps({"code": 3 if word == "fail" else 0}), flush=True)
"""


def test_a_worker_does_many_orders_and_starts_once(tmp_path: Path) -> None:
    """Each with its own log, in which stands the command that would do the same alone."""
    with Worker(python(SERVES), threads=3) as worker:
        for name in ("one", "other"):
            assert worker.run(["do", name], [name], tmp_path / name / "log.txt") >= 0
        logs = [(tmp_path / name / "log.txt").read_text() for name in ("one", "other")]
        assert logs[0].startswith("$ do one\none by ")
        assert logs[0].replace("one", "other") == logs[1]
        assert logs[0].endswith(" of 3\n")
        with pytest.raises(RuntimeError, match=r"Exit code 3 of: do it(.|\n)*fail by"):
            worker.run(["do", "it"], ["fail"], tmp_path / "log.txt")
    with Worker(["no such program"], threads=1):
        pass  # nothing was to be done: nothing is started


def test_a_worker_that_dies_is_a_failure(tmp_path: Path) -> None:
    """It could wait forever for an answer; the next order starts another."""
    log = tmp_path / "log.txt"
    with Worker(python(SERVES), threads=1) as worker:
        with pytest.raises(RuntimeError, match="Exit code 7 of: do it"):
            worker.run(["do", "it"], ["die"], log)
        worker.run(["do", "it"], ["again"], log)
    assert "again by" in log.read_text()


@pytest.mark.skipif(not bound(), reason="no setpriv here")
@pytest.mark.parametrize("how", ["run_logged", "Worker"])
def test_a_command_ends_with_its_killed_parent(how: str, tmp_path: Path) -> None:
    """A training that goes on alone would write beside the one that is started in its place."""
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    starts = {
        "run_logged": f"run_logged({python(code)}, Path('log'), threads=1)",
        "Worker": f"Worker({python(code)}, threads=1).run(['x'], [], Path('log'))",
    }[how]
    lines = "from pathlib import Path; from harness_bench.core.process import *; "
    parent = subprocess.Popen([sys.executable, "-c", lines + starts], cwd=tmp_path)
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_waiting_threads_sleep_soon_unless_the_user_says_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both variables of GNU OpenMP are the user's; torch reads them when it is imported."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    share_cores()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    share_cores()
    assert 0 < int(os.environ["GOMP_SPINCOUNT"]) < 300_000
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    share_cores()
    assert os.environ["GOMP_SPINCOUNT"] == "5"


@pytest.mark.parametrize(
    "program",
    [
        "harness_bench.cli.app",
        "harness_bench.run_downstream",
        "harness_bench.asr.run",
        "harness_bench.asr.espnet.run",
    ],
)
def test_torch_is_imported_after_it_is_told_to_share(program: str) -> None:
    """A library that is loaded already reads no variable."""
    code = f"import sys, {program}; sys.exit('torch' in sys.modules)"
    subprocess.run(python(code), check=True)


def test_the_end_of_a_log_that_was_begun_anew(tmp_path: Path) -> None:
    """What stood there before is no longer; a log that is gone has no end."""
    log = tmp_path / "log.txt"
    assert not read_tail(log)
    log.write_text("old lines\n")
    log.write_text("new\n")
    assert read_tail(log, start=10) == "new\n"
    assert read_tail(log, start=2) == "w\n"
