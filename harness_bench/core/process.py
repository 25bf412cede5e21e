"""Run another program with its output in a log, and show the log's end when it fails."""

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import Self

STOPPED = 130  # the exit status after Ctrl-C, as of a shell and of typer
HOW_TO_RESUME = "stopped; run the same command again to resume"
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_TAIL_BYTES, _TAIL_LINES = 20_000, 25
# Rounds that a waiting thread spins, some 30 microseconds. GNU OpenMP's own 300,000 outlast many
# time slices of a core that others use too.
_SPINS = "10000"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def share_cores() -> None:
    """Let torch's threads sleep soon while they wait; call it before torch is imported.

    Beside other work, two threads that spin until the other has its turn take several times the
    CPU seconds (docs/pretraining.md). A user's GOMP_SPINCOUNT or OMP_WAIT_POLICY stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def run_logged(
    command: Sequence[str],
    log: Path,
    *,
    threads: int,
    environment: Mapping[str, str] | None = None,
) -> float:
    """Run a command, without a shell, its outputs appended to `log`; return the seconds it took.

    Its numeric libraries get so many `threads`, it the variables of `environment`. A failure is a
    RuntimeError that names the command and shows the end of its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"$ {shlex.join(command)}\n")
        stream.flush()
        done = subprocess.run(
            [*bound(), *command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=_variables(threads, environment),
            check=False,
        )
    _require_success(done.returncode, command, log)
    return time.perf_counter() - start


class Worker:
    """A process that does the work of one command after another, and starts but once.

    Args:
        command: starts it, at the first `run`. It reads orders, JSON lines with `arguments` and
            `log`, appends its output of each to that log, and answers on standard output with
            {"code": exit code}. It must end when its standard input does.
        threads: of its numeric libraries.
        environment: further variables.
    """

    def __init__(
        self, command: Sequence[str], *, threads: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command, self.threads, self.environment = command, threads, environment
        self._process: subprocess.Popen[str] | None = None

    def run(self, command: Sequence[str], arguments: Sequence[str], log: Path) -> float:
        """Have `arguments` done; return the seconds it took.

        `command` is the same work as a process of its own, for the log and the error of a failure,
        which is that of `run_logged`.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"$ {shlex.join(command)}\n")
        _require_success(self._ordered({"arguments": [*arguments], "log": str(log)}), command, log)
        return time.perf_counter() - start

    def _ordered(self, order: Mapping[str, object]) -> int:
        if self._process is None:
            self._process = subprocess.Popen(
                [*bound(), *self.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=_variables(self.threads, self.environment),
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        if answer := process.stdout.readline():
            return int(json.loads(answer)["code"])
        self._process = None  # it died, for want of memory perhaps
        return process.wait() or 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """End the process, in the middle of an order too."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()


@cache
def bound() -> tuple[str, ...]:
    """Return words before a command that let it end with the thread that starts it, by a SIGTERM.

    So no training goes on alone, beside the one that takes its place, where its parent was killed.
    Linux's `setpriv` does it, which becomes the command; elsewhere there is no such word.
    """
    found = which("setpriv") if sys.platform == "linux" else None
    words = (found, "--pdeathsig", "TERM", "--") if found else ()
    tried = subprocess.run([*words, "true"], capture_output=True, check=False) if words else None
    return words if tried is not None and tried.returncode == 0 else ()


def die_with_parent() -> None:
    """Have this process killed as soon as the thread that started it is gone; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _variables(threads: int, environment: Mapping[str, str] | None) -> dict[str, str]:
    limits = dict.fromkeys(THREAD_VARIABLES, str(threads))
    return {**os.environ, **limits, **(environment or {})}


def _require_success(code: int, command: Sequence[str], log: Path) -> None:
    if code:
        raise RuntimeError(f"Exit code {code} of: {shlex.join(command)}\n{end_of(log)}")


def end_of(log: Path) -> str:
    """Return the last lines of a log, below a line that names it."""
    return f"The end of {log}:\n" + "\n".join(log_lines(log)[-_TAIL_LINES:])


def read_tail(path: Path, start: int = 0) -> str:
    """Return the end of a log, of what stands behind `start` bytes; nothing where it is gone."""
    try:
        with path.open("rb") as stream:
            end = stream.seek(0, 2)
            # A log that is shorter than it was has been begun anew.
            stream.seek(max(start if start <= end else 0, end - _TAIL_BYTES))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""


def log_lines(log: Path) -> list[str]:
    """Return the last lines of a log that are not empty; a redrawn progress bar is one line."""
    latest = (line.rsplit("\r", maxsplit=1)[-1].rstrip() for line in read_tail(log).split("\n"))
    return [line for line in latest if line]
