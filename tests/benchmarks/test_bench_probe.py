"""The probe's benchmark must refuse to compare runs of different results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.bench_probe import RESULTS, require_equal_bits, require_equal_results
from harness_bench.core.files import write_jsonl

if TYPE_CHECKING:
    from pathlib import Path

ROW = {"step": 5, "split": "dev", "loss": 1.5, "accuracy": 25.0}


def run(folder: Path, **changes: Any) -> Path:
    write_jsonl(folder / RESULTS[0], [ROW, ROW | changes])
    write_jsonl(folder / RESULTS[1], [{"id": "a"}])
    return folder


def test_rounding_alone_may_lie_between_ours_and_s3prls(tmp_path: Path) -> None:
    require_equal_results(run(tmp_path / "a"), run(tmp_path / "b", loss=1.5001))
    with pytest.raises(RuntimeError, match="differ"):
        require_equal_bits(tmp_path / "a", tmp_path / "b")
    require_equal_bits(tmp_path / "a", run(tmp_path / "c"))


@pytest.mark.parametrize("changes", [{"loss": 1.6}, {"accuracy": 50.0}, {"more": 1}, {"step": 6}])
def test_any_other_difference_is_an_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A cache that speeds up a worse training is no gain."""
    with pytest.raises(RuntimeError):
        require_equal_results(run(tmp_path / "a"), run(tmp_path / "b", **changes))


def test_missing_rows_are_an_error(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a" / RESULTS[0], [ROW])
    with pytest.raises(RuntimeError, match="2 rows of measures"):
        require_equal_results(run(tmp_path / "b"), tmp_path / "a")
