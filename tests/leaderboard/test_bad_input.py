"""Results from strangers: bad files are listed and hide nothing, good ones cannot do harm."""

import csv
import html
import io
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness_bench.leaderboard.build import PAPER, LeaderboardFiles, build, make_board

from harness_bench.cli import app
from harness_bench.core.sanitize import canonical
from harness_bench.results.record import save_result
from tests.leaderboard.conftest import built_of, result, write_results

SCRIPT = "<script>alert(1)</script>"


def csv_rows(files: LeaderboardFiles) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files.csv.read_text(encoding="utf-8"))))


def put_bad_files(folder: Path) -> set[str]:
    """Put every kind of bad file into a folder; return their names."""
    good = json.loads(save_result(result("good"), folder).read_text())
    texts = {
        "cut.json": '{"model": "cut',
        "deep.json": "[" * 100_000,
        f"{SCRIPT.replace('/', '')}.json": json.dumps(good | {SCRIPT: 1}),
        "=cmd().json": json.dumps(good | {"model": "nan", "seconds": float("nan")}),
        "outside.json": json.dumps(good | {"model": "out", "predictions": "../../x"}),
        "linked.json": json.dumps(good | {"model": "link", "predictions": "link/passwd"}),
        "\x1b[2J\udcff.json": "not text",
        "twice.json": json.dumps(good | {"seconds": 5.0}),
        "paper.json": json.dumps(
            json.loads((PAPER / "HArnESS-L.did.ADI5.test.json").read_text())
            | {"metrics": {"accuracy": {"value": 99.9, "higher_is_better": True}}}
        ),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, errors="surrogateescape")
    (folder / "link").symlink_to("/etc")
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    return {"[2J.json" if "\x1b" in name else name for name in texts} | {"pipe.json", "folder.json"}


def test_bad_files_are_listed_and_everything_else_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the page, in the Markdown, on stderr and in the exit status; the good rows are there."""
    folder, out = tmp_path / "results", tmp_path / "out"
    bad = put_bad_files(folder)
    monkeypatch.setattr(sys, "argv", ["x", "leaderboard", "build", str(folder), str(out)])
    with pytest.raises(SystemExit) as stop:
        app.main()
    assert stop.value.code == 1
    output = capsys.readouterr()
    page = (out / "index.html").read_text(encoding="utf-8")
    left_out = html.unescape(page.partition("Result files left out")[2])
    markdown = (out / "leaderboard.md").read_text(encoding="utf-8")
    for name in bad:
        assert f"<code>{name}</code>: " in left_out
        assert f"left out: {name}: " in output.err
    assert "\x1b" not in output.err + page + markdown
    assert "Result files left out" in markdown
    for field in ("seconds: ", "predictions: ", "symbolic link", "shown as the paper prints it"):
        assert field in left_out
    assert ">good</a>" in page
    assert "84.98" in page
    assert "99.9" not in page.partition("Result files left out")[0]
    assert list(csv.DictReader(io.StringIO((out / "leaderboard.csv").read_text())))
    assert r"\bottomrule" in (out / "leaderboard.tex").read_text()
    assert list(out.glob("*-bars.png"))


def test_a_script_as_a_name_is_text_everywhere(tmp_path: Path) -> None:
    """Page, Markdown, CSV and LaTeX: the very name of the rule."""
    files = built_of(tmp_path, result(SCRIPT))
    page = files.html.read_text(encoding="utf-8")
    assert SCRIPT not in page
    assert html.escape(SCRIPT) in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in files.markdown.read_text(encoding="utf-8")
    assert SCRIPT not in files.markdown.read_text(encoding="utf-8")
    assert [row["model"] for row in csv_rows(files)] == [SCRIPT]
    assert SCRIPT in files.latex.read_text(encoding="utf-8"), "no character of it is special there"


def test_a_formula_as_a_name_is_text_in_a_spreadsheet(tmp_path: Path) -> None:
    """Wherever a result brings text into a cell, behind blanks and invisible letters as well."""
    signs = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the wide forms too
    fields = ("task", "corpus", "pretraining_data", "citation", "split_digest")
    for sign in signs:
        text = f" \u200b{sign}HYPERLINK({ord(sign)})"  # a wide sign is no other name
        changes: dict[str, Any] = dict.fromkeys(fields, text)
        save = result(text, **changes)
        (tmp_path / f"{ord(sign)}.json").write_text(save.model_dump_json())
    rows = csv_rows(build(tmp_path, tmp_path / "out", title="t", include_reported=False))
    for field in fields:
        assert {row[field] for row in rows} == {f"'{sign}HYPERLINK({ord(sign)})" for sign in signs}
    assert {row["model"] for row in rows} == {
        f"'{canonical(sign)}HYPERLINK({ord(sign)})" for sign in signs
    }


def test_latex_escapes_commands(tmp_path: Path) -> None:
    """A name must not read a file of whoever compiles the table."""
    files = built_of(tmp_path, result(r"\input{/etc/passwd}%_&#^~$"))
    text = files.latex.read_text(encoding="utf-8")
    assert r"\input" not in text
    assert r"\textbackslash{}input\{/etc/passwd\}\%\_\&\#\textasciicircum{}" in text


def test_extreme_but_valid_results_are_drawn(tmp_path: Path) -> None:
    """What the schema lets through must not stop a table or a plot."""
    free = partial(result, metric="score")
    extremes = (
        free("x" * 120, 1e9, parameters=10**15, seconds=1e9, created="0001-01-01T00:00:00Z"),
        free("نموذج 😀" + "\u0301" * 90, -1e9, parameters=0, seed=-(2**63)),
        free("tiny", 5e-324, parameters=1, created="9999-12-31T23:59:59-23:59"),
        free("$\\frac{", -0.0, task="${x", hours=1e9, utterances=10**12),
    )
    assert len(built_of(tmp_path, *extremes).board.measured.rows) == len(extremes)


def test_names_that_look_the_same_do_not_share_a_row(tmp_path: Path) -> None:
    """An invisible letter would put one stranger's figure into another model's row."""
    for number, (name, value) in enumerate((("model", 10), ("mod\u200bel", 99))):
        (tmp_path / f"{number}.json").write_text(result(name, value).model_dump_json())
    board = make_board(tmp_path, title="t", include_reported=False)
    assert len(board.problems) == 1
    assert len(board.measured.rows) == 1


def test_predictions_nested_too_deeply_cost_a_mark_alone(tmp_path: Path) -> None:
    """They are read for the mark of a tie, and must not take the page with them."""
    write_results(tmp_path)
    (tmp_path / "predictions/fbank.did.tones.test.jsonl").write_text("[" * 100_000)
    board = make_board(tmp_path, title="t")
    assert any("could not be compared" in note for note in board.measured.notes)


def test_the_papers_rows_are_shown_once(tmp_path: Path) -> None:
    """Building from the committed rows or a copy must neither double them nor call them bad."""
    (tmp_path / "empty").mkdir()
    shutil.copytree(PAPER, tmp_path / "copy")
    expected = make_board(tmp_path / "empty", title="t").reported
    for folder in (PAPER, tmp_path / "copy"):
        board = make_board(folder, title="t")
        assert not board.problems
        assert board.reported == expected


def test_equal_names_hide_no_problem(tmp_path: Path) -> None:
    """A curve file may be called as a result is, and two names may look the same."""
    (tmp_path / "curves").mkdir()
    for name in ("a.json", "a\u200b.json", "curves/a.json"):
        (tmp_path / name).write_text("{")
    files = build(tmp_path, tmp_path / "out", title="b", include_reported=False)
    assert list(files.problems) == ["a.json", "a.json (2)", "curves/a.json"]
