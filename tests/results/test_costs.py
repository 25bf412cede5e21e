"""Writing costs: into the results of the checkpoint, and nothing else of them or of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.results.costs import write_costs
from harness_bench.results.record import Costs, load_results
from tests.results.conftest import put

if TYPE_CHECKING:
    from pathlib import Path

DIGEST, OTHER = "a" * 32, "b" * 32
COSTS = Costs(real_time_factor=0.01, macs_per_second=2e9, disk_bytes=10, hardware="a machine")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def values(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_only_costs_of_that_checkpoint_change(tmp_path: Path) -> None:
    """Strangers, results without a digest and reported ones stay byte for byte."""
    own = [put(tmp_path, split=split, checkpoint_digest=DIGEST) for split in ("dev", "test")]
    others = [
        put(tmp_path, model="other", checkpoint_digest=OTHER),
        put(tmp_path, model="none", checkpoint_digest=None),
        put(tmp_path, model="paper", source="reported", citation="x", checkpoint_digest=DIGEST),
    ]
    before = {path: values(path) for path in own}
    untouched = {path: path.read_bytes() for path in others}
    assert write_costs(tmp_path, {DIGEST: COSTS}) == {DIGEST: 2}
    for path in own:
        assert values(path) == before[path] | {"costs": COSTS.model_dump(mode="json")}
    assert {path: path.read_bytes() for path in others} == untouched
    assert all(result.costs == COSTS for path, result in load_results(tmp_path)[0].items()
               if path in own)  # fmt: skip


def test_twice_is_once_and_new_costs_replace(tmp_path: Path) -> None:
    """The second time not even the files' times change."""
    path = put(tmp_path, checkpoint_digest=DIGEST)
    write_costs(tmp_path, {DIGEST: COSTS})
    before, written = contents(tmp_path), path.stat().st_mtime_ns
    assert write_costs(tmp_path, {DIGEST: COSTS}) == {DIGEST: 1}
    assert (contents(tmp_path), path.stat().st_mtime_ns) == (before, written)
    newer = COSTS.model_copy(update={"real_time_factor": 0.02})
    assert write_costs(tmp_path, {DIGEST: newer}) == {DIGEST: 1}
    assert values(path)["costs"]["real_time_factor"] == 0.02


def test_a_result_stays_in_its_file(tmp_path: Path) -> None:
    """A file of a name of its own gets the costs; no second file of the same result appears."""
    path = put(tmp_path, checkpoint_digest=DIGEST).rename(tmp_path / "mine.json")
    assert write_costs(tmp_path, {DIGEST: COSTS}) == {DIGEST: 1}
    assert [found.name for found in tmp_path.glob("*.json")] == ["mine.json"]
    assert values(path)["costs"] == COSTS.model_dump(mode="json")


def test_what_matches_nothing_is_counted_and_what_is_broken_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad file hides neither itself nor the others."""
    put(tmp_path, checkpoint_digest=DIGEST)
    (tmp_path / "bad.json").write_text("{")
    assert write_costs(tmp_path, {DIGEST: COSTS, OTHER: COSTS}) == {DIGEST: 1, OTHER: 0}
    assert "bad.json is left out" in "".join(capsys.readouterr())
    assert (tmp_path / "bad.json").read_text() == "{"
    with pytest.raises(ValueError, match="no results folder"):
        write_costs(tmp_path / "nowhere", {})
