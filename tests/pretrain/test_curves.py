"""Curves from logs, whole or cut off, and what is measured and drawn from them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from typer.testing import CliRunner

from harness_bench.cli.app import app
from harness_bench.core.files import write_jsonl
from harness_bench.pretrain.curves import (
    LOSS,
    Curve,
    plot_curves,
    read_curve,
    read_run,
    smooth,
    updates_to,
)
from harness_bench.pretrain.monitor import LOG_FILE, VALID_FILE
from harness_bench.pretrain.state import PROBE_FILE

LOSSES = [6.0, 5.0, 4.5, 4.25, 4.0]


def write_log(run: Path, losses: list[float], cut: str = "") -> Path:
    run.mkdir(parents=True, exist_ok=True)
    rows = [
        json.dumps({"update": 10 * (i + 1), "loss_masked": loss, "accuracy_masked": 1 / loss})
        for i, loss in enumerate(losses)
    ]
    (run / LOG_FILE).write_text("\n".join(rows) + "\n" + cut)
    return run


def test_a_cut_last_line_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A killed run's log ends anywhere; what was written whole is shown, and it is said so."""
    run = write_log(tmp_path / "it1" / "run", LOSSES, cut='{"update": 60, "loss_ma')
    curve = read_curve(run)
    assert curve.updates.tolist() == [10, 20, 30, 40, 50]
    assert curve.values.tolist() == LOSSES
    assert "last line is incomplete" in capsys.readouterr().err
    assert read_curve(tmp_path / "it1").name == curve.name == "it1"


def test_a_broken_line_before_the_last_is_refused(tmp_path: Path) -> None:
    """Such a line is no trace of a kill: half of the curve must not vanish in silence."""
    log = write_log(tmp_path, LOSSES) / LOG_FILE
    log.write_text(log.read_text().replace("0.2}", "", 1))
    with pytest.raises(ValueError, match=rf"{LOG_FILE}:2 is not valid JSON"):
        read_curve(tmp_path)


def test_mistakes_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no train\.jsonl"):
        read_curve(tmp_path)
    (tmp_path / LOG_FILE).write_text("")
    with pytest.raises(ValueError, match="has no line yet"):
        read_curve(tmp_path)
    write_log(tmp_path, LOSSES)
    with pytest.raises(ValueError, match=r"no 'wer'; its figures: loss_masked, accuracy_masked"):
        read_curve(tmp_path, field="wer")
    mixed = [read_curve(tmp_path), read_curve(tmp_path, field="accuracy_masked")]
    with pytest.raises(ValueError, match=r"got .'accuracy_masked', 'loss_masked'"):
        plot_curves(mixed, tmp_path / "x.png", title="")


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=40), width=st.integers(0, 50))
def test_smoothing_is_a_mean_over_neighbours(values: list[float], width: int) -> None:
    """Against slices; Python's end at the last value as the window does."""
    sides = [min(i, max(width - 1, 0) // 2) for i in range(len(values))]
    expected = [np.mean(values[i - side : i + side + 1]) for i, side in enumerate(sides)]
    np.testing.assert_allclose(smooth(np.array(values), width), expected, atol=1e-9)


@given(
    losses=st.lists(st.integers(1, 50), min_size=2, max_size=30, unique=True), place=st.floats(0, 1)
)
def test_updates_to_a_level_inverts_the_curve(losses: list[int], place: float) -> None:
    """On a falling curve the level found at an update leads back to that update."""
    values = np.array(sorted(losses, reverse=True), dtype=float)
    updates = np.arange(1, len(values) + 1) * 7
    at = 7 + place * (updates[-1] - 7)
    level = float(np.interp(at, updates, values))
    assert updates_to(updates, values, level) == pytest.approx(at, abs=1e-6)
    assert updates_to(updates, values, values[-1] - 1) is None
    assert updates_to(updates, values, values[0]) == 7


def write_rows(run: Path, name: str, rows: list[dict[str, Any]]) -> None:
    write_jsonl(run / name, [{"epoch": 0, **row} for row in rows])


def probed(update: int, accuracy: float, corpus: str = "asc40") -> dict[str, Any]:
    return {"update": update, "task": "keyword", "corpus": corpus, "head": "linear",
            "accuracy": accuracy}  # fmt: skip


def test_dev_and_probes_stand_beside_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dev in its run's colour, the probes of each corpus in a panel; all points as measured."""
    watched, plain = (write_log(tmp_path / name / "run", LOSSES) for name in ("one", "two"))
    dev = [{"update": update, LOSS: 7 - update / 20, "loss_unmasked": 1} for update in (20, 40)]
    write_rows(watched, VALID_FILE, dev)
    level = {key: value for key, value in probed(0, 45).items() if key != "update"}
    rows = [level | {"upstream": "fbank"}, probed(20, 50), probed(20, 40, "lid"), probed(40, 60)]
    write_rows(watched, PROBE_FILE, rows)
    write_rows(plain, PROBE_FILE, [probed(40, 55.5)])
    drawn: dict[str, list[tuple[str, str, str, list[float]]]] = {}

    def keep(figure: Figure, *_: Any, **__: Any) -> None:
        for axes in figure.axes:
            drawn[axes.get_ylabel()] = [
                (str(line.get_label()), str(line.get_color()), str(line.get_linestyle()),
                 np.asarray(line.get_ydata()).tolist())
                for line in axes.get_lines() if not str(line.get_label()).startswith("_")
            ]  # fmt: skip

    monkeypatch.setattr(Figure, "savefig", keep)
    out = tmp_path / "both.png"
    arguments = ["curves", *(str(run.parent) for run in (watched, plain)), "--out", str(out)]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    (loss, lines), (words, probes), (languages, other) = drawn.items()
    assert "masked frames" in loss
    assert [line[0] for line in lines] == ["one", "one, dev", "two"]
    assert lines[0][1] == lines[1][1] != lines[2][1]
    assert [line[2] for line in lines] == ["-", "--", "-"]
    assert lines[1][3] == [6.0, 5.0]
    assert "keyword on asc40" in words
    assert "keyword on lid" in languages
    assert [line[3] for line in probes] == [[50.0, 60.0], [45.0, 45.0], [55.5]]
    assert [line[1] for line in probes if line[0] != "fbank"] == [lines[0][1], lines[2][1]]
    assert [line[3] for line in other] == [[40.0]]
    (alone,) = read_run(watched, field="loss_unmasked")
    assert alone.values.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="no 'loss_unmasked'"):
        read_run(plain, field="loss_unmasked")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plots_are_written(tmp_path: Path, suffix: str) -> None:
    numbers = np.arange(1, 31)
    curves = [
        Curve(f"run {i}", numbers, 6 - np.log(numbers) / (i + 1), entropy=5.0) for i in range(3)
    ]
    out = tmp_path / f"plot.{suffix}"
    plot_curves(curves, out, title="Three runs")
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert out.read_bytes().startswith(start)
    if suffix == "svg":
        assert out.read_text().count('id="axes_') == 2


def test_the_verb_draws_runs_together(tmp_path: Path) -> None:
    runs = [str(write_log(tmp_path / name, LOSSES)) for name in ("one", "two")]
    out = tmp_path / "both.svg"
    arguments = ["curves", *runs, "--out", str(out), "--field", "accuracy_masked"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert out.is_file()
    assert out.read_text().count('id="axes_') == 1
