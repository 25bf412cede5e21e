"""The overview and series: every figure where it belongs, the paper's beside the measured ones."""

import re
from pathlib import Path

import pytest
from harness_bench.leaderboard.board import BoardTable
from harness_bench.leaderboard.build import PAPER, make_board
from harness_bench.leaderboard.curves import Series, load_series
from harness_bench.leaderboard.plots import Plot, draw_overall, draw_plots
from harness_bench.leaderboard.tables import figure

from harness_bench.results.record import Result, load_results, save_result
from tests.leaderboard.conftest import result, table


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> BoardTable:
    """Return the table of the paper's figures."""
    return make_board(tmp_path_factory.mktemp("empty"), title="t").reported


@pytest.fixture(scope="module")
def drawn(paper: BoardTable) -> dict[str, Plot]:
    """Draw what goes over all of the paper's columns."""
    series, problems = load_series(PAPER / "series")
    assert not problems
    links = {row.model: f"#/model/{number}" for number, row in enumerate(paper.rows)}
    return {plot.name: plot for plot in draw_overall(paper, series=series, links=links)}


def test_the_papers_figures_make_plots(drawn: dict[str, Plot]) -> None:
    """Without a single result there is something to see; names tell them from measured ones."""
    kinds = ("overview", "radar", "series-1", "series-2")
    assert [*drawn] == [f"reported-00-{kind}" for kind in kinds]


def test_every_reported_figure_stands_in_the_overview(
    paper: BoardTable, drawn: dict[str, Plot]
) -> None:
    """As printed, in the row of its model; models from large to small."""
    plot = drawn["reported-00-overview"]
    rows = dict(re.findall(r"<title>(.*)\n((?:.|\n)*?)</title>", plot.svg))
    assert [*rows][:3] == ["HArnESS-L", "HuBERT-L", "XLS-R"]
    assert len(rows) == len(paper.rows)
    for row in paper.rows:
        for column in paper.ranking:
            if cell := row.cells.get(column):
                head = f"{column.task.upper()} on {column.corpus}: {column.metric}"
                assert f"{head} {figure(cell.metric, 2)} %" in rows[row.model]
    # MGB-5 has one model: nothing to compare.
    assert "MGB5" not in plot.svg


def test_series_are_the_papers_tables(drawn: dict[str, Plot]) -> None:
    """Table 4's dimensions in their order, each panel a column; MGB-3 was not run with 256."""
    svg = drawn["reported-00-series-1"].svg
    told = re.findall(r"<title>(.*)\n(.*)\n", svg + "\n")
    wer = [line for _, line in told if line.startswith("wer 2")]
    assert wer[:2] == ["wer 20.20 %", "wer 23.20 %"]
    assert svg.count('<a class="spot') == 2 + 3 + 3 + 3
    for label in ("1024", "512", "256"):
        assert svg.count(f">{label}</text>") == 4
    assert drawn["reported-00-series-2"].svg.count('<a class="spot') == 8


def test_a_series_finds_names_however_they_are_composed(tmp_path: Path) -> None:
    """An accent typed as a mark of its own is no other model."""
    points = [{"model": name, "label": name} for name in ("mode\u0300le", "plain")]
    series = Series.model_validate({"title": "t", "axis": "a", "points": points})
    drawn = draw_overall(
        table(tmp_path, result("mod\u00e8le", 60), result("plain", 50)), (), {}, [series]
    )
    assert [plot.svg.count('<a class="spot') for plot in drawn] == [2]


def test_the_papers_models_are_of_the_board() -> None:
    """A typing error in a series would drop a model of it without a word."""
    known = {each.model for each in load_results(PAPER)[0].values()}
    for series in load_series(PAPER / "series")[0]:
        assert {point.model for point in series.points} <= known


def test_the_papers_figure_beside_the_measured_one(tmp_path: Path) -> None:
    """A hollow mark where the same model has both, in words too; by names as configs write them."""
    own = [
        result("harness_st", 30, task="asr", metric="wer", corpus="MGB2", parameters=20_081_536),
        result("other", 35, task="asr", metric="wer", corpus="MGB2", parameters=10_000_000),
        result("harness_st", 60, task="did", corpus="ADI5", parameters=20_081_536),
        result("other", 50, task="did", corpus="ADI5", parameters=10_000_000),
    ]
    for each in own:
        save_result(each, tmp_path)
    measured = make_board(tmp_path, title="t").measured
    bars, scatter = draw_plots(measured)[measured.columns[0]]
    for plot in (bars, scatter):
        assert "in the paper 23.20" in plot.svg
        assert "the paper's" in plot.svg
    assert scatter.svg.count('class="paper"') == 1
    (overview,) = draw_overall(measured)
    assert "the paper's" in overview.svg


def test_a_series_needs_two_models(tmp_path: Path) -> None:
    """One alone is no line; where a column lacks one, the panel has the others."""
    points = ({"model": each, "label": each} for each in ("a", "B b", "gone"))
    series = Series.model_validate({"title": "t", "axis": "x", "points": tuple(points)})
    two = table(tmp_path, result("a", 50), result("b_B", 60), result("a", 5, task="ser"))
    (plot,) = draw_overall(two, series=[series])
    assert plot.name == "00-series-1"
    assert plot.svg.count('<a class="spot') == 2
    assert not draw_overall(table(tmp_path / "one", result("a", 50)), series=[series])


def labels_of(svg: str) -> list[str]:
    return re.findall(r">([^<]+)</text>", svg)


def test_many_columns_go_below_each_other(tmp_path: Path) -> None:
    """The plot must not grow sideways without end; what is left out is said."""
    made: list[Result] = [
        result(model, 50 + n, task=f"t{task:02}")
        for task in range(14)
        for n, model in enumerate("ab")
    ]
    plot = draw_overall(table(tmp_path, *made))[0]
    assert plot.wide
    assert "first 12 of 14 columns" in plot.title
    found = labels_of(plot.svg)
    assert [f"T{task:02}" in found for task in range(14)] == [True] * 12 + [False] * 2
    assert found.count("a") == 3  # one for each band of panels
