"""What many classes cost `score cls`, and many models the board, beside bounds that must hold."""

import random
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from harness_bench.leaderboard.build import make_board

from benchmarks.measure import Rows, lower_is_better, timed
from harness_bench.results.record import Metric, Result

UTTERANCES, CLASSES = 10_000, 3_000  # such as speakers
MODELS, TASKS = 500, 10
SECONDS, MEGABYTES, BOARD_SECONDS = 5.0, 500.0, 2.0  # the bounds
_RIGHT = 0.7  # share of utterances
_STARTER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


def measure(*, tiny: bool = False) -> Rows:
    """Yield CPU seconds and peak memory of one command, and CPU seconds of ranking a board."""
    utterances, classes = (60, 30) if tiny else (UTTERANCES, CLASSES)
    models, tasks = (4, 2) if tiny else (MODELS, TASKS)
    with tempfile.TemporaryDirectory() as folder:
        table, results = Path(folder, "answers.tsv"), Path(folder, "results")
        table.write_text(answers(utterances, classes), encoding="utf-8")
        seconds, megabytes = cost(["score", "cls", "--tsv", str(table)])
        results.mkdir()
        for number in range(models * tasks):  # not atomically: 5,000 flushes would take a minute
            text = figure(number % models, number // models).model_dump_json()
            (results / f"{number}.json").write_text(text, encoding="utf-8")
        _, ranked = timed(partial(make_board, results, title="many", include_reported=False))
    what = f"score cls, {utterances:,} utterances of {classes:,} classes (peer: the bound of"
    yield lower_is_better(
        "score_many_classes", seconds, SECONDS, "CPU s", note=f"{what} {SECONDS:g} s)"
    )
    yield lower_is_better(
        "score_many_classes_memory", megabytes, MEGABYTES, "MB", note=f"{what} {MEGABYTES:g} MB)"
    )
    yield lower_is_better(
        "board_many_models", ranked, BOARD_SECONDS, "CPU s",
        note=f"{models} models x {tasks} tasks read and ranked (peer: the bound of "
        f"{BOARD_SECONDS:g} s)",
    )  # fmt: skip


def answers(utterances: int, classes: int) -> str:
    """Make a table of truths and predictions, most of them right."""
    draw, lines = random.Random(0), ["id\ttruth\tprediction"]
    for number in range(utterances):
        truth, guess = (f"speaker{draw.randrange(classes):05}" for _ in range(2))
        lines.append(f"u{number}\t{truth}\t{truth if draw.random() < _RIGHT else guess}")
    return "\n".join(lines) + "\n"


def cost(arguments: list[str]) -> tuple[float, float]:
    """Run a verb in a process of its own -> CPU seconds and peak megabytes, imports included."""
    # Linux counts the peak of whoever starts a process as the process's: this one is small.
    command = [sys.executable, "-S", "-c", _STARTER, sys.executable, "-m", "harness_bench.cli"]
    done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def figure(model: int, task: int) -> Result:
    """Make a result with a made-up figure."""
    value = 2 + (model * 37 + task * 11) % 96
    return Result(
        source="measured", model=f"model {model}", model_kind="pretrained", task=f"task {task}",
        corpus="made", split="test", synthetic=True, main_metric="accuracy",
        metrics={"accuracy": Metric(value=value, higher_is_better=True)},
    )  # fmt: skip
