"""A run goes on with another learning rate, clipping or length where that is asked for."""

from pathlib import Path
from typing import Any

import pytest

from harness_bench.core.files import read_json, read_jsonl
from harness_bench.pretrain.config import IterationConfig
from harness_bench.pretrain.trainer import learning_rate_share
from tests.pretrain.conftest import Train, at_batch, die, equal, small_step

CHANGED: dict[str, Any] = {"lr": 1e-3, "clip_norm": 0.5, "max_update": 16, "warmup_updates": 2}


def rates(folder: Path) -> dict[int, float]:
    return {row["update"]: row["lr"] for row in read_jsonl(folder / "train.jsonl")}


def share(update: int, step: IterationConfig) -> float:
    return step.pretrain.lr * learning_rate_share(update, step.pretrain)


def stopped(train: Train, out: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> None:
    with monkeypatch.context() as patch:
        at_batch(9, die, patch)
        with pytest.raises(KeyboardInterrupt):
            train(small_step(**how), out, adapt=bool(how))


def test_the_new_settings_count_from_the_saved_state(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate follows the new schedule at once, provenance tells from where on."""
    stopped(train, tmp_path / "a", monkeypatch)
    changed, old = small_step(**CHANGED), small_step()
    with pytest.raises(ValueError, match=r"lr \(was 0\.002, is 0\.001\).*--adapt"):
        train(changed, tmp_path / "a")
    train(changed, tmp_path / "a", adapt=True)
    steps = {3: old, 6: changed, 9: changed, 12: changed, 15: changed, 16: changed}
    assert rates(tmp_path / "a") == pytest.approx({at: share(at, s) for at, s in steps.items()})
    (change,) = read_json(tmp_path / "a" / "provenance.json")["changes"]
    assert change["update"] == 5
    assert {text.split()[0] for text in change["changed"]} == {
        f"config.pretrain.{name}" for name in CHANGED
    }


def test_an_adapted_run_resumes_bit_equal(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --adapt: the settings are its own now. What was changed stays on record."""
    for name in "ab":
        stopped(train, tmp_path / name, monkeypatch)
    straight = train(small_step(**CHANGED), tmp_path / "a", adapt=True)
    stopped(train, tmp_path / "b", monkeypatch, **CHANGED)
    assert equal(straight, train(small_step(**CHANGED), tmp_path / "b"))
    notes = [read_json(tmp_path / name / "provenance.json")["changes"] for name in "ab"]
    assert notes[0] == notes[1] != []


def test_a_finished_run_is_made_longer(train: Train, tmp_path: Path) -> None:
    """By more updates alone: with no update left, new settings would be a false claim."""
    short = train(small_step(), tmp_path)
    with pytest.raises(ValueError, match="has made 12 updates and max_update = 12"):
        train(small_step(lr=1e-3), tmp_path, adapt=True)
    assert train(small_step(), tmp_path) == short, "and the run is as it was"
    train(small_step(max_update=15), tmp_path, adapt=True)
    assert max(rates(tmp_path)) == 15


def test_what_changes_the_model_is_refused(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other data, seeds or masks make another run, which --restart alone begins."""
    stopped(train, tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"mask_prob .*--restart"):
        train(small_step(lr=1e-3, mask_prob=0.5), tmp_path, adapt=True)
