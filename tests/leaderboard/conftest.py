"""Made-up results, hostile names included, and what boards and plots are built from."""

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from harness_bench.leaderboard.build import LeaderboardFiles, build, make_board

from harness_bench.results.record import Costs, Interval, Metric, Result, save_result
from harness_bench.scoring.publish import class_result, publish, text_result
from harness_bench.scoring.texts.score import Grouping, score_rows
from tests.scoring.conftest import class_rows, text_rows

HOSTILE = '<script>alert(1)</script> & "$x_{" | \\end{tabular} =1+1 \u202eabc'
MODELS = {"fbank": 0, "random": 2_300_000, "student": 700_000, HOSTILE: 4_800_000}
KINDS: tuple[Literal["baseline", "random", "pretrained"], ...] = (
    "baseline", "random", "pretrained", "pretrained",
)  # fmt: skip


def write_results(folder: Path, *, split: str = "test") -> Path:
    """Write results of four models on a class task, three of them on a text task too."""
    for number, ((model, size), kind) in enumerate(zip(MODELS.items(), KINDS, strict=True)):
        rows = class_rows(count=120, seed=0, groups=12, right=0.3 + 0.15 * number)
        row = partial(
            Result, model=model, model_kind=kind, task="did", corpus="tones", split=split,
            synthetic=True, parameters=size, command=HOSTILE,
        )  # fmt: skip
        publish(class_result(rows, row), rows, folder)
        if kind != "random":
            texts = text_rows(count=30, seed=0)
            found, _ = score_rows(texts, grouping=Grouping(cluster="group"))
            asr = partial(row, task="asr", synthetic=False)
            publish(text_result(texts, asr, found), texts, folder)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> LeaderboardFiles:
    """Build one leaderboard from good results, a broken file and a result of another split."""
    folder = write_results(tmp_path_factory.mktemp("results"))
    write_results(folder, split="dev")
    (folder / "broken <b>.json").write_text("{oops")
    return build(folder, tmp_path_factory.mktemp("out"), title=f"Board of {HOSTILE}")


def result(model: str, value: float = 50, *, task: str = "did", metric: str = "accuracy",
           real_time: float | None = None, **fields: Any) -> Result:  # fmt: skip
    """Make a measured result, with an interval of 2 around its figure unless its metric is free."""
    span = None
    if metric != "score":
        low, high = max(0, value - 1), value + (1 if value < 99 else 0)
        span = Interval(low=low, high=high, method="made up")
    unit = "points" if metric == "score" else "%"
    figure = Metric(value=value, higher_is_better=metric != "wer", interval=span, unit=unit)
    costs = None if real_time is None else Costs(real_time_factor=real_time)
    facts: dict[str, Any] = {
        "source": "measured", "model": model, "model_kind": "pretrained", "task": task,
        "corpus": "made", "split": "test", "synthetic": False, "main_metric": metric,
        "metrics": {metric: figure}, "costs": costs,
    }  # fmt: skip
    return Result.model_validate(facts | fields)


def table(folder: Path, *results: Result) -> Any:
    """Return the measured table of some results."""
    folder.mkdir(exist_ok=True, parents=True)
    for each in results:
        save_result(each, folder)
    board = make_board(folder, title="made", include_reported=False)
    assert not board.problems
    return board.measured


def built_of(folder: Path, *results: Result) -> LeaderboardFiles:
    """Build a leaderboard of some results; none of them is left out."""
    table(folder / "results", *results)
    files = build(folder / "results", folder / "out", title="t", include_reported=False)
    assert not files.problems
    return files


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
