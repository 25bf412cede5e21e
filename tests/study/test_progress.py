"""Progress is read from what trainings log anyway; a log that says nothing is no error."""

from __future__ import annotations

import io
import json
import os
import time
from typing import TYPE_CHECKING

import pytest
from tqdm import tqdm

from harness_bench.study.progress import job_progress, rate_text

if TYPE_CHECKING:
    from pathlib import Path


def _bar(log: Path, done: int, of: int, *, title: str, took: float, unit: str = "it") -> None:
    """Append what tqdm itself writes."""
    with log.open("a", encoding="utf-8") as stream:
        text = io.StringIO()
        bar = tqdm(total=of, desc=title, unit=unit, file=text, leave=True)
        bar.start_t -= took
        bar.n = done
        bar.refresh()
        bar.leave = False
        stream.write(text.getvalue())


def test_a_bar_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("$ python labels\n12:00:00 k-means: 100 clusters\n")
    _bar(log, 20, 80, title="labels", took=10, unit="utt")
    found = job_progress(tmp_path, None)
    assert found.share == 0.25
    assert found.rate == "2.0 utts/s"
    assert found.left == 30
    assert found.line == "12:00:00 k-means: 100 clusters"


def test_the_outermost_bar_counts_and_none_that_has_ended(tmp_path: Path) -> None:
    """s3prl draws epochs in a bar of all steps; bars above a line are of what is over."""
    log = tmp_path / "log.txt"
    _bar(log, 3, 4, title="cut off long ago", took=1000)
    with log.open("a") as stream:
        stream.write("\nser dev at step 200: accuracy 40 %\n")
    _bar(log, 200, 800, title="overall", took=50)
    _bar(log, 1, 20, title="train", took=1)
    found = job_progress(tmp_path, None)
    assert found.share == 0.25
    assert found.line == "ser dev at step 200: accuracy 40 %"
    _bar(log, 800, 800, title="overall", took=200)
    assert job_progress(tmp_path, None).share is None


def test_updates_of_a_pretraining(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "log.txt").write_text("$ family\n")
    (run / "provenance.json").write_text(json.dumps({"config": {"pretrain": {"max_update": 400}}}))
    rows = [{"update": 50 * n, "seconds": 25.0, "loss_masked": 6.25} for n in (1, 2)]
    (run / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = job_progress(tmp_path, None)
    assert found.share == 0.25
    assert found.rate == "2.0 updates/s"
    assert found.left == pytest.approx(150, abs=2)
    assert "6.25" in found.line
    # A line that is being written says nothing, and is no error.
    (run / "train.jsonl").write_text('{"update": 1')
    assert job_progress(tmp_path, None).share is None


def test_epochs_of_espnet(tmp_path: Path) -> None:
    folder, now = tmp_path / "asr", time.time()
    folder.mkdir()
    (tmp_path / "log.txt").write_text("12:00:00 Stage 11: training\n" + "x" * 2000 + "\n")
    os.utime(tmp_path / "log.txt", (now - 900, now - 900))
    (folder / "config.yaml").write_text("batch_size: 20\nmax_epoch: 16\nseed: 0\n")
    for number in (2, 4):  # 3 was worse and is gone
        (folder / f"{number}epoch.pth").touch()
        os.utime(folder / f"{number}epoch.pth", (now - 60 * (5 - number),) * 2)
    (folder / "latest.pth").symlink_to("4epoch.pth")
    found = job_progress(tmp_path, None)
    assert found.share == 0.25
    assert found.rate == "1.0 epochs/min"
    assert found.left == pytest.approx(12 * 60 - 60, abs=2)
    assert found.line == "12:00:00 Stage 11: training"
    # What comes behind the training logs: the epochs are over.
    with (tmp_path / "log.txt").open("a") as stream:
        stream.write("12:20:00 Stage 12: decoding\n")
    later = now + 60
    os.utime(tmp_path / "log.txt", (later, later))
    assert job_progress(tmp_path, None).share is None


def test_what_a_job_tells_holds_the_share_of_the_training_that_runs(tmp_path: Path) -> None:
    trial = tmp_path / "lr0.001.seed1"
    trial.mkdir()
    _bar(trial / "log.txt", 400, 800, title="overall", took=20)
    told = {"done": 2, "of": 5, "unit": "trials", "per_second": 0.01}
    found = job_progress(tmp_path, told)
    assert found.share == pytest.approx(2.5 / 5)
    assert found.left == pytest.approx(250)
    assert job_progress(None, told).share == pytest.approx(2 / 5)
    assert job_progress(tmp_path / "none", None).share is None


@pytest.mark.parametrize(
    ("speed", "text"), [(12.3, "12 x/s"), (1.96, "2.0 x/s"), (0.5, "30 x/min"), (0.001, "3.6 x/h")]
)
def test_rates_are_told_per_a_time_that_people_can_wait(speed: float, text: str) -> None:
    assert rate_text(speed, "x") == text
