"""Run another program with its output in a log, and show the log's end when it fails."""

import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TAIL_BYTES, _TAIL_LINES = 20_000, 25
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


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
    variables = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
    start = time.perf_counter()
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"$ {shlex.join(command)}\n")
        stream.flush()
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**variables, **(environment or {})},
            check=False,
        )
    if done.returncode:
        raise RuntimeError(
            f"Exit code {done.returncode} of: {shlex.join(command)}\nThe end of {log}:\n"
            + "\n".join(log_lines(log)[-_TAIL_LINES:])
        )
    return time.perf_counter() - start


def log_lines(log: Path) -> list[str]:
    """Return the last lines of a log that are not empty; a redrawn progress bar is one line."""
    if not log.is_file():
        return []
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    latest = (line.rsplit("\r", maxsplit=1)[-1].rstrip() for line in text.split("\n"))
    return [line for line in latest if line]
