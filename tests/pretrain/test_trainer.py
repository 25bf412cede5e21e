"""The loop: it learns, resumes bit-equal, refuses other runs, and exports what it trained."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from lhotse import CutSet
from tensorboardX.proto.event_pb2 import Event

from harness_bench.core.fabric import make_fabric
from harness_bench.core.files import read_jsonl
from harness_bench.core.workdir import NOTE
from harness_bench.models.checkpoint import load_hubert, read_facts
from harness_bench.pretrain import trainer
from harness_bench.pretrain import trainer as module
from harness_bench.pretrain.monitor import BOARD, LOG_FILE
from harness_bench.pretrain.state import EXPORTS, state_path, states
from harness_bench.pretrain.trainer import learning_rate_share, pretrain
from tests.models.conftest import small_config
from tests.pretrain.conftest import small_step

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut
    from lightning.fabric import Fabric

    from harness_bench.pretrain.labels.store import LabelStore


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return make_fabric(accelerator="cpu")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_hubert(folder).state_dict()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_resume_is_bit_equal(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A run stopped between saves and started again ends with the very same weights.

    Dropout is on, so the random state counts; the stop is in the middle of an epoch.
    """
    step = small_step()
    straight = pretrain(step, cuts, labels, tmp_path / "a", fabric=fabric)
    real, calls = module._backward, []

    def dies(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_backward", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain(step, cuts, labels, tmp_path / "b", fabric=fabric)
    state = torch.load(state_path(tmp_path / "b", 5), weights_only=True)
    update, _, batches = state["ranks"][0]["progress"].tolist()
    assert update == 5
    assert batches > 0
    monkeypatch.setattr(module, "_backward", real)
    torch.manual_seed(99)
    resumed = pretrain(step, cuts, labels, tmp_path / "b", fabric=fabric)
    assert equal(weights(straight), weights(resumed))
    updates = [row["update"] for row in read_jsonl(tmp_path / "b" / LOG_FILE)]
    assert updates == sorted(set(updates))


def test_it_learns(cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric) -> None:
    """Loss falls well below its start on data it sees again and again; no figure is made up."""
    step = small_step(max_update=60, log_interval=10, lr=3e-3)
    pretrain(step, cuts, labels, tmp_path, fabric=fabric)
    rows = list(read_jsonl(tmp_path / LOG_FILE))
    assert rows[-1]["loss_unmasked"] < 0.8 * rows[0]["loss_unmasked"]
    assert rows[-1]["accuracy_unmasked"] > rows[0]["accuracy_unmasked"]


def test_another_run_is_refused_or_replaced(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """Weeks of training are not lost to a changed config, unless the user says so."""
    pretrain(small_step(max_update=2), cuts, labels, tmp_path, fabric=fabric)
    other = small_step(max_update=2, lr=1e-3)
    with pytest.raises(ValueError, match=r"config\.pretrain\.lr \(was"):
        pretrain(other, cuts, labels, tmp_path, fabric=fabric)
    folder = pretrain(other, cuts, labels, tmp_path, fabric=fabric, restart=True)
    assert read_facts(folder)["config"]["pretrain"]["lr"] == 1e-3


def test_a_broken_gradient_stops_the_run(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """Not-a-number must end the run with the utterances' names, not with NaN weights."""
    step = small_step(lr=1e30, clip_norm=1e30, max_update=50, save_interval_updates=1000)
    with pytest.raises(RuntimeError, match=r"gradient norm is .*utt0"):
        pretrain(step, cuts, labels, tmp_path, fabric=fabric)
    assert not (tmp_path / "checkpoint").exists()


def test_learning_rate_rises_then_falls() -> None:
    """Linear warm-up over 8 %, then linear decay that reaches zero at the end."""
    config = small_step(max_update=100, warmup_updates=None).pretrain
    shares = [learning_rate_share(update, config) for update in range(101)]
    assert config.warmup == 8
    assert shares[:8] == pytest.approx([i / 8 for i in range(1, 9)])
    assert max(shares) == 1.0
    assert shares[100] == 0.0
    assert all(a >= b for a, b in itertools.pairwise(shares[7:]))


SCRIPT = """
import sys, time
from pathlib import Path
from lhotse import CutSet
from harness_bench.pretrain.labels.store import LabelStore
from harness_bench.pretrain import state
from harness_bench.core.fabric import make_fabric
from harness_bench.pretrain.trainer import pretrain
from tests.pretrain.conftest import small_step
real = state.torch.save
def slow(value, path):  # a save that is killed half way
    data = Path(path); real(value, data); whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2]); print("half written", flush=True); time.sleep(60)
state.torch.save = slow
cuts = list(CutSet.from_file(sys.argv[1]))
pretrain(small_step(), cuts, LabelStore(Path(sys.argv[2])), Path(sys.argv[3]),
         fabric=make_fabric(accelerator="cpu"))
"""


def test_a_kill_while_saving_leaves_no_half_state(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """SIGKILL in the middle of a save: the run folder has the old state or none, never half."""
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
    out = tmp_path / "run"
    arguments = [str(tmp_path / "cuts.jsonl"), str(labels.folder), str(out)]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "half written" in process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert not states(out)
    resumed = pretrain(small_step(), cuts, labels, out, fabric=fabric)
    straight = pretrain(small_step(), cuts, labels, tmp_path / "straight", fabric=fabric)
    assert equal(weights(resumed), weights(straight))


def test_states_and_exports_are_kept_by_rule(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """The last two states, and an export of every fourth update for good."""
    step = small_step(
        max_update=9, save_interval_updates=2, keep_interval_updates=2, export_interval_updates=4
    )
    last = pretrain(step, cuts, labels, tmp_path, fabric=fabric)
    assert [path.name for path in states(tmp_path)] == ["state-00000008.pt", "state-00000009.pt"]
    kept = sorted(path.name for path in (tmp_path / EXPORTS).iterdir())
    assert kept == ["00000004", "00000008"]
    facts = [read_facts(tmp_path / EXPORTS / name)["update"] for name in kept]
    assert [*facts, read_facts(last)["update"]] == [4, 8, 9]
    one, other = (load_hubert(tmp_path / EXPORTS / name).state_dict() for name in kept)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_exports_between_states_are_refused() -> None:
    """An export that no state belongs to could not be made again after a resume."""
    with pytest.raises(ValueError, match="export_interval_updates = 3 is not a multiple"):
        small_step(save_interval_updates=2, export_interval_updates=3)


def test_both_logs_say_the_same(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """What TensorBoard shows is what train.jsonl holds."""
    pretrain(small_step(max_update=4, log_interval=2), cuts, labels, tmp_path, fabric=fabric)
    rows = list(read_jsonl(tmp_path / LOG_FILE))
    promised = {
        "update", "epoch", "loss_masked", "loss_unmasked", "accuracy_masked", "accuracy_unmasked",
        "features_pen", "grad_norm", "lr", "audio_seconds_per_second", "memory_gib",
    }  # fmt: skip
    assert set(rows[0]) == promised
    shown = {
        (event.step, value.tag): value.simple_value
        for event in board_events(tmp_path / BOARD)
        for value in event.summary.value
    }
    for row in rows:
        for name in promised - {"update"}:
            assert shown[row["update"], name] == pytest.approx(row[name], rel=1e-5), name


def board_events(folder: Path) -> list[Event]:
    """Read TensorBoard's files: length, its checksum, the event, its checksum."""
    events = []
    for path in folder.iterdir():
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            events.append(Event.FromString(data[at + 12 : at + 12 + length]))
            at += 12 + length + 4
    return events


def test_sigterm_saves_before_it_ends(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A cluster's time limit must not cost the updates since the last state.

    The signal goes to all processes of a job, the loader's workers among them.
    """
    step = small_step(max_update=8, save_interval_updates=100, num_workers=2)
    straight = pretrain(step, cuts, labels, tmp_path / "a", fabric=fabric)
    real, calls = trainer._backward, []

    def warned(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    monkeypatch.setattr(trainer, "_backward", warned)
    with pytest.raises(KeyboardInterrupt):
        pretrain(step, cuts, labels, tmp_path / "b", fabric=fabric)
    assert [path.name for path in states(tmp_path / "b")] == ["state-00000004.pt"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    resumed = pretrain(step, cuts, labels, tmp_path / "b", fabric=fabric)
    assert equal(weights(straight), weights(resumed))


def test_a_finished_run_is_not_trained_over(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """States of finished runs are deleted to save space; the checkpoint stays protected."""
    step = small_step(max_update=2)
    done = pretrain(step, cuts, labels, tmp_path, fabric=fabric) / "model.safetensors"
    for state in (*states(tmp_path), tmp_path / NOTE):  # versions before wrote no note
        state.unlink()
    before = done.stat().st_mtime_ns
    pretrain(step, cuts, labels, tmp_path, fabric=fabric)
    assert done.stat().st_mtime_ns == before
    other = small_step(max_update=2, lr=1e-3)
    with pytest.raises(ValueError, match="--restart"):
        pretrain(other, cuts, labels, tmp_path, fabric=fabric)
    folder = pretrain(other, cuts, labels, tmp_path, fabric=fabric, restart=True)
    assert read_facts(folder)["config"]["pretrain"]["lr"] == 1e-3


def test_what_a_killed_save_left_is_removed(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """Each would be 3.8 GB of the paper's model."""
    (tmp_path / ".partial-abc.pt").write_bytes(b"half")
    pretrain(small_step(max_update=2), cuts, labels, tmp_path, fabric=fabric)
    assert not list(tmp_path.glob(".partial-*"))


def test_divergence_decides_no_weight(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """Who raises the limit after a stop goes on with the same run."""
    first = pretrain(small_step(max_update=2), cuts, labels, tmp_path, fabric=fabric)
    times = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    step = small_step(max_update=2, divergence=9.0, tensorboard=False)
    pretrain(step, cuts, labels, tmp_path, fabric=fabric)
    assert times == {path: path.stat().st_mtime_ns for path in first.iterdir()}


@pytest.mark.slow
def test_compiled_training_is_the_same_training(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """Compiling is for speed alone; weights keep their names, losses their values."""
    rows = []
    for compiled in (False, True):
        # Without dropout: a compiler draws other random numbers.
        step = small_step(max_update=3, log_interval=1, compile=compiled)
        step = replace(step, model=small_config())
        folder = pretrain(step, cuts, labels, tmp_path / str(compiled), fabric=fabric)
        rows.append(list(read_jsonl(tmp_path / str(compiled) / LOG_FILE)))
        load_hubert(folder)
    for plain, other in zip(*rows, strict=True):
        assert other["loss_masked"] == pytest.approx(plain["loss_masked"], rel=1e-3)


def test_bf16_learns_what_fp32_learns(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """Mixed precision must not change the loss by more than its rounding."""
    del fabric
    rows = []
    for precision in ("32-true", "bf16-mixed"):
        step = small_step(max_update=4, log_interval=1, precision=precision)
        engine = make_fabric(accelerator="cpu", precision=precision)
        pretrain(step, cuts, labels, tmp_path / precision, fabric=engine)
        rows.append(list(read_jsonl(tmp_path / precision / LOG_FILE)))
    for plain, other in zip(*rows, strict=True):
        assert other["loss_masked"] == pytest.approx(plain["loss_masked"], rel=0.02)
