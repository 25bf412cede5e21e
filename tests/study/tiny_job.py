"""A kind of job for tests of the engine: it counts its runs, writes a file, and can misbehave."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import append_jsonl, write_text
from harness_bench.core.process import run_logged

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> Any:
    """Write the job's file, out of its name and the outcomes before it."""
    settings = place.job.settings
    seen = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    row = {"name": place.job.name, "pid": os.getpid(), "time": time.time()}
    append_jsonl(place.out / "runs.jsonl", row | seen)
    sys.stdout.write(f"{place.job.name} says hello\n")
    if settings.get("fails"):
        raise ValueError("no such corpus")
    if settings.get("kills"):
        os.kill(os.getpid(), signal.SIGKILL)
    if seconds := settings.get("seconds"):
        time.sleep(seconds)
    if code := settings.get("python"):
        run_logged([sys.executable, "-c", code], place.log, threads=1)
    text = "".join(f"{name}={place.found[name]}\n" for name in sorted(place.found))
    write_text(place.out / "made" / f"{place.job.slug}.txt", f"{place.job.name}\n{text}")
    return len(text)
