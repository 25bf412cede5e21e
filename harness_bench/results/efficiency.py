"""What a model costs to run: size, operations, time, memory, and what it keeps of its teacher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.files import size_text
from harness_bench.core.log import say
from harness_bench.core.tables import columns
from harness_bench.core.workdir import hardware
from harness_bench.models.hub import locate, model_name
from harness_bench.results.record import Costs, load_results, write_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from harness_bench.models.check import Check
    from harness_bench.results.record import Result

SECONDS = 10.0  # of the utterance that is timed
REPEATS = 5  # at least
ENOUGH = 0.5  # seconds of calls, at least: small models' times scatter
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Efficiency:
    """The costs of one checkpoint folder."""

    name: str
    parameters: int  # of the exported backbone
    disk_bytes: int  # of the weights
    macs_per_second: float  # multiply-adds of a forward pass per second of audio
    real_time_factor: float  # CPU seconds per second of audio, one thread, one utterance
    peak_bytes: int  # resident memory that loading and running the model adds, weights included
    gpu_real_time_factor: float | None  # wall seconds per second of audio; None without a GPU
    hardware: str  # where times and memory were measured
    checkpoint_digest: str  # of the weights, as results name them
    compression: float | None = None  # 1 - parameters / the teacher's
    # task/corpus, or task/head/corpus -> share of the teacher's score
    retention: dict[str, float] | None = None

    @property
    def costs(self) -> Costs:
        """The part that goes into results."""
        return Costs(**{name: getattr(self, name) for name in Costs.model_fields})


def efficiency(folder: Path) -> Efficiency:
    """Measure one checkpoint folder in a process of its own, whose memory is the model's alone."""
    from harness_bench.models.frozen import shape_of  # noqa: PLC0415 - torch

    shape_of(folder)  # Fail here, not in the subprocess.
    say(f"Measuring the costs of {model_name(folder)}: size, operations, speed, memory")
    done = subprocess.run(
        [sys.executable, "-m", "harness_bench.results.efficiency", str(folder)],
        capture_output=True, text=True, check=False, env={**os.environ, **THREADS},
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(f"{folder} could not be run: {said[-1]}")
    return Efficiency(**json.loads(done.stdout.splitlines()[-1]))


def _measure(folder: Path) -> Efficiency:
    import torch  # noqa: PLC0415 - slow to import

    from harness_bench.models.frozen import (  # noqa: PLC0415
        checkpoint_digest,
        load_backbone,
        parameter_count,
        weight_bytes,
    )

    torch.set_num_threads(1)
    before = _reset_peak()
    model = load_backbone(folder)
    samples = 0.1 * torch.randn(1, int(SECONDS * SAMPLE_RATE))
    lengths = torch.tensor([samples.shape[1]])
    with torch.inference_mode():
        on_cpu = _timed(lambda: model(samples, lengths), time.process_time)
        peak = _memory("VmHWM") - before
        macs = model.operations_per_second(SECONDS) / 2
        on_gpu, machine = None, hardware()
        if torch.cuda.is_available():
            machine += f", {torch.cuda.get_device_name()}"
            model, samples, lengths = model.cuda(), samples.cuda(), lengths.cuda()

            def step() -> None:
                model(samples, lengths)
                torch.cuda.synchronize()

            on_gpu = _timed(step, time.perf_counter)
    return Efficiency(
        name=model_name(folder),
        parameters=parameter_count(folder),
        disk_bytes=weight_bytes(folder),
        macs_per_second=macs,
        real_time_factor=on_cpu,
        peak_bytes=peak,
        gpu_real_time_factor=on_gpu,
        hardware=machine,
        checkpoint_digest=checkpoint_digest(folder),
    )


def _timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the median time of some calls per second of audio, one more before them unmeasured."""
    call()
    times: list[float] = []
    while len(times) < REPEATS or sum(times) < ENOUGH:
        start = clock()
        call()
        times.append(clock() - start)
    return median(times) / SECONDS


def _reset_peak() -> int:
    """Let the peak of this process's memory, of importing torch say, begin anew -> bytes now."""
    with suppress(OSError):  # Where the system forbids it, that moment counts.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    """Return a figure of this process's memory in bytes."""
    # Not getrusage: its peak is inherited from the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (found,) = [line for line in lines if line.startswith(f"{field}:")]
    return int(found.split()[1]) * 1024


def cost_checks(folder: Path) -> list[Check]:
    """Return the costs as lines of `check_model`'s table; a model that cannot be run has failed."""
    from harness_bench.models.check import Check  # noqa: PLC0415 - torch

    try:
        row = efficiency(folder)
    except (RuntimeError, ValueError) as error:
        return [Check("costs", str(error), "fail")]
    speed, memory = row.real_time_factor, row.peak_bytes
    return [
        Check("speed", f"{speed:.3g} s a second of audio, one CPU thread", value=speed),
        Check("memory", f"{size_text(memory)} that loading and running adds", value=memory),
        Check("operations", f"{row.macs_per_second / 1e9:.3g} GMAC a second of audio",
              value=row.macs_per_second),
    ]  # fmt: skip


def compare_costs(
    folders: Sequence[Path], teacher: Path | None = None, results: Path | None = None
) -> list[Efficiency]:
    """Measure checkpoints, a teacher's first: compression, and retention in `results`.

    They are paths or names of `hub.locate`.
    """
    if teacher is None and results is not None:
        raise ValueError(
            f"results = {str(results)!r} without a teacher: they tell which share of a teacher's "
            "scores a model retains. Name the teacher with --teacher, or give the folder as --into "
            "to add the costs to the results of these models."
        )
    folders = [locate(folder, pathless=True) for folder in folders]
    if teacher is None:
        return [efficiency(folder) for folder in folders]
    known = [] if results is None else [*_told_results(results).values()]
    reference = efficiency(locate(teacher, "Teacher"))
    rows = [against_teacher(efficiency(folder), reference, known) for folder in folders]
    if results is not None and not any(row.retention for row in rows):
        say(
            f"No retention: {results} has no test results of {reference.name} and of one of these "
            "models on the same task and corpus."
        )
    return [reference, *rows]


def write_into(rows: Sequence[Efficiency], results: Path) -> list[str]:
    """Write costs into the measured results of the same checkpoints, by their digest.

    Nothing else of a result changes, and each stays in its file, whatever that is named; files
    that would stay as they are, are not written. Returns a line for each row that says how many
    results carry its costs now.
    """
    costs = {row.checkpoint_digest: row.costs for row in rows}
    counts = dict.fromkeys(costs, 0)
    for path, result in _told_results(results).items():
        digest = result.checkpoint_digest
        if result.source == "measured" and digest in costs:
            counts[digest] += 1
            if result.costs != costs[digest]:
                write_result(path, result.model_copy(update={"costs": costs[digest]}))
    return [
        f"{row.name}: costs in {count} results of {results}"
        if (count := counts[row.checkpoint_digest])
        else f"{row.name}: no measured result of {results} names this checkpoint "
        f"({row.checkpoint_digest}), so its costs went nowhere"
        for row in rows
    ]


def _told_results(folder: Path) -> dict[Path, Result]:
    """Read the results; log the files that are left out."""
    found, problems = load_results(folder)
    for path, reason in problems.items():
        say(f"{path.name} is left out: {reason}")
    return found


def against_teacher(
    found: Efficiency, teacher: Efficiency, results: Iterable[Result] = ()
) -> Efficiency:
    """Add compression, and retention where both models have measured results of a test split.

    Retention is the student's share of the teacher's accuracy, or of 100 minus its error rate, 0
    above 100. A result is a checkpoint's by its digest; one without a digest, by its model's name.
    """
    measured = [r for r in results if r.source == "measured" and r.split == "test"]
    own, reference = _scores(found, measured), _scores(teacher, measured)
    kept = {task: own[task] / reference[task] for task in own if reference.get(task)}
    share = found.parameters / teacher.parameters
    return replace(found, compression=1 - share, retention=kept or None)


def _scores(row: Efficiency, results: Iterable[Result]) -> dict[str, float]:
    found = {}
    for result in results:
        own = result.checkpoint_digest
        if own == row.checkpoint_digest if own else result.model == row.name:
            value, up = result.main.value, result.main.higher_is_better
            column = "/".join(filter(None, (result.task, result.head, result.corpus)))
            found[column] = value if up else max(0.0, 100 - value)
    return found


def render(rows: Sequence[Efficiency], width: int | None = None) -> str:
    """Return a table of costs, one model a line; what is longer than `width` continues below."""
    header = (
        "model", "parameters", "on disk", "GMAC / s", "RTF (CPU)", "RTF (GPU)", "memory",
        "compression", "retention",
    )  # fmt: skip
    cells = [
        (
            row.name,
            f"{row.parameters:,}",
            size_text(row.disk_bytes),
            f"{row.macs_per_second / 1e9:.3g}",
            f"{row.real_time_factor:.3g}",
            "-" if row.gpu_real_time_factor is None else f"{row.gpu_real_time_factor:.3g}",
            size_text(row.peak_bytes),
            "-" if row.compression is None else f"{row.compression:.1%}",
            ", ".join(f"{task} {kept:.0%}" for task, kept in (row.retention or {}).items()) or "-",
        )
        for row in rows
    ]
    note = (
        f"RTF: seconds of computing per second of audio, an utterance of {SECONDS:g} s, one thread "
        "(CPU time); memory: what loading and running adds; MACs by formula."
    )
    return "\n".join([*columns([header, *cells], texts=True, width=width), "", note])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_measure(Path(sys.argv[1])))) + "\n")
