"""A kind of job for tests of the engine: it counts its runs, writes a file, and can misbehave."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import append_jsonl, write_text
from harness_bench.core.process import run_logged

if TYPE_CHECKING:
    from harness_bench.study.job import Place


NAMES = (
    "OMP_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_", "CUDA_VISIBLE_DEVICES", "SLURMD_NODENAME",
    "SLURM_PROCID",
)  # fmt: skip


def _steps(place: Place) -> int:
    """Return how far a run has come that was cut off."""
    path = place.folder / "steps.txt"
    return int(path.read_text()) if path.is_file() else 0


def _faults() -> int:
    """Count the pages of 4 kB that 50 blocks of 8 MB, one after the other, make anew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        assert len(b"1" * (8 << 20))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def run(place: Place) -> Any:
    """Write the job's file, out of its name and the outcomes before it."""
    settings = place.job.settings
    seen: dict[str, Any] = {name: os.environ.get(name) for name in NAMES}
    row = {"name": place.job.name, "pid": os.getpid(), "time": time.time()}
    seen |= {"faults": _faults()} if settings.get("memory") else {}
    append_jsonl(place.out / "runs.jsonl", row | seen)
    sys.stdout.write(f"{place.job.name} says hello\n")
    for step in range(_steps(place), settings.get("steps", 0)):
        time.sleep(1)
        write_text(place.folder / "steps.txt", str(step + 1))
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


def command(_place: Place) -> list[str]:
    """Return what each rank of a job on several machines starts."""
    code = (
        "import os, time; rank = os.environ['SLURM_PROCID']; time.sleep(8); "
        "print('rank', rank, 'of', os.environ['SLURM_NTASKS'], 'on', os.environ['SLURMD_NODENAME'])"
    )
    return [sys.executable, "-c", code]


def outcome(place: Place) -> Any:
    """Return how many ranks ended well."""
    return sum(line.startswith("rank ") for line in place.log.read_text().splitlines())
