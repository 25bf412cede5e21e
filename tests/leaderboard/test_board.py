"""Ranks, SUPERB's score and the paper's figures: what orders a board must not flatter anybody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from harness_bench.leaderboard.board import Evidence, by_column, make_table, ranks
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.results.record import Metric, Result
from harness_bench.scoring.systems import Systems
from tests.results.test_record import make_result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_bench.leaderboard.board import ModelRow


def results(
    figures: Mapping[tuple[str, str], float], *, up: bool = True, **more: Any
) -> dict[Path, Result]:
    """Make results from (model, task) -> figure; the model `fbank` is the baseline."""
    found = {}
    for (model, task), value in figures.items():
        kind = "baseline" if model == "fbank" else "pretrained"
        metrics = {"m": Metric(value=value, higher_is_better=up)}
        own = {"model": model, "model_kind": kind, "task": task, "metrics": metrics}
        result = make_result(**({"main_metric": "m"} | own | more))
        found[Path(f"{result.source}.{model}.{task}.json")] = result
    return found


def rows(figures: Mapping[tuple[str, str], float], *, up: bool = True) -> dict[str, ModelRow]:
    """Return model -> row of the board made of such results."""
    return {row.model: row for row in make_table(results(figures, up=up), "measured").rows}


def systems(files: tuple[Path, ...], p_values: list[list[float]]) -> Evidence:
    """Make evidence from p-values alone."""
    zeros = np.zeros((len(files), len(files)))
    names = tuple(map(str, files))
    found = Systems(
        names, zeros[0], zeros, zeros, zeros, np.array(p_values), (1,) * len(files), "made up"
    )
    return Evidence(tests=[(files, found)])


@pytest.mark.parametrize("up", [True, False])
def test_superb_score_by_hand(*, up: bool) -> None:
    """0 for FBANK, 1000 for the best, linear between, mean over the columns that count."""
    sign = 1 if up else -1
    figures = {
        ("fbank", "ser"): 40 * sign, ("a", "ser"): 80 * sign, ("b", "ser"): 50 * sign,
        ("fbank", "did"): 20 * sign, ("a", "did"): 30 * sign, ("b", "did"): 10 * sign,
        ("fbank", "asr"): 90 * sign, ("a", "asr"): 70 * sign, ("b", "asr"): 60 * sign,
    }  # fmt: skip
    found = rows(figures, up=up)
    scores = {name: row.score for name, row in found.items()}
    assert all(score is not None and score.of == 2 for score in scores.values()), (
        "no model is better than FBANK on asr, so that column has no scale"
    )
    values = {name: score.value for name, score in scores.items() if score}
    assert values == pytest.approx({"fbank": 0, "a": 1000, "b": (250 - 1000) / 2})


def test_a_partial_score_says_so() -> None:
    """A model scored on its best task alone must not pass for one scored on all."""
    found = rows({("fbank", "ser"): 1, ("fbank", "did"): 1, ("a", "ser"): 2, ("b", "did"): 3,
                  ("b", "ser"): 1.5})  # fmt: skip
    partial, whole = found["a"].score, found["b"].score
    assert partial is not None
    assert whole is not None
    assert (partial.value, partial.columns, partial.of, partial.whole) == (1000, 1, 2, False)
    assert whole.whole


def test_no_score_without_fbank() -> None:
    """A score without its zero would be a figure of our own making."""
    assert all(row.score is None for row in rows({("a", "ser"): 1, ("b", "ser"): 2}).values())


def test_models_that_the_test_cannot_tell_apart_share_a_rank() -> None:
    """90 and 89 are one group, and 80 is third: two models are better beyond chance."""
    found = results({("a", "x"): 90, ("b", "x"): 89, ("c", "x"): 80})
    ((column, files),) = by_column(found, "measured").items()
    evidence = systems(tuple(files), [[1, 0.4, 0.001], [0.4, 1, 0.01], [0.001, 0.01, 1]])
    assert ranks(files, found, column, evidence) == dict(zip(files, (1, 1, 3), strict=True))
    assert ranks(files, found, column, None) == dict(zip(files, (1, 2, 3), strict=True))
    table = make_table(found, "measured", {column: evidence})
    cells = {row.model: row.cells[column] for row in table.rows}
    assert [cells[name].rank for name in "abc"] == [1, 1, 3]
    assert [cells[name].place for name in "abc"] == [1, 2, 3]
    assert [cells[name].tied for name in "abc"] == [False, True, False]


def test_a_small_p_never_makes_the_worse_figure_better() -> None:
    """Ranks follow the figures' direction, for error rates too."""
    found = results({("a", "x"): 10, ("b", "x"): 20}, up=False)
    ((column, files),) = by_column(found, "measured").items()
    assert ranks(files, found, column, systems(tuple(files), [[1, 0], [0, 1]])) == {
        files[0]: 1, files[1]: 2,
    }  # fmt: skip


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.booleans())
def test_ranks_without_predictions_are_places(values: list[int], up: bool) -> None:  # noqa: FBT001
    """Without a test, a better figure is all there is; equal figures share a rank."""
    found = results({(f"m{i}", "x"): value for i, value in enumerate(values)}, up=up)
    (row_column,) = by_column(found, "measured")
    for row in make_table(found, "measured").rows:
        cell = row.cells[row_column]
        better = sum(v > cell.metric.value if up else v < cell.metric.value for v in values)
        assert cell.rank == cell.place == 1 + better


def test_rows_stand_in_the_order_of_their_mean_rank() -> None:
    """What the caption promises."""
    table = make_table(
        results({("a", "x"): 1, ("b", "x"): 2, ("c", "x"): 3, ("a", "y"): 9, ("c", "y"): 1}),
        "measured",
    )
    means = [row.mean_rank for row in table.rows]
    assert means == sorted(means)
    assert [row.model for row in table.rows] == ["c", "a", "b"]


def test_the_papers_figure_stands_beside_ours() -> None:
    """`harness_st` on `mgb3` is the paper's HArnESS-ST on MGB3; another split is not."""
    ours = results({("harness_st", "asr"): 60.0}, up=False, corpus="mgb3", main_metric="wer",
                   metrics={"wer": Metric(value=60.0, higher_is_better=False)})  # fmt: skip
    theirs = results({("HArnESS-ST", "asr"): 58.2}, up=False, corpus="MGB3", main_metric="wer",
                     source="reported", citation="the paper",
                     metrics={"wer": Metric(value=58.2, higher_is_better=False)})  # fmt: skip
    (row,) = make_table(ours | theirs, "measured").rows
    (cell,) = row.cells.values()
    assert cell.paper is not None
    assert cell.delta == pytest.approx(1.8)
    other = {path: one.model_copy(update={"split": "dev"}) for path, one in theirs.items()}
    (row,) = make_table(ours | other, "measured").rows
    assert all(cell.paper is None and cell.delta is None for cell in row.cells.values())


def test_score_of_a_row_is_shown_with_its_coverage() -> None:
    """The same rule in every table: (1/2) beside a mean over one of two columns."""
    from harness_bench.leaderboard.tables import mean_rank, score  # noqa: PLC0415 - names clash

    found = rows({("fbank", "ser"): 1, ("fbank", "did"): 1, ("a", "ser"): 2, ("b", "did"): 3})
    assert score(found["a"].score) == "1000 (1/2)"
    assert mean_rank(found["a"], 2) == "1 (1/2)"
    assert mean_rank(found["fbank"], 2) == "2"
    below = found["a"].score
    assert below is not None
    assert score(replace(below, value=-250.4)) == "\u2212250 (1/2)"


def test_of_several_fbank_rows_the_fullest_is_the_floor() -> None:
    """One of a single column, first by name, must not make the other columns count for nothing."""
    figures = {("fbank", "did"): 20.0, ("fbank", "ser"): 20.0, ("best", "did"): 60.0,
               ("best", "ser"): 60.0, ("half", "did"): 40.0, ("half", "ser"): 20.0}  # fmt: skip
    found = results(figures)
    other = next(iter(results({("fbank", "did"): 30.0}).values()))
    found[Path("a.json")] = other.model_copy(update={"model": "a fbank"})
    scores = {row.model: row.score for row in make_table(found, "measured").rows}
    assert {name: (score.value, score.of) for name, score in scores.items() if score} == {
        "fbank": (0, 2), "best": (1000, 2), "half": (250, 2), "a fbank": (250, 2),
    }  # fmt: skip
