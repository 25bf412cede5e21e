"""A probe end to end, by s3prl's own command line in its own process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from harness_bench.predictions import ClassPrediction, read_predictions
from harness_bench.s3prl_plugin import probe
from harness_bench.s3prl_plugin.probe import ProbeConfig, ProbeOutcome, run_probe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.s3prl_plugin.conftest import Python

pytestmark = pytest.mark.s3prl
SHORT = ProbeConfig(total_steps=60, eval_step=20, learning_rate=3e-3, hidden=32)


def start(out: Path, cuts: Path, checkpoint: Path, config: ProbeConfig) -> ProbeOutcome:
    """Run the harness upstream on the keyword task."""
    return run_probe(
        upstream="harness_local",
        checkpoint=checkpoint,
        task="keyword",
        cuts=cuts,
        label_field="label",
        out=out,
        config=config,
        threads=1,
    )


def accuracy(path: Path) -> float:
    """Return the share of right predictions."""
    rows = read_predictions(path, ClassPrediction)
    return sum(row.truth == row.pred for row in rows) / len(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def outcome(folder: Path, tone_corpus: Path, tiny_checkpoint: Path) -> ProbeOutcome:
    """Train and, in a second process, test from the chosen checkpoint."""
    return start(folder, tone_corpus, tiny_checkpoint, SHORT)


def test_beats_chance_clearly(outcome: ProbeOutcome) -> None:
    """Chance is 1/3 of three tones."""
    assert accuracy(outcome.dev_predictions) > 0.6
    assert accuracy(outcome.test_predictions) > 0.6


def test_says_what_it_did(outcome: ProbeOutcome, folder: Path) -> None:
    """The leaderboard shows the commands; the layer weights are a softmax over 3 states."""
    assert [command.split()[2:5] for command in outcome.commands] == [
        ["harness_bench.run_downstream", "-m", "train"],
        ["harness_bench.run_downstream", "-m", "evaluate"],
    ]
    assert len(outcome.layer_weights) == 3
    assert sum(outcome.layer_weights) == pytest.approx(1)
    assert len(set(outcome.layer_weights)) > 1, "the weights were never trained"
    assert outcome.best_step in (20, 40, 60)
    assert (folder / "provenance.json").is_file()


def test_an_equal_probe_is_not_run_again(
    outcome: ProbeOutcome, folder: Path, tone_corpus: Path, tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A second `make demo` must take seconds; other settings must run, and fail here."""
    monkeypatch.setattr(probe, "_run", None)  # a call would raise
    assert start(folder, tone_corpus, tiny_checkpoint, SHORT) == outcome
    outcome.test_predictions.rename(folder / "away")
    with pytest.raises(TypeError):
        start(folder / "other", tone_corpus, tiny_checkpoint, ProbeConfig(seed=1))
    (folder / "away").rename(outcome.test_predictions)


def test_predict_says_what_the_test_said(
    outcome: ProbeOutcome, folder: Path, tone_corpus: Path, python: Python
) -> None:
    """One's own files get what evaluation gave, though the folder moved and the cuts are gone."""
    rows = read_predictions(outcome.test_predictions, ClassPrediction)[:3]
    files = [str(tone_corpus / f"{row.id}.wav") for row in rows]
    moved = folder.parent / "moved"
    shutil.copytree(folder, moved)
    command = "import sys; from harness_bench import cli; sys.argv[0] = 'harness-bench'; cli.main()"
    said = python("-c", command, "predict", str(moved), *files, "--json")
    answers = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [answer["file"] for answer in answers] == files
    for answer, row in zip(answers, rows, strict=True):
        assert answer["label"] == row.pred == max(answer["probs"], key=answer["probs"].get)
        assert answer["probs"] == pytest.approx(row.probs, abs=1e-5)


def test_the_cache_and_the_second_process_change_nothing(
    outcome: ProbeOutcome, tmp_path: Path, tone_corpus: Path, tiny_checkpoint: Path
) -> None:
    """Without kept features, and tested while training: the same losses and predictions."""
    plain = ProbeConfig(
        total_steps=60, eval_step=20, learning_rate=3e-3, hidden=32,
        feature_cache_mb=0, test_in_training=True,
    )  # fmt: skip
    other = start(tmp_path, tone_corpus, tiny_checkpoint, plain)
    assert len(other.commands) == 1

    def logged(run: ProbeOutcome) -> list[str]:
        lines = (run.checkpoint.parent / "metrics.jsonl").read_text().splitlines()
        return [line for line in lines if '"test"' not in line]

    assert logged(other) == logged(outcome)
    assert other.dev_predictions.read_bytes() == outcome.dev_predictions.read_bytes()
    assert other.test_predictions.read_bytes() == outcome.test_predictions.read_bytes()


def test_a_probe_cut_off_goes_on_and_ends_alike(
    outcome: ProbeOutcome, folder: Path, tmp_path: Path, tone_corpus: Path, tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Killed in its first third: no step is done twice, and the outcome is the same to the bit."""
    killed = tmp_path / "probe"

    def kill(arguments: list[str], *_: object) -> float:
        run = killed / "s3prl"
        command = [sys.executable, "-m", "harness_bench.run_downstream", *arguments]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ) as process:  # fmt: skip
            while process.poll() is None and not list(run.glob("states-20.ckpt")):
                time.sleep(0.01)
            process.kill()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(probe, "_run", kill)
        with pytest.raises(KeyboardInterrupt):
            start(killed, tone_corpus, tiny_checkpoint, SHORT)
    assert not (killed / "outcome.json").exists()
    again = start(killed, tone_corpus, tiny_checkpoint, SHORT)
    assert "Resume from" in (killed / "log.txt").read_text()
    for name in ("metrics.jsonl", "predictions.dev.jsonl", "predictions.test.jsonl"):
        assert (killed / "s3prl" / name).read_bytes() == (folder / "s3prl" / name).read_bytes()
    assert again.layer_weights == outcome.layer_weights


def test_failure_shows_the_end_of_the_log(
    tmp_path: Path, tone_corpus: Path, tiny_checkpoint: Path
) -> None:
    """What went wrong in the other process must be read without looking for a file."""
    with pytest.raises(RuntimeError, match=r"Exit code 1(.|\n)*has no field 'mood'"):
        run_probe(
            upstream="harness_local", checkpoint=tiny_checkpoint, task="ser", cuts=tone_corpus,
            label_field="mood", out=tmp_path, config=SHORT, threads=1,
        )  # fmt: skip
    assert not (tmp_path / "outcome.json").exists()


def test_impossible_settings_are_refused(tmp_path: Path, tone_corpus: Path) -> None:
    """Before minutes of training, not after."""
    with pytest.raises(ValueError, match="eval_step = 50 is larger than total_steps = 10"):
        ProbeConfig(total_steps=10, eval_step=50)
    with pytest.raises(ValueError, match=r"no task 'mood'; known: .*ser"):
        run_probe(
            upstream="fbank_cached", checkpoint=None, task="mood", cuts=tone_corpus,
            label_field=None, out=tmp_path, config=SHORT, threads=1,
        )  # fmt: skip
