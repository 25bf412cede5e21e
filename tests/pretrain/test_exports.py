"""The model that dev finds best is there at any time, whatever ends the run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lhotse.cut import Cut

from harness_bench.core.files import read_jsonl
from harness_bench.models.checkpoint import read_facts
from harness_bench.pretrain import validation
from harness_bench.pretrain.config import PretrainConfig, key_values
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.exports import BEST, _is_better, keep_best
from harness_bench.pretrain.labels.store import LabelStore
from harness_bench.pretrain.monitor import VALID_FILE
from harness_bench.pretrain.state import EXPORTS, exports
from harness_bench.pretrain.validation import ValidSet
from tests.pretrain.conftest import Train, at_batch, die, equal, small_step

EVERY = dict.fromkeys(
    ("validate_interval_updates", "save_interval_updates", "export_interval_updates"), 2
)


@pytest.fixture
def valid(cuts: list[Cut], labels: LabelStore) -> ValidSet:
    return ValidSet(CutList(cuts[:7]), labels)


def best_update(run: Path, metric: str, *, largest: bool) -> int:
    """Return the update that the log of validations finds best, the first of equals."""
    rows = list(read_jsonl(run / VALID_FILE))
    assert len({row[metric] for row in rows}) > 1
    return int((max if largest else min)(rows, key=lambda row: row[metric])["update"])


def only_best(run: Path) -> Path:
    """Return where the link leads; no other best export is left."""
    (folder,) = (run / EXPORTS).glob(f"{BEST}-*")
    assert (run / EXPORTS / BEST).resolve() == folder
    return folder


@pytest.mark.parametrize("metric", ["loss_masked", "accuracy_masked", "largest loss_masked"])
def test_the_best_export_is_the_one_of_the_log(
    train: Train, valid: ValidSet, tmp_path: Path, metric: str
) -> None:
    """Its weights are those of that update; other exports are listed as before."""
    *given, metric = metric.split()
    asked = {"best_checkpoint_metric": metric, "maximize_best_checkpoint_metric": bool(given)}
    step = small_step(**(asked if given else {"best_checkpoint_metric": metric}), **EVERY)
    last = train(step, tmp_path, valid=valid)
    wanted = best_update(tmp_path, metric, largest=bool(given) or "accuracy" in metric)
    facts = read_facts(only_best(tmp_path))
    (row,) = (row for row in read_jsonl(tmp_path / VALID_FILE) if row["update"] == wanted)
    assert (facts["update"], facts["validation"][metric]) == (wanted, row[metric])
    found = exports(tmp_path)
    assert equal(tmp_path / EXPORTS / BEST, found[wanted])
    assert [*found] == [2, 4, 6, 8, 10, 12]
    assert found[12] == last


def test_a_stopped_run_keeps_and_finds_the_best(
    train: Train, valid: ValidSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the export and the line of the log, and behind a state."""
    step = small_step(
        validate_interval_updates=1, best_checkpoint_metric="loss_masked", save_interval_updates=4
    )
    straight = train(step, tmp_path / "a", valid=valid)

    def exported_and_killed(*given: Any) -> None:
        keep_best(*given)
        monkeypatch.setattr(validation, "keep_best", keep_best)
        raise KeyboardInterrupt

    monkeypatch.setattr(validation, "keep_best", exported_and_killed)
    with pytest.raises(KeyboardInterrupt):
        train(step, tmp_path / "b", valid=valid)
    assert only_best(tmp_path / "b").name == f"{BEST}-00000001"
    at_batch(8, die, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(step, tmp_path / "b", valid=valid)
    assert equal(straight, train(step, tmp_path / "b", valid=valid))
    wanted = best_update(tmp_path / "b", "loss_masked", largest=False)
    folders = [only_best(tmp_path / name) for name in "ab"]
    assert [folder.name for folder in folders] == [f"{BEST}-{wanted:08d}"] * 2
    assert equal(*folders)
    reseeded = replace(step, pretrain=replace(step.pretrain, seed=5))
    train(reseeded, tmp_path / "b", valid=valid, restart=True)
    assert not equal(only_best(tmp_path / "b"), folders[0])


def test_better_is_a_comparison_of_like_with_like() -> None:
    """Not with another dev set, another figure or what is no number."""
    config = PretrainConfig(
        max_update=1, validate_interval_updates=1, best_checkpoint_metric="loss_masked"
    )
    before = {"loss_masked": 2.0, "hours": 1.0}
    for loss, expected in ((1.9, True), (2.0, False), (2.1, False), (float("nan"), False)):
        assert _is_better({"loss_masked": loss, "hours": 1.0}, before, config) == expected
    assert _is_better({"loss_masked": 2.1, "hours": 0.5}, before, config)
    other = replace(config, best_checkpoint_metric="accuracy_masked")
    assert _is_better({"accuracy_masked": 0.1, "hours": 1.0}, before, other)


def test_what_cannot_be_compared_is_told_before_training(
    train: Train, valid: ValidSet, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"'loss_masked' .*validate_interval_updates"):
        small_step(best_checkpoint_metric="loss_masked")
    step = small_step(best_checkpoint_metric="loss", **EVERY)
    with pytest.raises(ValueError, match=r"'loss' is no figure.*loss_masked"):
        train(step, tmp_path, valid=valid)
    assert not list(tmp_path.glob("state-*"))


def test_no_key_changes() -> None:
    watched = small_step(
        validate_interval_updates=2, best_checkpoint_metric="loss_masked",
        maximize_best_checkpoint_metric=True,
    )  # fmt: skip
    assert key_values(small_step()) == key_values(watched)
