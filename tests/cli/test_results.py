"""`harness-bench results ...`: what is printed, for people and programs, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.results.record import schema_text
from tests.results.conftest import edit, metrics, put

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, str, str]]
SCHEMA = Path(__file__).parents[2] / "docs" / "result.schema.json"


def test_schema_is_the_committed_one(run: Run) -> None:
    """`harness-bench results schema > docs/result.schema.json` after every change of the record."""
    assert run("results", "schema") == (0, SCHEMA.read_text(encoding="utf-8"), "")
    assert schema_text() == SCHEMA.read_text(encoding="utf-8")
    assert json.loads(schema_text())["$schema"].endswith("2020-12/schema")


def test_validate(run: Run, tmp_path: Path) -> None:
    """0 where all is well; 1 and every problem where one file is bad."""
    put(tmp_path)
    assert run("results", "validate", tmp_path) == (
        0,
        "1 files checked, 0 problems in 0 of them\n",
        "",
    )
    bad = edit(put(tmp_path, model="bad"), hours=-1, seconds=-1)
    code, out, _ = run("results", "validate", tmp_path)
    assert code == 1
    assert f"{bad}: hours: " in out
    assert out.endswith("2 files checked, 2 problems in 1 of them\n")
    code, out, _ = run("results", "validate", tmp_path, tmp_path / "absent", "--json")
    found = json.loads(out)
    assert (code, found["files"]) == (1, 3)
    assert [each["field"] for each in found["problems"]] == ["hours", "seconds", "file"]


def test_add(run: Run, tmp_path: Path) -> None:
    """Added, already there, refused, replaced."""
    folder = tmp_path / "results"
    file = put(tmp_path / "new")
    assert run("results", "add", file, folder) == (0, f"added: {folder / file.name}\n", "")
    assert run("results", "add", file, folder)[1].startswith("already there")
    put(tmp_path / "new", metrics=metrics(51.0))
    code, out, err = run("results", "add", file, folder)
    assert (code, out) == (2, "")
    assert "--replace" in err
    assert run("results", "add", file, folder, "--replace")[0] == 0


def test_list(run: Run, tmp_path: Path) -> None:
    """A broken file goes to stderr and into the exit status, never into the table."""
    put(tmp_path)
    code, out, _ = run("results", "list", tmp_path, "--json", "--task", "did")
    assert (code, [row["model"] for row in json.loads(out)]) == (0, ["tiny"])
    (tmp_path / "bad.json").write_text("{oops")
    code, out, err = run("results", "list", tmp_path, "--model", "tiny")
    assert code == 1
    assert "tiny" in out
    assert "bad.json" in err
    assert "bad.json" not in out


def test_diff(run: Run, tmp_path: Path) -> None:
    """As of `diff`: 0 where nothing differs, 1 where something does."""
    first, second = tmp_path / "first", tmp_path / "second"
    put(first)
    put(second)
    assert run("results", "diff", first, second) == (0, "", "")
    put(second, metrics=metrics(60.0))
    code, out, _ = run("results", "diff", first, second, "--json")
    assert code == 1
    (found,) = json.loads(out)
    assert (found["kind"], found["first"], found["second"]) == ("changed", 50, 60)
    assert "50.0 -> 60.0" in run("results", "diff", first, second)[1]
