"""Learning curves of heads: read from what s3prl's experiments logged, drawn for people."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness_bench.cli.app import app
from harness_bench.core.files import write_json, write_jsonl
from harness_bench.probing.curves import HeadCurve, draw_heads, is_grid, read_heads

DEV, TRAIN = ("dev", "accuracy"), ("train", "loss")


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Write what two heads leave; the grid was moved since."""
    trials = []
    for rate, accuracy in ((1e-2, 50.0), (1e-3, 25.0)):
        folder = tmp_path / "grid" / f"lr{rate:g}.seed7"
        rows = [
            {"step": step, "split": split, "loss": 1 / step, "accuracy": accuracy * step}
            for step in (1, 2) for split in ("train", "dev", "test")
        ]  # fmt: skip
        rows.append({"step": 0, "split": "test", "loss": 9.0, "accuracy": 99.0})
        write_jsonl(folder / "s3prl" / "metrics.jsonl", rows)
        moved = f"/elsewhere/{folder.name}"
        trials.append({"learning_rate": rate, "seed": 7, "best_step": 2, "folder": moved})
    write_json(tmp_path / "grid" / "grid.json", {"trials": trials})
    return tmp_path / "grid"


def test_curves_are_what_was_logged(grid: Path) -> None:
    """Neither what the test said nor the evaluation after training, of step 0, is a point."""
    assert is_grid(grid)
    assert not is_grid(grid.parent)
    first, other = read_heads(grid)
    points = {DEV: ([1, 2], [50.0, 100.0]), TRAIN: ([1, 2], [1.0, 0.5])}
    assert first == HeadCurve(1e-2, 7, 2, points)
    assert other.points[DEV] == ([1, 2], [25.0, 50.0])


def test_one_grid_or_many_are_drawn(grid: Path, tmp_path: Path) -> None:
    """By the function, and by the verb that draws pretraining; each grid has a row of panels."""
    draw_heads([grid], tmp_path / "one.png", "heads of $x")
    command = ["curves", str(grid), str(grid), "--out", str(tmp_path / "two.png")]
    assert CliRunner().invoke(app, command).exit_code == 0
    sizes = [(tmp_path / name).read_bytes()[16:24] for name in ("one.png", "two.png")]
    (width, height), other = ((int.from_bytes(s[:4]), int.from_bytes(s[4:])) for s in sizes)
    assert other == (width, 2 * height)
