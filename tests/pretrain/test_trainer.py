"""The loop: it learns, resumes bit-equal, refuses other runs, and exports what it trained."""

import errno
import itertools
import multiprocessing
import os
import signal
import subprocess
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from tensorboardX.proto.event_pb2 import Event

from harness_bench.core.fabric import make_fabric
from harness_bench.core.files import read_jsonl
from harness_bench.core.workdir import NOTE, PROVENANCE, WorkDir, alone
from harness_bench.models.checkpoint import load_hubert, read_facts
from harness_bench.pretrain import trainer
from harness_bench.pretrain.boards import TENSORBOARD
from harness_bench.pretrain.labels.store import LabelStore
from harness_bench.pretrain.monitor import DIVERGED, LOG_FILE
from harness_bench.pretrain.state import (
    EXPORTS,
    restore,
    save_state,
    state_path,
    states,
    wait_for_state,
)
from harness_bench.pretrain.trainer import learning_rate_share
from harness_bench.pretrain.updates import Steps
from tests import warm
from tests.models.conftest import small_config
from tests.pretrain.conftest import Train, at_batch, die, equal, small_step, weights


def log(folder: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(folder / LOG_FILE))


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


def test_resume_is_bit_equal(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is on, so the random state counts; the stop is in the middle of an epoch."""
    straight = train(small_step(), tmp_path / "a")
    at_batch(9, die, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(small_step(), tmp_path / "b")
    state = torch.load(state_path(tmp_path / "b", 5), weights_only=True)
    assert state["ranks"][0]["progress"].tolist()[0] == 5
    assert state["ranks"][0]["position"].tolist()[1] > 0, "batches of the block"
    torch.manual_seed(99)
    assert equal(straight, train(small_step(), tmp_path / "b"))
    updates = [row["update"] for row in log(tmp_path / "b")]
    assert updates == sorted(set(updates))


def test_one_process_trains_in_a_folder(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second is refused before it touches anything, or finds what the first has finished."""
    monkeypatch.setattr(trainer, "PATIENCE", 0.1)
    with alone(tmp_path / "run" / ".lock", "another"):
        with pytest.raises(ValueError, match="Another process trains in"):
            train(small_step(), tmp_path / "run")
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    train(small_step(), tmp_path / "run")
    before = (tmp_path / "run" / PROVENANCE).stat().st_mtime_ns
    looks = iter([False, True])  # it ended between the two looks
    monkeypatch.setattr(WorkDir, "finished", property(lambda _: next(looks)))
    train(small_step(), tmp_path / "run")
    assert (tmp_path / "run" / PROVENANCE).stat().st_mtime_ns == before


def test_it_learns(train: Train, tmp_path: Path) -> None:
    """Loss falls on data seen again and again; TensorBoard shows what train.jsonl holds."""
    train(small_step(max_update=60, log_interval=10, lr=3e-3), tmp_path)
    rows = log(tmp_path)
    assert rows[-1]["loss_unmasked"] < 0.9 * rows[0]["loss_unmasked"]
    assert rows[-1]["accuracy_unmasked"] > rows[0]["accuracy_unmasked"]
    promised = {
        "update", "epoch", "loss_masked", "loss_unmasked", "accuracy_masked", "accuracy_unmasked",
        "features_pen", "grad_norm", "lr", "seconds", "audio_seconds_per_second", "padding",
        "data_wait", "cpu_seconds", "memory_gib",
    }  # fmt: skip
    assert set(rows[0]) == promised
    events = board_events(tmp_path / TENSORBOARD)
    shown = {(each.step, v.tag): v.simple_value for each in events for v in each.summary.value}
    for row in rows:
        for name in promised - {"update"}:
            assert shown[row["update"], name] == pytest.approx(row[name], rel=1e-5), name


def test_a_hopeless_run_stops(train: Train, tmp_path: Path) -> None:
    """Not-a-number must end the run with the utterances' names, not with NaN weights."""
    step = small_step(lr=1e30, clip_norm=1e30, max_update=50, save_interval_updates=1000)
    with pytest.raises(RuntimeError, match=r"gradient norm is .*utt0.*No earlier state is left"):
        train(step, tmp_path)
    assert not (tmp_path / "checkpoint").exists()


def poisoned(monkeypatch: pytest.MonkeyPatch, batches: set[int]) -> list[list[str]]:
    """Make the gradients of some batches of a training not finite; return the ids of all."""
    real, seen = trainer._backward, []

    def backward(run: Any, batch: Any, *rest: Any, **options: Any) -> Any:
        sums = real(run, batch, *rest, **options)
        seen.append(batch.ids)
        if len(seen) in batches:
            next(run.objective.parameters()).grad.fill_(torch.nan)
        return sums

    monkeypatch.setattr(trainer, "_backward", backward)
    return seen


def test_a_bad_batch_is_left_out(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One update without it, and the run goes on: all updates are made, on other batches."""
    seen = poisoned(monkeypatch, {4, 8, 9})
    folder = train(small_step(), tmp_path)
    assert len(seen) == 12 + 3
    assert all(each.isfinite().all() for each in weights(folder).values())
    reports = list(read_jsonl(tmp_path / DIVERGED / "reports-0.jsonl"))
    assert [row["ids"] for row in reports] == [seen[n] for n in (3, 7, 8)]
    updates = [row["update"] for row in log(tmp_path)]
    assert updates == [3, 6, 9, 12]


def test_too_many_bad_batches_rewind(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights go back to the last state; the data do not: the bad batches stay behind."""
    seen = poisoned(monkeypatch, {7, 8})
    train(small_step(max_bad_updates=1, max_update=10), tmp_path)
    # Update 6 is made of batch 6, fails twice, is undone, and made again of batch 9.
    assert len(seen) == 6 + 2 + 5
    updates = [row["update"] for row in log(tmp_path)]
    assert updates == [3, 6, 9, 10], "what was undone is no line of the log"
    state = torch.load(state_path(tmp_path, 10), weights_only=True)
    assert state["ranks"][0]["progress"].tolist()[0] == 10


def test_each_rewind_goes_further_back(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state may be bad itself; without an older one the run stops."""
    seen = poisoned(monkeypatch, {6, 7, 12, 13, 14, 15})
    step = small_step(max_bad_updates=0, save_interval_updates=2, keep_interval_updates=2)
    with pytest.raises(RuntimeError, match="No earlier state is left"):
        train(replace(step, pretrain=replace(step.pretrain, divergence=1e9)), tmp_path)
    # 6 bad: to update 4; 7 bad: to 2; up to 6 again; 12 bad: to 6; 13 bad: to 4; 14 ends it.
    assert len(seen) == 14
    assert [path.name for path in states(tmp_path)] == ["state-00000004.pt"]


def test_flags_may_be_read_one_update_late(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does: the device leaves a bad update out, and the CPU learns of it afterwards."""
    adamw = torch.optim.AdamW
    ends = []
    for late in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(torch.optim, "AdamW", lambda *a, **k: adamw(*a, **{**k, "fused": True}))
            patch.setattr(trainer, "Steps", partial(Steps, late=late))
            seen = poisoned(patch, {2, 5, 6, 8, 23})
            step = small_step(max_bad_updates=2, max_update=20, log_interval=7)
            ends.append((train(step, tmp_path / str(late)), seen, log(tmp_path / str(late))))
    (one, batches, rows), (other, others, more) = ends
    assert equal(one, other)
    assert batches == others
    assert [row["update"] for row in rows] == [row["update"] for row in more] == [7, 14, 20]
    assert [row["loss_masked"] for row in rows] == [row["loss_masked"] for row in more]
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", lambda *a, **k: adamw(*a, **{**k, "fused": True}))
        patch.setattr(trainer, "Steps", partial(Steps, late=True))
        seen = poisoned(patch, {8, 9, 10})
        rewound = train(small_step(max_bad_updates=2), tmp_path / "rewound")
    assert len(seen) == 12 + 3 + 2 + 1, "two good updates undone, and a batch passed"
    assert all(each.isfinite().all() for each in weights(rewound).values())


def test_a_state_of_another_device_is_resumed(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its optimizer was not the fused one, which alone knows of updates to leave out."""
    at_batch(9, die, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(small_step(), tmp_path)
    adamw = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *a, **k: adamw(*a, **{**k, "fused": True}))
    monkeypatch.setattr(trainer, "Steps", partial(Steps, late=True))
    assert [row["update"] for row in log(train(small_step(), tmp_path).parent)] == [3, 6, 9, 12]


def test_places_of_former_ranks_are_saved(tmp_path: Path) -> None:
    """A run that goes on with fewer ranks may be saved before it takes a batch."""
    fabric = make_fabric(accelerator="cpu")
    first, again, other = (
        trainer.build_run(small_step(), "key", tmp_path, fabric, None, 1.0) for _ in range(3)
    )
    first.progress.left_by = [(0, 3, 0, 0, 0, 0), (0, 3, 0, 1, 0, 0)]
    save_state(first)
    wait_for_state(first)
    restore(again, restart=False)
    assert again.progress.left_by == first.progress.left_by
    again.progress.left_by, again.progress.position = [], (1, 0, 3, 5, 0, 0)
    save_state(again)
    wait_for_state(again)
    restore(other, restart=False)
    assert (other.progress.left_by, other.progress.position) == ([], (1, 0, 3, 5, 0, 0))


def test_a_rewound_run_resumes_bit_equal(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the rewind and the next state: the same batches go wrong again."""
    bad: set[str] = set()
    real, calls = trainer._backward, itertools.count(1)
    stop_at = 10**9

    def backward(run: Any, batch: Any, *rest: Any, **options: Any) -> Any:
        sums = real(run, batch, *rest, **options)
        if run.progress.position[:2] in ((1, 2), (1, 3)):
            bad.update(batch.ids)
            next(run.objective.parameters()).grad.fill_(torch.nan)
        if next(calls) == stop_at:
            die()
        return sums

    monkeypatch.setattr(trainer, "_backward", backward)
    step = small_step(max_bad_updates=1, max_update=20)
    straight = train(step, tmp_path / "a")
    assert bad
    passed = [row["what"] for row in read_jsonl(tmp_path / "a" / DIVERGED / "reports-0.jsonl")]
    assert len(passed) == 2
    total = next(calls) - 1
    calls, stop_at = itertools.count(1), total - 8
    with pytest.raises(KeyboardInterrupt):
        train(step, tmp_path / "b")
    stop_at = 10**9
    assert equal(straight, train(step, tmp_path / "b"))


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
import os, sys, time
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
    data.write_bytes(whole[: len(whole) // 2])
    print("half written", os.getpid(), flush=True); time.sleep(60)
state.torch.save = slow
cuts = list(CutSet.from_file(sys.argv[1]))
pretrain(small_step(), cuts, LabelStore(Path(sys.argv[2])), Path(sys.argv[3]),
         fabric=make_fabric(accelerator="cpu"))
"""


def test_a_killed_save(train: Train, cuts: list[Cut], labels: LabelStore, tmp_path: Path) -> None:
    """SIGKILL in the middle of a save: the old state or none, never half; its rest is removed."""
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
    out = tmp_path / "run"
    arguments = [str(tmp_path / "cuts.jsonl"), str(labels.folder), str(out)]
    process = subprocess.Popen(
        [warm.python(), "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told, _, pid = process.stdout.readline().rpartition(" ")
    assert told == "half written"
    os.kill(int(pid), signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert not states(out)
    assert list(out.glob(".partial-*.pt"))  # of the paper's model it would be 3.8 GB
    assert equal(train(small_step(), out), train(small_step(), tmp_path / "straight"))
    assert not list(out.glob(".partial-*"))


def test_training_goes_on_while_a_state_is_written(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the state is that of its update, not of the weights meanwhile."""
    straight = train(small_step(), tmp_path / "a")
    real, waiting, batch = torch.save, threading.Event(), threading.Event()

    def slow(value: Any, path: Path) -> None:
        waiting.set()
        assert batch.wait(60), "no update was made while the state was written"
        real(value, path)

    def go_on() -> None:
        waiting.wait(60)
        batch.set()

    monkeypatch.setattr(torch, "save", slow)
    with monkeypatch.context() as patch:
        at_batch(7, go_on, patch)
        at_batch(9, die, patch)
        with pytest.raises(KeyboardInterrupt):
            train(small_step(), tmp_path / "b")
    assert [path.name for path in states(tmp_path / "b")] == ["state-00000005.pt"]
    assert equal(straight, train(small_step(), tmp_path / "b"))


def test_a_state_that_cannot_be_written_ends_the_run(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: told at the next state, and the one before is whole."""
    straight, real = train(small_step(), tmp_path / "a"), torch.save

    def full(value: Any, path: Path) -> None:
        if value["ranks"][0]["progress"][0] == 10:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(value, path)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space left"):
            train(small_step(), tmp_path / "b")
    assert [path.name for path in states(tmp_path / "b")] == ["state-00000005.pt"]
    assert equal(straight, train(small_step(), tmp_path / "b"))


def test_states_and_exports_are_kept_by_rule(train: Train, tmp_path: Path) -> None:
    step = small_step(
        max_update=9, save_interval_updates=2, keep_interval_updates=2, export_interval_updates=4
    )
    last = train(step, tmp_path)
    assert [path.name for path in states(tmp_path)] == ["state-00000008.pt", "state-00000009.pt"]
    kept = sorted(path.name for path in (tmp_path / EXPORTS).iterdir())
    assert kept == ["00000004", "00000008"]
    facts = [read_facts(tmp_path / EXPORTS / name)["update"] for name in kept]
    assert [*facts, read_facts(last)["update"]] == [4, 8, 9]
    assert not equal(*(tmp_path / EXPORTS / name for name in kept))


def test_sigterm_saves_first(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal of a cluster's time limit goes to all of a job, its workers among them."""
    step = small_step(max_update=8, save_interval_updates=100, num_workers=2)
    straight = train(step, tmp_path / "a")

    def end_the_job() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    at_batch(3, end_the_job, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(step, tmp_path / "b")
    assert [path.name for path in states(tmp_path / "b")] == ["state-00000004.pt"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert equal(straight, train(step, tmp_path / "b"))


def test_a_finished_run_is_not_trained_over(train: Train, tmp_path: Path) -> None:
    """Not by a changed config, unless the user says so; nor where its states were deleted."""
    step, other = small_step(max_update=2), small_step(max_update=2, lr=1e-3)
    done = train(step, tmp_path) / "model.safetensors"
    with pytest.raises(ValueError, match=r"config\.pretrain\.lr \(was"):
        train(other, tmp_path)
    for state in (*states(tmp_path), tmp_path / NOTE):  # versions before wrote no note
        state.unlink()
    before = done.stat().st_mtime_ns
    # Who raises the limit of divergence after a stop goes on with the same run.
    for same in (step, small_step(max_update=2, divergence=9.0, tensorboard=False)):
        train(same, tmp_path)
        assert done.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="--restart"):
        train(other, tmp_path)
    folder = train(other, tmp_path, restart=True)
    assert read_facts(folder)["config"]["pretrain"]["lr"] == 1e-3


@pytest.mark.parametrize("init", ["copy_extractor", "block_average", "slice", "svd"])
def test_frozen_extractor_equals_the_teachers(train: Train, tmp_path: Path, init: str) -> None:
    """AdamW's decay shrinks parameters of zero gradient, not of none; the rest must move."""
    teacher = train(small_step(max_update=1), tmp_path / "teacher")
    step = small_step(
        init=init, feature_grad_mult=0.0, max_update=3, warmup_updates=0, weight_decay=0.5,
        save_interval_updates=2,
    )  # fmt: skip
    shape = small_config() if init == "block_average" else small_config(encoder_embed_dim=16)
    folder = train(replace(step, model=shape), tmp_path / "student", teacher=teacher)
    theirs, ours = weights(teacher), weights(folder)
    extractor = [name for name in theirs if name.startswith("feature_extractor.")]
    assert len(extractor) == 21
    assert all(torch.equal(ours[name], theirs[name]) for name in extractor)
    assert not torch.equal(ours["masked_spec_embed"], theirs["masked_spec_embed"][:16])


def losses(train: Train, out: Path, precision: str = "32-true", **changes: Any) -> list[float]:
    """Train some updates without dropout, of which a compiler draws other numbers."""
    step = small_step(log_interval=1, precision=precision, **changes)
    fabric = make_fabric(accelerator="cpu", precision=precision)
    train(replace(step, model=small_config()), out, fabric=fabric)
    return [row["loss_masked"] for row in log(out)]


@pytest.mark.slow
def test_compiled_training_is_the_same_training(train: Train, tmp_path: Path) -> None:
    """Compiling is for speed alone; weights keep their names, losses their values."""
    plain = losses(train, tmp_path / "plain", max_update=3)
    compiled = losses(train, tmp_path / "compiled", max_update=3, compile=True)
    assert compiled == pytest.approx(plain, rel=1e-3)
    load_hubert(tmp_path / "compiled" / "checkpoint")


def test_bf16_learns_what_fp32_learns(train: Train, tmp_path: Path) -> None:
    """Mixed precision must not change the loss by more than its rounding."""
    plain = losses(train, tmp_path / "plain", max_update=4)
    mixed = losses(train, tmp_path / "mixed", "bf16-mixed", max_update=4)
    assert mixed == pytest.approx(plain, rel=0.02)
