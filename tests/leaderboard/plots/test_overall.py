"""The radar: what its axes say, and when it would say nothing."""

from pathlib import Path
from typing import Any

import pytest
from harness_bench.leaderboard.plots import Plot, draw_overall
from harness_bench.leaderboard.plots.overall import axis_of

from harness_bench.results.record import Result
from tests.leaderboard.conftest import result, table

TASKS = {"asr": "wer", "did": "accuracy", "ser": "accuracy"}


def models(*names: str, tasks: tuple[str, ...] = tuple(TASKS), step: float = 5) -> list[Result]:
    return [
        result(name, 40 + step * n, task=task, metric=TASKS[task])
        for n, name in enumerate(names)
        for task in tasks
    ]


def radars(*args: Any) -> list[Plot]:
    """Return the radar, if there is one."""
    return [plot for plot in draw_overall(*args) if plot.name.endswith("radar")]


def test_axes_run_from_the_worst_to_the_best(tmp_path: Path) -> None:
    """Linear over the table's models; for error rates the lowest is the best."""
    made = table(tmp_path, *models("a", "b", "c"))
    asr, did, _ = (axis_of(made, column) for column in made.columns)
    assert [asr.share(value) for value in (40, 45, 50)] == [1, 0.5, 0]
    assert [did.share(value) for value in (40, 45, 50)] == [0, 0.5, 1]
    (plot,) = radars(made)
    assert "b: 50 %, 50 %, 50 %" in plot.text
    assert "worst figure of the table's models" in plot.title


@pytest.mark.parametrize(
    "results",
    [
        [],
        models("a"),
        models("a", "b", tasks=("asr", "did")),
        models("a", "b", step=0),
        [*models("a"), *models("b", tasks=("asr", "did")), result("c", 1, task="ser")],
    ],
    ids=["nothing", "one model", "two columns", "all equal", "one model with all columns"],
)
def test_no_radar_that_says_nothing(results: list[Result], tmp_path: Path) -> None:
    """Fewer than three axes or two lines compare nothing."""
    assert radars(table(tmp_path, *results)) == []


def test_six_models_at_most_and_only_whole_ones(tmp_path: Path) -> None:
    """Lines of more than six cannot be told apart; a model without a figure has no whole line."""
    made = [*models(*"abcdefgh"), result("part", 99, task="did")]
    (plot,) = radars(table(tmp_path, *made))
    assert "best 6 of the 8 models" in plot.title
    assert "part" not in plot.text
    assert plot.text.count(" %") == 6 * 3
