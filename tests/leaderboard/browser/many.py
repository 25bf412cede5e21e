"""Result files in great number, as a large lab or a public board would gather them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from harness_bench.results.record import Result

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("pretrained", "random", "baseline", "other")


def write_many(folder: Path, *, models: int, tasks: int, seed: int = 0) -> None:
    """Write a result with interval and provenance for each of models x tasks; 2 % are missing."""
    folder.mkdir(parents=True)
    draw = random.Random(seed)
    for model in range(models):
        quality, size = draw.gauss(70, 8), draw.randrange(10**6, 10**9)
        for task in range(tasks):
            if draw.random() > 0.02:
                result = _result(model, task, quality + draw.gauss(0, 3), size)
                # Not atomically: 5,000 flushes to the disk take longer than all the tests.
                (folder / result.file_name).write_text(result.model_dump_json(), "utf-8")


def _result(model: int, task: int, value: float, parameters: int) -> Result:
    """Make one result; the last tasks are error rates, where lower is better."""
    value = round(min(max(value, 2.0), 98.0), 2)
    metric, up = ("wer", False) if task >= 7 else ("accuracy", True)
    span = {"low": value - 1.5, "high": value + 1.5, "method": "cluster bootstrap over 24 clusters"}
    figure = {"value": value, "higher_is_better": up, "interval": span}
    return Result.model_validate(
        {
            "source": "measured", "model": f"model-{model:03}", "model_kind": KINDS[model % 4],
            "task": f"task{task}", "corpus": f"corpus{task}", "split": "test", "synthetic": True,
            "main_metric": metric, "metrics": {metric: figure}, "parameters": parameters,
            "normaliser": None if up else "mgb2 v1", "utterances": 5000, "seed": 0,
            "hardware": "Linux x86_64, 2 CPU cores", "versions": {"torch": "2.11.0"},
            "command": "harness-bench score cls --predictions runs/predictions.test.jsonl",
        }
    )  # fmt: skip
