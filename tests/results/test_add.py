"""Adding: checked, never over another result unasked, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.results.add import add
from harness_bench.results.check import check
from harness_bench.results.record import load_result, load_results
from tests.results.conftest import edit, metrics, put

if TYPE_CHECKING:
    from pathlib import Path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_added_result_is_whole_and_adding_twice_is_no_change(tmp_path: Path) -> None:
    """Predictions come along; the second time says that nothing was written."""
    file, folder = put(tmp_path / "new"), tmp_path / "results"
    path, written = add(file, folder)
    assert written
    assert load_result(path) == load_result(file)
    assert check([folder]) == (1, [])
    before = snapshot(folder)
    assert add(file, folder) == (path, False)
    assert add(path, folder) == (path, False), "a file of the folder itself is there already"
    assert snapshot(folder) == before


def test_a_different_result_is_kept_unless_told(tmp_path: Path) -> None:
    """The refusal says what differs; --replace overwrites result and predictions."""
    folder = tmp_path / "results"
    path, _ = add(put(tmp_path / "old"), folder)
    file = put(tmp_path / "new", metrics=metrics(75.0))
    (tmp_path / "new" / str(load_result(file).predictions)).write_text('{"id":"c"}\n{"id":"d"}\n')
    before = snapshot(folder)
    with pytest.raises(ValueError, match=r"(?s)--replace.*accuracy.value: 50.0 -> 75.0"):
        add(file, folder)
    assert snapshot(folder) == before
    assert add(file, folder, replace=True) == (path, True)
    assert load_result(path).main.value == 75
    assert '"c"' in (folder / str(load_result(path).predictions)).read_text()


def test_other_predictions_are_another_result(tmp_path: Path) -> None:
    """The same figures over other predictions must not pass for the same result."""
    folder = tmp_path / "results"
    add(put(tmp_path / "new"), folder)
    file = put(tmp_path / "new")
    (tmp_path / "new" / str(load_result(file).predictions)).write_text('{"id":"c"}\n{"id":"d"}\n')
    with pytest.raises(ValueError, match="--replace"):
        add(file, folder)


def test_a_bad_result_is_not_added(tmp_path: Path) -> None:
    """Every problem is named, and the folder is not even made."""
    file = edit(put(tmp_path / "new"), seconds=-1, hours=-1)
    with pytest.raises(ValueError, match=r"(?s)Nothing was added.*hours.*seconds"):
        add(file, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_names_written_alike_are_kept_apart(tmp_path: Path) -> None:
    """`a b` and `a-b` make one file name: the second must not overwrite the first."""
    folder = tmp_path / "results"
    for model in ("a b", "a-b"):
        add(put(tmp_path / model, model=model), folder)
    found, problems = load_results(folder)
    assert not problems
    assert {result.model for result in found.values()} == {"a b", "a-b"}
    assert check([folder]) == (2, [])


def test_the_longest_names_fit_the_file_system(tmp_path: Path) -> None:
    """Four names of 120 Arabic letters are more bytes than a file name may have."""
    long = {name: "ن" * 119 + name[0] for name in ("model", "task", "corpus", "split")}
    path, _ = add(put(tmp_path / "new", **long), tmp_path / "results")
    other = put(tmp_path / "new", **(long | {"split": "ن" * 120}))
    second, _ = add(other, tmp_path / "results")
    assert path != second
    assert check([tmp_path / "results"]) == (2, [])


def test_a_broken_file_in_the_way_is_not_overwritten(tmp_path: Path) -> None:
    """It may be somebody's result with a typing error."""
    file, folder = put(tmp_path / "new"), tmp_path / "results"
    folder.mkdir()
    (folder / file.name).write_text("{oops")
    (folder / "other.json").write_text("{oops")
    with pytest.raises(ValueError, match="no valid result; delete it or give --replace"):
        add(file, folder)
    assert add(file, folder, replace=True) == (folder / file.name, True)
    assert (folder / "other.json").read_text() == "{oops"


def test_predictions_are_not_written_through_a_link(tmp_path: Path) -> None:
    """A folder of results from a stranger could hold a link to somewhere else."""
    file, folder, outside = put(tmp_path / "new"), tmp_path / "results", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "predictions").symlink_to(outside)
    with pytest.raises(ValueError, match="symbolic link"):
        add(file, folder)
    assert not list(outside.iterdir())
