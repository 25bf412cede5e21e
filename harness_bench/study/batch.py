"""Trainings on several machines: jobs of SLURM by their own script, which the study waits for.

The script is that of docs/pretraining.md. The job's folder holds it (`batch.sh`), the id of the
cluster's job (`batch.json`) and, once it has ended for good, its exit code (`batch.code`), so that
a new driver waits for the job that is there in place of sending another.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import digest_strings, read_json, write_json, write_text
from harness_bench.core.log import say
from harness_bench.core.process import THREAD_VARIABLES, end_of
from harness_bench.study.job import part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_bench.study.clusters import EngineConfig
    from harness_bench.study.job import Place

SCRIPT, NOTE, CODE = "batch.sh", "batch.json", "batch.code"
_PERIOD = 5.0  # seconds between two looks at the queue
_GONE = 60.0  # seconds without the job in the queue nor its code: network disks lag behind
_FORGOTTEN = "invalid job id"  # of one that ended minutes ago

_SCRIPT = """\
#!/bin/bash
{directives}
{prologue}
cd {cwd}
{variables}
trap 'again=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1  # 120 s before the time is over
srun --kill-on-bad-exit=1 {command} &
while kill -0 $! 2>/dev/null; do wait $!; code=$?; done
case "$again$code" in yes*|130|75) scontrol requeue "$SLURM_JOB_ID"; exit "$code";; esac
echo "$code" >{code}.partial && mv {code}.partial {code}
exit "$code"
"""


def run_batch(engine: EngineConfig, place: Place, key: str) -> Any:
    """Have SLURM run a job on machines of its own, wait for its end, return its outcome.

    `key` is that of all that the job is made from. Its kind has `command(place)`, what each rank
    starts, and `outcome(place)`.

    Raises:
        RuntimeError: SLURM takes no such job, or it failed; with the end of its log.
    """
    job = _submitted(engine, place, key)
    gone: float | None = None
    while not (place.folder / CODE).is_file():
        time.sleep(_PERIOD)
        if _in_queue(job):
            gone = None
        elif gone is None:
            gone = time.monotonic()
        elif time.monotonic() - gone > _GONE:
            (place.folder / NOTE).unlink()
            raise RuntimeError(
                f"SLURM's job {job} is gone and left no exit code: it was cancelled, or its "
                f"machine was lost. Run the study again to send another. {end_of(place.log)}"
            )
    code = (place.folder / CODE).read_text(encoding="utf-8").strip()
    if code != "0":
        (place.folder / NOTE).unlink()
        raise RuntimeError(f"Exit code {code} of SLURM's job {job}. {end_of(place.log)}")
    return part(place.job.kind, "outcome")(place)


def _submitted(engine: EngineConfig, place: Place, key: str) -> str:
    """Return the id of the cluster's job: of one that is there, else of a new one."""
    folder = place.folder
    note = read_json(folder / NOTE) if (folder / NOTE).is_file() else {}
    # The name finds the job of a driver that died between sending it and noting its id.
    name = f"study-{digest_strings([str(folder), key])[:16]}"
    queued = _slurm("squeue", "--noheader", "--me", f"--name={name}", "--format=%i").split()
    if queued or note.get("key") == key:
        job = queued[0] if queued else str(note["job"])
        say(f"{place.job.name}: waiting for SLURM's job {job}, which was sent before.")
    else:
        _refuse_another(folder, note)
        (folder / CODE).unlink(missing_ok=True)
        command = part(place.job.kind, "command")(place)
        write_text(folder / SCRIPT, batch_script(engine, place, command, name))
        job = _slurm("sbatch", "--parsable", str(folder / SCRIPT)).strip().partition(";")[0]
        say(f"{place.job.name}: SLURM's job {job} on {place.job.needs.nodes} machines.")
    write_json(folder / NOTE, {"job": job, "key": key, "name": name})
    return job


def _refuse_another(folder: Path, note: dict[str, Any]) -> None:
    """Never let two trainings run in one folder."""
    job = note.get("job")
    if job and _in_queue(job):
        raise RuntimeError(
            f"SLURM's job {job} trains in {folder} by other settings. `scancel {job}` ends it; or "
            "take the settings back, and the study waits for it."
        )


def batch_script(engine: EngineConfig, place: Place, command: Sequence[str], name: str) -> str:
    """Return the job script: one rank for each GPU, requeued when its time is over."""
    needs, there = place.job.needs, engine.workers_of("batch")
    cpus = engine.batch.cpus or needs.cpus
    options = {
        "job-name": name, "nodes": needs.nodes, "ntasks-per-node": max(1, needs.gpus),
        "gpus-per-node": needs.gpus or None, "cpus-per-task": cpus,
        # Of a machine; 0 is all that it has.
        "mem": f"{engine.batch.memory_gb or 0:g}" + ("G" if engine.batch.memory_gb else ""),
        "time": there.walltime, "partition": there.queue, "account": there.account,
        "signal": "B:USR1@120", "output": place.log, "open-mode": "append",
    }  # fmt: skip
    given = [f"--{option}={value}" for option, value in options.items() if value is not None]
    lines = [*given, "--requeue", *(there.directives or ())]
    return _SCRIPT.format(
        directives="\n".join(f"#SBATCH {line}" for line in lines),
        prologue="\n".join(engine.prologue),
        cwd=shlex.quote(str(Path.cwd())),
        variables="\n".join(f"export {each}={cpus}" for each in THREAD_VARIABLES),
        command=shlex.join(command),
        code=shlex.quote(str(place.folder / CODE)),
    )


def _in_queue(job: str) -> bool:
    """Whether a job waits or runs; yes, too, while SLURM gives no answer."""
    try:
        return bool(_slurm("squeue", "--noheader", f"--jobs={job}", "--format=%T").strip())
    except RuntimeError as error:
        return _FORGOTTEN not in str(error).lower()


def _slurm(*command: str) -> str:
    """Return what a command of SLURM prints; its failure is a RuntimeError in its own words."""
    # A driver that is itself a job of SLURM has settings that are not for those that it sends.
    found = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith(("SBATCH_", "SLURM_"))
    }
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=found, check=False)
    except FileNotFoundError as error:
        raise RuntimeError(
            f"{command[0]} is not here: a study with kind = 'slurm' runs where jobs are sent from."
        ) from error
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
