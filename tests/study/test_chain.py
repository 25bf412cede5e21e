"""From audio to the leaderboard in one go, on two minutes of synthetic speech.

Every border between two steps is crossed here: unit tests alone would not notice one step writing
what the next cannot read.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from harness_bench.core.config import resolved
from harness_bench.demo.plan import TINY
from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.results.record import load_results
from harness_bench.study.config import load_demo
from harness_bench.study.run import run_demo
from tests.tiny import DEFAULTS

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.leaderboard.build import LeaderboardFiles

    from harness_bench.results.record import Result
    from harness_bench.study.schedule import Schedule

pytestmark = [pytest.mark.s3prl, pytest.mark.espnet]

FAMILY = (
    DEFAULTS
    + """
[[iterations]]
name = "it1"
labels = { source = "mfcc" }
[[iterations]]
name = "student"
teacher = "it1"
model = { encoder_layers = 1 }
labels = { source = "hidden", layer = 2, pca_dim = 8 }
"""
)
STATES = {"fbank": 0, "random": 3, "it1": 3, "student": 2}  # with a weight each
DEMO = """
name = "chain"
title = "Chain"
synthetic = true
family = "family.toml"
pretraining = { folder = "ssl" }
asr = { folder = "asr" }
[[classification]]
task = "did"
label_field = "dialect"
source = { folder = "did" }
[probe]
total_steps = 6
eval_step = 3
batch_size = 8
eval_batch_size = 8
input_norm = "batch"
test_in_training = true
[recipe]
max_epoch = 1
[synthesis]
"""


def write_demo(folder: Path) -> Path:
    sizes = resolved(TINY)
    lines = [f"{key} = {value}" for key, value in sizes.items() if not isinstance(value, dict)]
    for key, value in sizes.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{name} = {count}" for name, count in value.items())
            lines.append(f"{key} = {{ {inner} }}")
    (folder / "family.toml").write_text(FAMILY)
    path = folder / "chain.toml"
    path.write_text(DEMO + "\n".join(lines) + "\n")
    return path


def run(path: Path, out: Path) -> tuple[LeaderboardFiles, Schedule]:
    return run_demo(load_demo(path), path, out, console=Console(quiet=True))


def check_row(file: Path, result: Result) -> None:
    """One result says what was measured, of every utterance, and what its model is."""
    assert result.synthetic
    assert "synthetic" in result.corpus
    assert result.predictions is not None
    assert (result.costs is None) == (result.checkpoint_digest is None)
    assert len(result.layer_weights) == STATES[result.model]
    path_of = file.parent / result.predictions
    if result.task == "asr":
        assert len(read_predictions(path_of, TextPrediction)) == TINY.asr.test
        return
    predictions = read_predictions(path_of, ClassPrediction)
    tags = {tag: {row.tags.get(tag) for row in predictions} for tag in ("gender", "dialect")}
    assert tags == {"gender": {"female", "male"}, "dialect": {None}}, "the label is no tag"
    assert len(predictions) == result.utterances == getattr(TINY.did, result.split)
    right = sum(row.truth == row.pred for row in predictions)
    assert result.main.value == pytest.approx(100 * right / len(predictions))
    assert result.main.interval is not None
    assert result.seeds == (result.seed,)
    assert result.leakage is not None
    assert result.leakage.verdict == "clean"  # speakers are disjoint


def test_audio_to_leaderboard(tmp_path: Path) -> None:
    """All rows come out, measured from predictions for every utterance; a second run keeps all."""
    path, out = write_demo(tmp_path), tmp_path / "out"
    files, _ = run(path, out)

    results, problems = load_results(out / "results")
    assert problems == {}
    rows = {(r.model, r.task, r.split) for r in results.values()}
    models = {"fbank", "random", "it1", "student"}
    expected = {(model, "did", split) for model in models for split in ("dev", "test")}
    expected |= {(model, "asr", "test") for model in ("fbank", "student")}
    assert rows == expected
    for file, result in results.items():
        check_row(file, result)

    for written in (files.html, files.markdown, files.csv, files.latex, *files.plots):
        assert written.stat().st_size > 500
    with files.csv.open(encoding="utf-8") as stream:
        assert models <= {row["model"] for row in csv.DictReader(stream)}

    trained = [*out.glob("probes/*/*/outcome.json"), *out.glob("pretrain/*/run/state-*.pt")]
    trained += [*out.glob("asr/*/outcome.json"), *out.glob("costs/*.json")]
    before = {file: file.stat().st_mtime_ns for file in trained}
    assert len(before) == 4 + 2 + 2 + 3
    again, _ = run(path, out)
    assert before == {file: file.stat().st_mtime_ns for file in before}
    assert again.csv.read_text() == files.csv.read_text()
