"""Ranks, SUPERB's score and the paper's figures: what orders a board must not flatter anybody."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness_bench.leaderboard.board import Evidence, ModelRow
from harness_bench.leaderboard.ranking import by_column, make_table, rank_spans, ranks
from harness_bench.leaderboard.tables import mean_rank, rank_span, score
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.results.record import Metric, Result
from harness_bench.scoring.systems import Systems, compare_systems
from tests.results.test_record import make_result
from tests.scoring.conftest import class_rows


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
    many, p = len(files), np.array(p_values)
    found = Systems((), zeros[0], zeros, zeros, zeros, p, p, (1,) * many, (many,) * many, 24, 0,
                    "made up", "made up")  # fmt: skip
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
    # No model is better than FBANK on asr, so that column has no scale.
    assert all(each is not None and each.columns == 2 for each in scores.values())
    values = {name: each.value for name, each in scores.items() if each}
    assert values == pytest.approx({"fbank": 0, "a": 1000, "b": (250 - 1000) / 2})


def test_a_partial_model_has_no_score() -> None:
    """A model scored on its best task alone must not pass for one scored on all.

    Without FBANK there is none: a score without its zero would be a figure of our own making.
    """
    figures = {("fbank", "ser"): 1, ("fbank", "did"): 1, ("a", "ser"): 2, ("b", "did"): 3,
               ("b", "ser"): 1.5}  # fmt: skip
    found = rows(figures)
    assert (found["a"].score, found["a"].mean_rank, found["a"].complete) == (None, None, False)
    whole = found["b"].score
    assert whole is not None
    assert score(replace(whole, value=-250.4)) == "\u2212250"
    assert (mean_rank(found["a"]), mean_rank(found["b"])) == ("– (1/2)", "1.5")
    others = {key: value for key, value in figures.items() if key[0] != "fbank"}
    assert all(row.score is None for row in rows(others).values())


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


def test_ranks_that_tests_leave_open() -> None:
    """What has no test may be anywhere; without any test nothing is said."""
    files = [Path(name) for name in "abcd"]
    zeros, p_values = np.zeros((3, 3)), np.ones((3, 3))
    tested = Systems((), zeros[0], zeros, zeros, zeros, p_values, p_values, (1, 1, 3), (2, 2, 3),
                     24, 0, "made up", "made up")  # fmt: skip
    found = rank_spans(files, Evidence(tests=[(tuple(files[:3]), tested)]))
    assert found == dict(zip(files, [(1, 3), (1, 3), (3, 4), (1, 4)], strict=True))
    assert rank_spans(files, None) == rank_spans(files, Evidence()) == {}


def test_equal_models_share_all_their_ranks() -> None:
    """Four models of one quality are 1-4, each of them: the board must not order noise."""
    rows = {f"m{n}": class_rows(count=300, seed=n, groups=20) for n in range(4)}
    truths = [row.truth for row in rows["m0"]]
    groups = [row.group for row in rows["m0"]]
    alike = {
        name: [row.model_copy(update={"pred": row.pred if row.pred != row.truth else truth,
                                      "truth": truth, "group": group})
               for row, truth, group in zip(each, truths, groups, strict=True)]
        for name, each in rows.items()
    }  # fmt: skip
    found = compare_systems(alike, metric="accuracy")
    assert (found.ranks, found.last_ranks) == ((1,) * 4, (4,) * 4)
    worse = [row.model_copy(update={"pred": "?"}) for row in alike["m0"]]
    found = compare_systems(alike | {"worse": worse}, metric="accuracy")
    assert (found.ranks, found.last_ranks) == ((1, 1, 1, 1, 5), (4, 4, 4, 4, 5))


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


@pytest.mark.parametrize(
    ("figures", "order"),
    [
        ({("a", "x"): 1, ("b", "x"): 2, ("c", "x"): 3, ("a", "y"): 9, ("c", "y"): 1}, "cab"),
        # Columns of few models must not push their best below a second place of a long column.
        ({("z", "asr"): 90, ("y", "asr"): 10, ("z", "ser"): 90, ("a", "ser"): 80, ("b", "ser"): 70,
          ("c", "ser"): 60, ("d", "ser"): 50}, "zabycd"),
    ],
)  # fmt: skip
def test_rows_stand_in_the_order_of_their_mean_rank(
    figures: dict[tuple[str, str], float], order: str
) -> None:
    """Complete ones first; of partial ones those with more columns, then with fewer before them."""
    made = list(rows(figures).values())
    ranked = [row.mean_rank for row in made if row.mean_rank is not None]
    assert ranked == sorted(ranked)
    assert all(row.complete for row in made[: len(ranked)])
    assert not any(row.complete for row in made[len(ranked) :])
    assert "".join(row.model for row in made) == order


def test_the_papers_figure_stands_beside_ours() -> None:
    """`harness_st` on `mgb3` is the paper's HArnESS-ST on MGB3; another split is not."""
    ours = results({("harness_st", "asr"): 60.0}, up=False, corpus="mgb3")
    paper = {"corpus": "MGB3", "source": "reported", "citation": "the paper"}
    theirs = results({("HArnESS-ST", "asr"): 58.2}, up=False, **paper)
    (row,) = make_table(ours | theirs, "measured").rows
    (cell,) = row.cells.values()
    assert cell.paper is not None
    assert cell.delta == pytest.approx(1.8)
    other = {path: one.model_copy(update={"split": "dev"}) for path, one in theirs.items()}
    (row,) = make_table(ours | other, "measured").rows
    assert all(cell.paper is None and cell.delta is None for cell in row.cells.values())


def test_of_several_fbank_rows_the_fullest_is_the_floor() -> None:
    """One of a single column, first by name, must not make the other columns count for nothing."""
    figures = {("fbank", "did"): 20.0, ("fbank", "ser"): 20.0, ("best", "did"): 60.0,
               ("best", "ser"): 60.0, ("half", "did"): 40.0, ("half", "ser"): 20.0}  # fmt: skip
    found = results(figures)
    other = next(iter(results({("fbank", "did"): 30.0}).values()))
    found[Path("a.json")] = other.model_copy(update={"model": "a fbank"})
    scores = {row.model: row.score for row in make_table(found, "measured").rows}
    assert {name: (each.value, each.columns) for name, each in scores.items() if each} == {
        "fbank": (0, 2), "best": (1000, 2), "half": (250, 2),
    }  # fmt: skip


def test_a_model_of_one_column_does_not_lead() -> None:
    """Its mean rank of 1 is over the column it chose."""
    figures = {("whole", "did"): 90.0, ("whole", "ser"): 80.0, ("one", "ser"): 80.1,
               ("second", "did"): 80.0, ("second", "ser"): 70.0}  # fmt: skip
    made = list(rows(figures).values())
    assert [row.model for row in made] == ["whole", "second", "one"]
    assert [row.mean_rank for row in made] == [1.5, 2.5, None]


def test_a_column_of_one_model_ranks_nobody() -> None:
    """It neither makes the others partial nor has a best; without any other, nobody is ranked."""
    figures = {("a", "did"): 90.0, ("b", "did"): 80.0, ("a", "own"): 50.0, ("c", "alone"): 1.0}
    table = make_table(results(figures), "measured")
    assert [column.task for column in table.ranking] == ["did"]
    assert [row.model for row in table.complete] == ["a", "b"]
    assert [row.model for row in table.partial] == ["c"]
    medals = {(row.model, column.task): cell.medal for row in table.rows
              for column, cell in row.cells.items()}  # fmt: skip
    assert medals == {("a", "did"): 1, ("b", "did"): 2, ("a", "own"): 0, ("c", "alone"): 0}
    (alone,) = rows({("a", "did"): 90.0}).values()
    assert (alone.complete, alone.mean_rank) == (True, None)


def test_without_a_complete_model_a_note_says_so() -> None:
    """Three models of two columns each, no two the same: ranks by column, and no mean."""
    pairs = {("a", "x"), ("a", "y"), ("b", "y"), ("b", "z"), ("c", "z"), ("c", "x")}
    table = make_table(results(dict.fromkeys(pairs, 5.0)), "measured")
    assert not table.complete
    assert {row.mean_rank for row in table.rows} == {None}
    assert any("no mean rank" in note or "none has a mean rank" in note for note in table.notes)


def test_of_columns_that_no_model_shares_the_fullest_counts() -> None:
    """Three models scored anew under a later profile must not cost all five their mean rank."""
    figures = {
        (name, "asr"): value for name, value in zip("fabcd", (90, 10, 20, 30, 5), strict=True)
    }
    found = {
        path: each.model_copy(update={
            "normaliser": "mgb2 v2" if each.model in "cd" else "mgb2 v3",
            "model_kind": "baseline" if each.model == "f" else "pretrained",
            "model": "fbank" if each.model == "f" else each.model,
        })
        for path, each in results(figures, up=False).items()
    }  # fmt: skip
    found |= results({(name, "did"): 50.0 for name in ("fbank", *"abcd")})
    table = make_table(found, "measured")
    assert [column.normaliser for column in table.ranking] == ["mgb2 v3", ""]
    assert [row.model for row in table.complete] == ["a", "b", "fbank"]
    assert [row.score and row.score.value for row in table.complete] == [1000, 875, 0]
    assert [row.model for row in table.partial] == ["d", "c"]
    (note,) = (note for note in table.notes if "mean rank" in note)
    assert "mgb2 v2" in note


def test_a_task_of_several_columns_is_a_group() -> None:
    """A model complete in all columns of ASR has a mean rank there, and none over the table."""
    found = results({("a", "asr"): 10.0, ("b", "asr"): 20.0, ("a", "ser"): 1.0, ("c", "ser"): 2.0})
    other = results({("a", "asr"): 30.0, ("b", "asr"): 20.0}, corpus="another")
    found |= {path.with_suffix(".2.json"): each for path, each in other.items()}
    table = make_table(found, "measured")
    assert list(table.groups) == ["asr"]
    (columns,) = table.groups.values()
    ranked = {row.model: (row.mean_rank, row.mean_rank_in(columns)) for row in table.rows}
    assert ranked == {"a": (pytest.approx(5 / 3), 1.5), "b": (None, 1.5), "c": (None, None)}


def test_rank_spans_are_written_and_averaged() -> None:
    """Of two columns with 1-3 and 2-2 the mean reaches from 1.5 to 2.5; without a test nothing."""
    found = rows({("a", "x"): 1.0, ("a", "y"): 1.0, ("b", "x"): 0.0, ("b", "y"): 0.0})
    row = found["a"]
    spans: list[tuple[int, int] | None] = [(1, 3), (2, 2)]
    cells = dict(
        zip(row.cells, [replace(cell, rank_span=span) for cell, span in
                        zip(row.cells.values(), spans, strict=True)], strict=True)
    )  # fmt: skip
    assert rank_span(replace(row, cells=cells)) == "1.5–2.5"
    assert [rank_span(cell) for cell in cells.values()] == ["1–3", "2"]
    assert rank_span(row) == ""
