"""Figures that may be fractions are asked back; copies of files make no difference."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.results.manage import add, check, load_folder
from harness_bench.results.record import Result, load_result, load_results, save_result
from harness_bench.scoring.publish import class_result
from tests.results.conftest import edit, metrics, predictions_of, put
from tests.results.test_record import make_result
from tests.scoring.conftest import class_rows

if TYPE_CHECKING:
    from pathlib import Path


def test_a_copy_makes_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same file under another name counts once, and is told; so is one spelled in NFD."""
    first = put(tmp_path, model="Modèle")
    for name, model in (("y.json", "Modèle"), ("z.json", "Mode\u0300le")):
        (tmp_path / name).write_bytes(first.read_bytes())
        edit(tmp_path / name, model=model)
    assert check([tmp_path]) == (3, [])
    assert load_folder(tmp_path) == ({first: load_result(first)}, [])
    told = capsys.readouterr().err
    assert all(told.count(f"{name} holds") == 2 for name in ("y.json", "z.json"))
    other = tmp_path / "other"
    assert [add(path, other)[1] for path in (first, tmp_path / "z.json")] == [True, False]
    predictions_of(first).with_name("more.jsonl").write_text('{"id": "a"}\n{"id": "c"}\n')
    edit(tmp_path / "y.json", predictions="predictions/more.jsonl")
    assert [each.file for each in check([tmp_path])[1]] == [str(tmp_path / "y.json")]


def test_a_file_without_a_time_is_a_copy_too(tmp_path: Path) -> None:
    """Written by hand it has no `created`: the time of reading makes no second result."""
    made = {"source", "model", "model_kind", "task", "corpus", "split", "synthetic"}
    text = make_result().model_dump_json(include=made | {"main_metric", "metrics"})
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(text)
    found, problems = load_results(tmp_path)
    assert (list(found), problems) == ([tmp_path / "a.json"], {})
    assert check([tmp_path]) == (2, [])
    other = tmp_path / "other"
    assert [add(tmp_path / name, other)[1] for name in ("a.json", "b.json")] == [True, False]


FRACTIONS: tuple[tuple[dict[str, Any], bool], ...] = (
    ({"metrics": metrics(0.87)}, True),
    ({"metrics": metrics(1)}, True),
    ({"metrics": metrics(0.0)}, False),
    ({"metrics": metrics(1.01)}, False),
    ({"metrics": metrics(0.5, is_percent=True)}, False),
    ({"metrics": metrics(0.5, unit="points")}, False),
    ({"metrics": metrics(0.5, interval={"low": 0.1, "high": 0.9, "method": "m"})}, True),
    ({"metrics": metrics(0.5, interval={"low": 0.1, "high": 2.5, "method": "m"})}, False),
    ({"metrics": metrics(0.5), "source": "reported", "citation": "a table"}, True),
    ({"metrics": metrics(0.5, printed="0.5"), "source": "reported", "citation": "a table"}, False),
    ({"metrics": {"wer": {"value": 0.5, "higher_is_better": False,
                          "interval": {"low": 0.1, "high": 2.5, "method": "m"}}},
      "main_metric": "wer"}, True),
    ({"metrics": metrics(50) | {"my_rate": {"value": 0.5, "higher_is_better": True}}}, True),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "asked"), FRACTIONS)
def test_a_fraction_is_asked_back(changes: dict[str, Any], asked: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """0.87 for 87 % would rank last, and a WER of 0.31 first; what is sure passes."""
    path = save_result(make_result(**changes), tmp_path)
    name = next(name for name, one in changes["metrics"].items() if one["value"] <= 2)
    found, problems = load_results(tmp_path)
    checked = check([path])[1]
    if not asked:
        assert (list(found), problems, checked) == ([path], {}, [])
        assert add(path, tmp_path / "other")[1]
        return
    assert list(problems) == [path]
    assert not found
    assert [each.field for each in checked] == [f"metrics.{name}.value"]
    assert "is_percent" in checked[0].message
    with pytest.raises(ValueError, match="is_percent"):
        add(path, tmp_path / "other")


def test_predictions_say_that_a_small_figure_is_right(tmp_path: Path) -> None:
    """The board scores them again; what we measure says so by itself."""
    assert check([put(tmp_path, metrics=metrics(0.5))])[1] == []
    rows = class_rows(count=300, seed=0, groups=10)
    rows = [row.model_copy(update={"pred": "?" if n else row.truth}) for n, row in enumerate(rows)]
    row = partial(Result, model="m", model_kind="other", task="did", corpus="c", split="test",
                  synthetic=True)  # fmt: skip
    main = class_result(rows, row).main
    assert 0 < main.value <= 1
    assert main.is_percent
