"""Tables of made-up results for plots: only what a plot looks at is filled in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness_bench.leaderboard.build import make_board

from harness_bench.results.record import Costs, Interval, Metric, Result, save_result

if TYPE_CHECKING:
    from pathlib import Path

DIRECTIONS = {"wer": False, "accuracy": True}


def result(model: str, value: float, *, task: str = "did", metric: str = "accuracy",
           real_time: float | None = None, **fields: Any) -> Result:  # fmt: skip
    """Make a measured result with an interval of 2 around its figure."""
    span = Interval(low=max(0, value - 1), high=value + (1 if value < 99 else 0), method="made up")
    figure = Metric(value=value, higher_is_better=DIRECTIONS[metric], interval=span)
    costs = None if real_time is None else Costs(real_time_factor=real_time)
    facts: dict[str, Any] = {"model_kind": "pretrained", "synthetic": False} | fields
    return Result(
        source="measured", model=model, task=task, corpus="made", split="test",
        main_metric=metric, metrics={metric: figure}, costs=costs, **facts,
    )  # fmt: skip


def table(folder: Path, *results: Result) -> Any:
    """Return the measured table of some results."""
    for each in results:
        save_result(each, folder)
    board = make_board(folder, title="made", include_reported=False)
    assert not board.problems
    return board.measured


def curves_file(path: Path, **changes: Any) -> Path:
    """Write what the leaderboard reads of a figure2.json, some of it changed."""
    points = {"updates": [1, 5, 9], "loss_bits": [6.0, 5.0, 4.5], "share_of_entropy": [1.1, 1, 0.9]}
    variants = [
        {"name": f"student_{n}", "title": f"start {n}", "init": "random", "curve": points}
        for n in range(4)
    ]
    figure = {"family": "tiny", "student": "student", "teacher": "teacher", "variants": variants}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figure | {"caveats": ["One seed each."]} | changes))
    return path
