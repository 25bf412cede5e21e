"""Markdown, CSV, LaTeX and terminal: well-formed whatever the names, marks where they belong."""

import csv
import io
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness_bench.leaderboard import board
from harness_bench.leaderboard.build import LeaderboardFiles, build, make_board
from harness_bench.leaderboard.tables import latex, legend, markdown, render_terminal, to_csv
from rich.console import Console

from harness_bench.results.record import Exported, Interval, Leakage, Metric, Result, save_result
from tests.leaderboard.conftest import MODELS, built_of, result, write_results


def unescaped(text: str, char: str) -> int:
    """Count a character where no backslash escapes it."""
    return len(re.findall(rf"(?<!\\)(?:\\\\)*{re.escape(char)}", text))


def test_latex_is_well_formed(built: LeaderboardFiles) -> None:
    """Every line has its columns, every brace its partner, every environment its end."""
    text = built.latex.read_text(encoding="utf-8")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert unescaped(text, "{") == unescaped(text, "}")
    for block in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        lines = [line for line in block.splitlines() if line.endswith(r"\\")]
        lines = [line for line in lines if r"\multicolumn" not in line]
        assert len({unescaped(line, "&") for line in lines}) == 1
        assert r"\textbf{" in block
        assert r"\underline{" in block
    body = text[text.index(r"\begin") :]
    assert unescaped(body, "$") % 2 == 0
    assert unescaped(body.replace("% reported", ""), "%") == 0
    assert text.isprintable() or "\u202e" not in text


def test_markdown_is_well_formed(built: LeaderboardFiles) -> None:
    """Each table's lines have equally many cells, and HTML in names is dead."""
    text = built.markdown.read_text(encoding="utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({unescaped(line, "|") for line in block.splitlines()}) == 1
    assert "<script" not in text
    assert "Synthetic data" in text
    assert "## Reported elsewhere" in text
    assert "broken" in text
    for name in re.findall(r"^!\[.*\]\((\S+)\)$", text, re.MULTILINE):
        assert (built.markdown.parent / name).is_file()
    assert text.count("![") == len(built.plots)


def test_csv_carries_everything(built: LeaderboardFiles) -> None:
    """One line per metric, figures at full precision, no formula for a spreadsheet."""
    assert list(built.problems) == ["broken <b>.json"]
    rows = list(csv.DictReader(io.StringIO(built.csv.read_text(encoding="utf-8"))))
    assert {row["source"] for row in rows} == {"measured", "reported"}
    measured = [row for row in rows if row["source"] == "measured"]
    assert len(measured) == len(MODELS) * 3 + 3 * 2
    assert all(row["low"] and row["high"] and row["parameters"] for row in measured)
    assert all(row["citation"] for row in rows if row["source"] == "reported")
    assert not [value for row in rows for value in row.values() if value[:1] in {"=", "+", "@"}]


def test_terminal_shows_every_model(built: LeaderboardFiles) -> None:
    """The demo ends with this table; markup in names must not be obeyed."""
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_terminal(built.board))
    text = console.export_text()
    assert "synthetic" in text
    assert all(re.sub(r"\s+", " ", name)[:20] in text for name in MODELS)


def test_best_is_best_in_both_directions(built: LeaderboardFiles) -> None:
    """Accuracy rises and WER falls: a mark on the wrong end would crown the worst."""
    for table in (built.board.measured, built.board.reported):
        for column in table.columns:
            places = {cell.metric.value: cell.place for _, cell in table.entries(column)}
            best = (max if column.higher_is_better else min)(places)
            assert [value for value, place in places.items() if place == 1] == [best]


def test_ties_with_the_best(built: LeaderboardFiles) -> None:
    """The three text systems are one and the same; of classes one is far behind: no tie."""
    table = built.board.measured
    asr, did = (next(c for c in table.columns if c.task == task) for task in ("asr", "did"))
    cells = [cell for _, cell in table.entries(asr)]
    assert [cell.place for cell in cells] == [1, 1, 1]
    assert sum(cell.tied for cell in cells) == 2
    assert not asr.synthetic
    (loser,) = (cell for row, cell in table.entries(did) if row.model == "fbank")
    assert not loser.tied
    assert loser.best is not None


def test_other_splits_and_reported_rows_are_options(tmp_path: Path) -> None:
    """Test figures by default; dev figures only when asked for, counted otherwise."""
    write_results(tmp_path, split="dev")
    assert not make_board(tmp_path, title="b", include_reported=False).measured.rows
    board = make_board(tmp_path, title="b", include_reported=False, split="dev")
    assert len(board.measured.rows) == len(MODELS)
    assert not board.reported.rows
    assert make_board(tmp_path, title="b").hidden == {"dev": 7}


def test_different_utterances_are_told(tmp_path: Path) -> None:
    """Two models scored on different utterances of one split cannot share a column unnoticed."""
    write_results(tmp_path)
    path = tmp_path / "fbank.did.tones.test.json"
    path.write_text(path.read_text().replace('"split_digest": "', '"split_digest": "x'))
    board = make_board(tmp_path, title="b")
    assert any("2 different sets of utterances" in note for note in board.measured.notes)


def test_an_empty_folder_builds_and_stale_plots_go(tmp_path: Path) -> None:
    """The very first page, before any result: no error, and no plot of an older build."""
    stale = tmp_path / "out" / "07-did-old-bars.png"
    stale.parent.mkdir()
    own = stale.with_name("2024-06-my-photo.png")
    stale.touch()
    own.touch()
    files = built_of(tmp_path)
    assert not files.plots
    assert "no result" in files.html.read_text(encoding="utf-8")
    assert not stale.exists()
    assert own.exists(), "a picture that no build made"


def test_an_exported_graph_stands_beside_its_parent(tmp_path: Path) -> None:
    """A row of its own, with what exporting cost on the same utterances."""
    change = Interval(low=-1.5, high=0.5, method="paired bootstrap over 20 utterances")
    made = Exported(
        runtime="onnx-int8", parent="whole", parent_digest="ab", max_difference=0.25,
        difference=-0.5, interval=change,
    )  # fmt: skip
    small = result("whole (onnx-int8)", 59.5).model_copy(update={"exported": made})
    files = built_of(tmp_path, result("whole", 60), small)
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(files.csv.read_text("utf-8")))}
    found = rows["whole (onnx-int8)"]
    assert (found["runtime"], found["parent"]) == ("onnx-int8", "whole")
    assert found["minus_parent"] == "-0.5"
    assert (found["minus_parent_low"], rows["whole"]["parent"]) == ("-1.5", "")
    assert "onnx-int8 of whole: \u22120.50" in files.html.read_text(encoding="utf-8")


def test_the_spread_over_seeds_stands_beside_the_figure(tmp_path: Path) -> None:
    """A mean over seeds is read with its standard deviation, wherever the board is written."""
    several = result("three_seeds", 60)
    metric = several.main.model_copy(update={"spread": 3.25})
    several = several.model_copy(update={"metrics": {"accuracy": metric}})
    files = built_of(tmp_path, several, result("one_seed", 50))
    text = files.markdown.read_text(encoding="utf-8")
    assert "**60.0** ± 3.2 [59.0, 61.0]" in text
    assert "50.0</ins> [49.0, 51.0]" in text
    assert r"\scriptsize $\pm$ 3.2 [59.0, 61.0]" in files.latex.read_text(encoding="utf-8")
    assert "± 3.2 [59.0, 61.0]" in files.html.read_text(encoding="utf-8")
    spreads = [row["spread"] for row in csv.DictReader(io.StringIO(files.csv.read_text("utf-8")))]
    assert sorted(spreads) == ["", "3.25"]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_terminal(files.board))
    assert "± 3.2 [59.0, 61.0]" in console.export_text()


def leaky(model: str, value: float, verdict: str | None, **fields: Any) -> Result:
    """Make a result with a verdict on its training data."""
    leakage = None if verdict is None else {"verdict": verdict}
    return result(model, value, leakage=leakage, **fields)


def test_leaks_are_marked_by_word_and_sign(tmp_path: Path) -> None:
    """A model that has heard the test set leads many boards; whoever copies a table must see it."""
    files = built_of(
        tmp_path, leaky("cheat", 90, "shared"), leaky("cheat", 40, "clean", task="ser"),
        leaky("honest", 80, "clean"), leaky("honest", 50, "clean", task="ser"),
        leaky("unknown", 70, None), leaky("unknown", 30, "clean", task="ser"),
    )  # fmt: skip
    text, tex = (path.read_text(encoding="utf-8") for path in (files.markdown, files.latex))
    lines = {line.split(" |")[0][2:]: line for line in text.splitlines() if line.startswith("| ")}
    cheat, honest, unknown = (lines[each] for each in ("cheat † leaks", "honest", "unknown"))
    assert "| shared |" in cheat
    assert "**90.0**†" in cheat
    assert "40.0†" not in cheat
    assert "| clean |" in honest
    assert "| not checked |" in unknown
    assert "†" not in honest + unknown
    assert "† leaks: " in text.partition("Bold: ")[2]
    assert r"cheat $\dagger$ leaks &" in tex
    assert r"\textbf{90.0}$\dagger$" in tex
    assert tex.count(r"\footnotesize $\dagger$ leaks: ") == 1
    rows = csv.DictReader(io.StringIO(files.csv.read_text(encoding="utf-8")))
    found = {(row["model"], row["task"]): (row["leakage"], row["leaking"]) for row in rows}
    assert found["cheat", "did"] == ("shared", "True")
    assert found["cheat", "ser"] == ("clean", "True")
    assert found["unknown", "did"] == ("not checked", "False")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_terminal(files.board))
    assert "cheat † leaks" in console.export_text()


def test_leaking_models_are_left_out_of_ranks_if_asked_for(tmp_path: Path) -> None:
    """All of a model goes, by any spelling of its name, and it is said which."""
    honest = [leaky(name, value, None) for name, value in (("a", 80), ("b", 70))]
    cheat = [leaky("che\u200bat", 90, "shared"), leaky("cheat", 99, "clean", task="ser")]
    for each in (*honest, *cheat):
        save_result(each, tmp_path)
    board = make_board(tmp_path, title="b", include_reported=False)
    assert {row.model: row.complete for row in board.measured.rows}["cheat"]
    assert (board.measured.rows[0].model, board.hidden_leaking) == ("cheat", ())
    board = make_board(tmp_path, title="b", include_reported=False, hide_leaking=True)
    assert [(row.model, row.mean_rank) for row in board.measured.rows] == [("a", 1), ("b", 2)]
    assert board.hidden_leaking == ("cheat",)
    assert len(board.measured.columns) == 1
    assert "they leak: cheat" in markdown(board)
    assert "they leak: cheat" in latex(board)


def test_partial_models_stand_below_a_rule(tmp_path: Path) -> None:
    """Markdown has a heading there and LaTeX a rule; ranks in the columns are all they have."""
    whole = [result(name, value, task=task) for task in ("did", "ser")
             for name, value in (("a", 80), ("b", 70))]  # fmt: skip
    files = built_of(tmp_path, *whole, result("one", 90, task="ser"))
    above, _, below = files.markdown.read_text(encoding="utf-8").partition("### ")
    assert "| a |" in above
    assert "| one |" not in above
    (line,) = (line for line in below.splitlines() if line.startswith("| one |"))
    assert "| – (1/2) | – | **90.0** [89.0, 91.0] <sup>1</sup> |" in line
    _, top, bottom = files.latex.read_text(encoding="utf-8").split(r"\midrule")
    assert "one" not in top
    assert r"\textsuperscript{1}" in bottom
    assert r"\textsuperscript" not in top


@pytest.mark.parametrize(
    ("value", "word"), [(15.5, "equal"), (15.46, "equal"), (14.0, "better"), (20.0, "worse")]
)
def test_csv_tells_ranks_and_what_the_paper_had(value: float, word: str, tmp_path: Path) -> None:
    """Better and worse follow the metric's direction; one digit is what tables show."""
    made = result("HArnESS-L", value, task="asr", metric="wer", corpus="MGB2",
                  paper_url="https://a.example/p", licence="MIT")  # fmt: skip
    save_result(made, tmp_path)
    board = make_board(tmp_path, title="b")
    lines = csv.DictReader(io.StringIO(to_csv(board)))
    (row,) = (row for row in lines if row["source"] == "measured")
    assert (row["against_paper"], row["paper"]) == (word, "15.5")
    assert (row["among"], row["rank"], row["mean_rank"]) == ("1", "1", "")
    assert (row["paper_url"], row["licence"]) == ("https://a.example/p", "MIT")
    assert f"| {word} |" in markdown(board)
    (model,) = board.measured.rows
    assert (model.links, model.licence) == ({"paper": "https://a.example/p"}, "MIT")


def test_the_legend_explains_what_the_board_has_alone(tmp_path: Path) -> None:
    """Marks, intervals and leaks that no row has are not explained; ranks always are."""
    marks = ("[low, high]", "≈", "±", "1–3", "† leaks", "Not checked", "SUPERB")
    paper = legend(make_board(tmp_path, title="the paper's"))
    assert not [mark for mark in marks if mark in paper]
    assert all(word in paper for word in ("Bold", "Mean rank", "(2/3)"))
    whole = write_results(tmp_path / "results")
    shared = Leakage(verdict="shared", compared_with=("train",), detail="1 utterance")
    spread = Metric(value=9, higher_is_better=True, unit="%", spread=0.5)
    save_result(result("leaky", leakage=shared, metrics={"accuracy": spread}), whole)
    told = legend(make_board(whole, title="all", include_reported=False))
    assert [mark for mark in marks if mark not in told] == []


def test_a_board_without_its_date_has_no_clock_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal results give equal pages, whenever they are built."""
    folder = write_results(tmp_path / "results")
    pages = []
    for year in (2070, 2071):
        now = datetime(year, 1, 1, tzinfo=UTC)
        monkeypatch.setattr(board, "datetime", SimpleNamespace(now=lambda _, at=now: at))
        for dated in (False, True):
            files = build(folder, tmp_path / f"{year}{dated}", dated=dated)
            texts = [path.read_text() for path in (files.html, files.markdown)]
            assert all((f"{year}-01-01" in text) == dated for text in texts)
            pages += [] if dated else [texts]
    assert pages[0] == pages[1]
