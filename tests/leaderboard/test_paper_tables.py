"""Tables of the paper with ours: every printed figure, every difference, LaTeX that is whole."""

import re
from pathlib import Path

import pytest
from harness_bench.leaderboard.build import PAPER
from harness_bench.leaderboard.paper_tables import (
    DIFFERENCE,
    PRINTED,
    LaidCell,
    LaidTable,
    LayoutColumn,
    LayoutRow,
    TableLayout,
    latex,
    lay_out,
    load_layouts,
    markdown,
    mean_of,
)

from harness_bench.results.record import Interval, Metric, Result, load_results
from tests.leaderboard.conftest import HOSTILE, result
from tests.leaderboard.test_tables import unescaped

LAYOUTS = load_layouts(Path(__file__).parents[2] / "egs" / "paper" / "tables.toml")
PRINTED_ROWS = [*load_results(PAPER)[0].values()]
LAYOUT = TableLayout(
    name="t", caption="A & B", compressed="large",
    columns=(
        LayoutColumn(group="MGB2", head="WER", task="asr", paper="MGB2"),
        LayoutColumn(group="ADI5", head="all", task="did", paper="ADI5"),
        LayoutColumn(group="ADI5", head="half", task="did", paper="ADI5", corpus="half",
                     compared=False),
    ),
    rows=(
        LayoutRow(label="S", paper="HArnESS-S", ours=("wide", HOSTILE), compression="79.4"),
        LayoutRow(label="none of the paper's", ours=("large",)),
    ),
)  # fmt: skip


def lines_of(table: LaidTable) -> dict[str, list[str]]:
    """Return the texts of the lines by their second cell, those of one name in a row."""
    found: dict[str, list[str]] = {}
    for line in (line for block in table.blocks for line in block):
        found.setdefault(line[1].text, []).extend(cell.text for cell in line[2:])
    return found


def made(**figures: float | None) -> list[Result]:
    """Make our results: WER of the wide model, with an interval of 2, and accuracies."""
    wide = result("wide", figures.get("wer") or 0, task="asr", metric="wer", corpus="MGB2",
                  parameters=63_000_000)  # fmt: skip
    half = result("wide", 60, corpus="half", parameters=63_000_000)
    return [*([wide] if figures.get("wer") else []), half]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_figure_of_the_paper_stands_where_it_prints_it(layout: TableLayout) -> None:
    """A model or corpus misspelt in the layout would print a dash in place of the figure."""
    table = lay_out(layout, PRINTED_ROWS, {})
    known = {(r.model, r.task, r.corpus): r.main for r in PRINTED_ROWS}
    for row, block in zip(layout.rows, table.blocks, strict=True):
        if not row.paper:
            assert all(line[1].text != PRINTED for line in block)
            continue
        figures = block[0][4:]
        for column, cell in zip(layout.columns, figures, strict=True):
            metric = known.get((row.paper, column.task, column.paper))
            assert (cell.text == "–") == (not column.compared)
            if column.compared:
                assert metric is not None
                assert float(cell.text) == metric.value
    assert {row.paper for row in layout.rows} <= {r.model for r in PRINTED_ROWS} | {""}


def test_without_results_all_of_ours_are_dashes() -> None:
    """What was not measured must not look like a figure, nor as if it had been compared."""
    for layout in LAYOUTS:
        found = lines_of(lay_out(layout, PRINTED_ROWS, {}))
        ours = {name for row in layout.rows for name in row.ours}
        assert ours <= found.keys()
        assert {text for name in ours for text in found[name]} == {"–"}
        assert DIFFERENCE not in found


def test_differences_carry_the_interval_of_ours() -> None:
    """Ours minus the paper's 20.20, shifted by it; bold only where 0 lies outside."""
    for wer, text, small, bold in (
        (20.7, "+0.5", "[\u22120.5, 1.5]", False),
        (18.2, "\u22122.0", "[\u22123.0, \u22121.0]", True),
    ):
        table = lay_out(LAYOUT, [*made(wer=wer), *PRINTED_ROWS], {})
        (line,) = (x for block in table.blocks for x in block if x[1].text == DIFFERENCE)
        assert (line[4].text, line[4].small, line[4].bold) == (text, small, bold)
        # The paper has nothing to compare the half with, and of the whole nothing was measured.
        assert line[5:] == (LaidCell(), LaidCell())
        assert lines_of(table)["wide"][2:] == [f"{wer:.1f}", "–", "60.0"]


def test_an_interval_without_width_claims_nothing() -> None:
    """One utterance, or all alike: its spread is unknown, so no difference is certain."""
    found = made(wer=30)
    known = found[0].main.interval
    assert known is not None
    alone = known.model_copy(update={"low": 30, "high": 30})
    metric = found[0].main.model_copy(update={"interval": alone})
    one = found[0].model_copy(update={"metrics": {found[0].main_metric: metric}})
    table = lay_out(LAYOUT, [one, *found[1:], *PRINTED_ROWS], {})
    (line,) = (x for block in table.blocks for x in block if x[1].text == DIFFERENCE)
    assert (line[4].text, line[4].small, line[4].bold) == ("+9.8", "", False)


def test_both_counts_of_parameters() -> None:
    """With the pretraining head, as the paper counts, and the exported upstream alone."""
    counts = {"large": 316_993_408, "wide": 65_068_928}
    found = lines_of(lay_out(LAYOUT, [*made(wer=20), *PRINTED_ROWS], counts))
    assert found[PRINTED][:2] == ["65 M", "79.4"]
    assert found["wide"][:2] == ["65.1 M", "79.47"]
    assert found["large"][:2] == ["317 M", "–"]
    table = lay_out(LAYOUT, [*made(wer=20), *PRINTED_ROWS], {})
    assert lines_of(table)["wide"][:2] == ["(63 M)", "–"]


def test_a_mean_over_seeds_shows_its_spread_and_another_metric_can_be_chosen() -> None:
    """MGB-3 has two readings of its WER; the result ranks by one of them."""
    column = LayoutColumn(group="MGB3", task="asr", paper="MGB3", metric="av_wer")
    metrics = {
        "mr_wer": Metric(value=40, higher_is_better=False),
        "av_wer": Metric(value=52, higher_is_better=False, spread=0.75,
                         interval=Interval(low=50, high=54, method="made up")),
    }  # fmt: skip
    ours = result("wide", corpus="MGB3", task="asr", metrics=metrics, main_metric="mr_wer")
    layout = TableLayout(name="t", caption="c", columns=(column,), rows=LAYOUT.rows)
    table = lay_out(layout, [ours, *PRINTED_ROWS], {})
    cells = {line[1].text: line[-1] for block in table.blocks for line in block}
    assert (cells["wide"].text, cells["wide"].small) == ("52.0", "± 0.8 [50.0, 54.0]")
    assert cells[DIFFERENCE].text == "\u22120.8"


def test_seeds_of_asr_are_averaged() -> None:
    """Each seed is a result of its own; a table of single seeds would be chance."""
    seeds = {"test": 19.0, "test.seed1": 20.0, "test.seed2": 22.5, "dev.seed1": 90.0}
    ours = [
        result("wide", value, task="asr", metric="wer", corpus="MGB2", split=split)
        for split, value in seeds.items()
    ]
    table = lay_out(LAYOUT, [*reversed(ours), *PRINTED_ROWS], {})
    cells = {line[1].text: line[4] for block in table.blocks for line in block}
    assert cells["wide"] == LaidCell("20.5", "± 1.8 [19.5, 21.5]")
    assert cells[DIFFERENCE].text == "+0.3"
    one = ours[0].main
    assert mean_of([one]) == one
    bare = one.model_copy(update={"interval": None})
    assert mean_of([one, bare]).interval is None


def hold_together(text: str) -> None:
    """Every line has its columns, every brace its partner, every environment its end."""
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert unescaped(text, "{") == unescaped(text, "}")
    assert unescaped(text, "$") % 2 == 0
    (spec,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    body = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    for line in rows:
        wide = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
        assert unescaped(line, "&") + wide == len(spec) - 1, line
    last = [int(n) for n in re.findall(r"\\cmidrule\(lr\)\{\d+-(\d+)\}", text)]
    assert last == sorted(last)
    assert max(last, default=0) <= len(spec)


def test_latex_and_markdown_hold_together() -> None:
    """Whatever the names: one cell more or less, and no LaTeX reads it."""
    tables = [lay_out(layout, PRINTED_ROWS, {}) for layout in LAYOUTS]
    for table in (*tables, lay_out(LAYOUT, [*made(wer=18), *PRINTED_ROWS], {})):
        text = latex(table)
        hold_together(text)
        assert unescaped(text.partition("\n")[2].replace("{%\n", ""), "%") == 0
        page = markdown(table)
        assert len({unescaped(line, "|") for line in page.splitlines() if line[:1] == "|"}) == 1
        assert "<script" not in page


def test_synthetic_speech_is_told() -> None:
    """A table of made speech beside the paper's must not pass for a comparison of models."""
    real, *_ = made(wer=20)
    assert "synthetic" not in latex(lay_out(LAYOUT, [real], {}))
    made_up = real.model_copy(update={"synthetic": True, "corpus": "synthetic MGB2"})
    table = lay_out(LAYOUT, [made_up], {})
    assert "synthetic" in latex(table)
    assert lines_of(table)["wide"][2] == "20.0"


def test_what_a_layout_gets_wrong_is_named(tmp_path: Path) -> None:
    """A misspelt key would leave a column out."""
    path = tmp_path / "tables.toml"
    wrong = {
        "corpsu": '[[tables]]\nname = "t"\ncaption = "c"\nrows = [{ label = "x" }]\n'
        '[[tables.columns]]\ngroup = "g"\ntask = "asr"\npaper = "MGB2"\ncorpsu = "x"\n',
        "tables": "tables = []\n",
    }
    for name, text in wrong.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=name):
            load_layouts(path)


def test_names_are_found_however_they_are_composed() -> None:
    """A layout typed in NFD means the results of the same name in NFC, theirs and ours."""
    row = LayoutRow(label="S", ours=("Mode\u0300le",))
    column = LayoutColumn(group="g", task="did", paper="Corpus e\u0301tendu")
    layout = TableLayout(name="t", caption="c", columns=(column,), rows=(row,))
    ours = result("Mod\u00e8le", 61, corpus="Corpus \u00e9tendu", parameters=2_000_000)
    (line,) = lay_out(layout, [ours], {}).blocks[0]
    assert [cell.text for cell in line[2:]] == ["(2 M)", "61.0"]
