"""Boards show what the logs say, end no training, and a resumed run stands where it began."""

import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lhotse.cut import Cut

from harness_bench.core.files import read_json, read_jsonl
from harness_bench.pretrain.boards import WeightsAndBiases
from harness_bench.pretrain.config import key_values
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.family import train_family
from harness_bench.pretrain.labels.store import LabelStore
from harness_bench.pretrain.monitor import LOG_FILE, VALID_FILE
from harness_bench.pretrain.state import WANDB_FILE, states
from harness_bench.pretrain.validation import ValidSet
from tests.pretrain.conftest import Train, at_batch, die, equal, small_step, written
from tests.pretrain.test_validation import FAMILY, interrupt

PROJECT = "arabic"
STEP = small_step(
    max_update=8, save_interval_updates=2, log_interval=1, validate_interval_updates=4,
    tensorboard=False, wandb_project=PROJECT,
)  # fmt: skip
wandb = pytest.importorskip("wandb", reason="wandb is not installed; it comes with ESPnet")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    # It hooks these for the rest of the process.
    monkeypatch.setattr(sys, "exit", sys.exit)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def shown(run: Path) -> dict[str, list[dict[str, float]]]:
    """Return id -> the rows of all starts of a run, from the files that `wandb sync` sends."""
    from wandb.proto.wandb_internal_pb2 import Record  # noqa: PLC0415 - only where wandb is

    found: dict[str, list[dict[str, float]]] = {}
    for path in sorted(run.glob("wandb/offline-run-*/run-*.wandb")):
        for record in map(Record.FromString, stored(path.read_bytes())):
            if row := {
                "/".join(item.nested_key) or item.key: float(item.value_json)
                for item in record.history.item
            }:
                found.setdefault(path.stem.removeprefix("run-"), []).append(row)
    return found


def stored(data: bytes) -> Iterator[bytes]:
    """Yield the records of a LevelDB log, in blocks of 32 KiB, behind a header of 7 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        if 32_768 - place % 32_768 < 7:
            place += 32_768 - place % 32_768
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_rows_of_both_logs_are_shown_and_a_resumed_run_goes_on(
    train: Train, cuts: list[Cut], labels: LabelStore, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Under the id of the first start; no weight differs from that of a run without a board."""
    valid = ValidSet(CutList(cuts[:3]), labels)
    off = replace(STEP, pretrain=replace(STEP.pretrain, wandb_project=None))
    plain = train(off, tmp_path / "off", valid=valid)
    at_batch(6, die, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(STEP, tmp_path / "on", valid=valid)
    assert equal(plain, train(STEP, tmp_path / "on", valid=valid))
    ((name, rows),) = shown(tmp_path / "on").items()
    assert read_json(tmp_path / "on" / WANDB_FILE) == {"project": PROJECT, "id": name}
    logged = {(row["update"], "valid/loss_masked" in row): row for row in rows}
    assert sorted(logged) == sorted([*((n, False) for n in range(1, 9)), (4, True), (8, True)])
    for log, group, is_dev in ((LOG_FILE, "", False), (VALID_FILE, "valid/", True)):
        for row in read_jsonl(tmp_path / "on" / log):
            found = logged[row["update"], is_dev]
            for key in ("loss_masked", "epoch"):
                assert found[group + key] == pytest.approx(row[key]), (log, key)


def test_a_replaced_run_is_another_one(train: Train, tmp_path: Path) -> None:
    step = small_step(max_update=1, wandb_project=PROJECT)
    train(step, tmp_path)
    train(replace(step, pretrain=replace(step.pretrain, seed=5)), tmp_path, restart=True)
    assert len(shown(tmp_path)) == 2


def test_a_board_that_fails_ends_no_training(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job's SIGTERM ends its process as well: the state is saved all the same, and resumed."""
    step = small_step(max_update=6, save_interval_updates=100, log_interval=1, wandb_project="p")
    straight = train(replace(step, pretrain=replace(step.pretrain, wandb_project=None)), tmp_path)

    class Dead:
        def log(self, *_: Any) -> None:
            raise ConnectionResetError("Connection lost")

        finish = log

    def end_the_job() -> None:
        boards[-1].run = Dead()
        interrupt()

    boards: list[WeightsAndBiases] = []
    real = WeightsAndBiases.__init__

    def kept(self: WeightsAndBiases, *given: Any) -> None:
        real(self, *given)
        boards.append(self)

    monkeypatch.setattr(WeightsAndBiases, "__init__", kept)
    at_batch(3, end_the_job, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(step, tmp_path / "b")
    assert [path.name for path in states(tmp_path / "b")] == ["state-00000004.pt"]

    def unreachable(**_: Any) -> None:
        raise wandb.errors.CommError("no network")

    monkeypatch.setattr(wandb, "init", unreachable)
    assert equal(straight, train(step, tmp_path / "b"))
    with pytest.raises(ValueError, match=r"'p'.*no network.*wandb login"):
        train(step, tmp_path / "c")


def test_a_missing_package_is_told_before_labels_are_made(
    cuts: list[Cut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = written(tmp_path, FAMILY.replace("log_interval", 'wandb_project = "p"\nlog_interval'))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"wandb_project = 'p'.*pip install 'wandb"):
        train_family(family, cuts, tmp_path / "out", accelerator="cpu")
    assert not (tmp_path / "out").exists()


def test_no_key_changes() -> None:
    assert key_values(small_step()) == key_values(small_step(wandb_project=PROJECT))
