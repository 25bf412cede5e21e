"""Two ranks must train the very model that one rank with the same batches trains.

Run with a folder, this file does what torchrun does; each rank is a fork, so it imports nothing.
"""

import contextlib
import itertools
import os
import resource
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from lightning.fabric import Fabric
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from harness_bench.core import skipped
from harness_bench.core.fabric import Layout, launched, make_fabric
from harness_bench.core.files import read_json, read_jsonl
from harness_bench.pretrain import trainer
from harness_bench.pretrain.config import CHECKPOINT, checkpoint_folder, load_family
from harness_bench.pretrain.data.batches import MaskedBatch
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.exports import BEST
from harness_bench.pretrain.family import train_family
from harness_bench.pretrain.labels.store import LabelStore
from harness_bench.pretrain.monitor import DIVERGED, LOG_FILE, VALID_FILE
from harness_bench.pretrain.objectives.hubert import HubertObjective
from harness_bench.pretrain.state import EXPORTS, Run, state_path, states
from harness_bench.pretrain.updates import Groups
from harness_bench.pretrain.validation import ValidSet
from tests import warm
from tests.pretrain.conftest import at_batch, batches_of_block, die, equal, small_step
from tests.pretrain.test_family import TINY
from tests.pretrain.test_validation import aligned, by_formula, pnmi_by_formula

FAMILY = TINY.split('[[iterations]]\nname = "second"', maxsplit=1)[0].replace(
    "max_update = 3", "max_update = 10\nsave_interval_updates = 4\nlog_interval = 5"
)


def held_out(cuts: list[Cut]) -> list[Cut]:
    return aligned([cut for cut in cuts if cut.duration < 1.5][:9])


def run_without_dropout(out: Path) -> Run:
    step, fabric = small_step(features_pen_weight=3.0), make_fabric(accelerator="cpu")
    run = trainer.build_run(step, "key", out, fabric, None, 1.0)
    run.model.eval()
    return run


def first_batch(run: Run, cuts: list[Cut], labels: LabelStore, rank: int) -> MaskedBatch:
    return batches_of_block(cuts, labels, run.config, rank=rank, ranks=2)[0]


def gradients(run: Run) -> dict[str, torch.Tensor]:
    named = dict(run.objective.named_parameters())
    found = {name: each.grad.clone() for name, each in named.items() if each.grad is not None}
    run.optimizer.zero_grad()
    return found


def by_loop(run: Run, group: list[MaskedBatch]) -> dict[str, torch.Tensor]:
    """Return the gradients of one update on these batches of this rank."""
    config = replace(run.config, update_freq=len(group))
    accumulating = replace(run, step=replace(run.step, pretrain=config))
    totals = Groups(accumulating, iter(group), []).take().totals
    for batch in group:
        trainer._backward(run, batch, totals, last=batch is group[-1])
    return gradients(run)


def by_hand(run: Run, group: list[MaskedBatch]) -> dict[str, torch.Tensor]:
    """Return the gradients of the loss written out: losses added, divided by all frames."""
    config, total, frames = run.config, torch.zeros(()), 0.0
    for batch in group:
        sums, count = run.objective(batch), float(batch.counts.sum())
        total = total + sums["masked"] + config.pred_nomask_weight * sums["unmasked"]
        total = total + config.features_pen_weight * sums["features_pen"] * count
        frames += count
    torch.autograd.backward(total / frames)
    return gradients(run)


def main(folder: Path) -> None:
    """Save gradients of an update, then make a family at a stretch and once interrupted."""
    torch.set_num_threads(1)
    cuts, labels = list(CutSet.from_file(folder / "cuts.jsonl")), LabelStore(folder / "labels")
    run = run_without_dropout(folder / "unused")
    found = by_loop(run, [first_batch(run, cuts, labels, run.fabric.global_rank)])
    if run.fabric.global_rank == 0:
        torch.save(found, folder / "gradients.pt")
    family = load_family(folder / "family.toml")
    train_family(family, cuts, folder / "straight", accelerator="cpu")
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        at_batch(8, die, patch)  # on all ranks at the same update
        train_family(family, cuts, folder / "resumed", accelerator="cpu")
    run.fabric.barrier()
    train_family(family, cuts, folder / "resumed", accelerator="cpu")
    rounded = small_step(ddp_comm_hook="bf16")
    trainer.pretrain(rounded, cuts, labels, folder / "rounded", fabric=run.fabric)
    spoilt_updates(folder, cuts, labels, run.fabric)
    lost_disks(folder, cuts, labels, run.fabric)
    slow_disk(folder, cuts, labels, run.fabric)
    watched = small_step(
        max_update=1, validate_interval_updates=1, best_checkpoint_metric="pnmi_masked"
    )
    trainer.pretrain(
        watched, cuts, labels, folder / "watched", fabric=run.fabric,
        valid=ValidSet(CutList(held_out(cuts)), labels),
    )  # fmt: skip


def spoilt_updates(folder: Path, cuts: list[Cut], labels: LabelStore, fabric: Fabric) -> None:
    """Rank 1's loss is not a number for the batches 7 and 8; save what each rank ends with."""
    real, seen, runs = HubertObjective.loss, itertools.count(1), []

    def loss(objective: HubertObjective, *arguments: Any) -> torch.Tensor:
        bad = next(seen) in (7, 8) and fabric.global_rank == 1
        return real(objective, *arguments) * (torch.nan if bad else 1.0)

    def build_run(*arguments: Any) -> Run:
        runs.append(build(*arguments))
        return runs[-1]

    build = trainer.build_run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HubertObjective, "loss", loss)
        patch.setattr(trainer, "build_run", build_run)
        step = small_step(max_bad_updates=1, max_update=10)
        trainer.pretrain(step, cuts, labels, folder / "rewound", fabric=fabric)
    ended = {"weights": runs[0].objective.state_dict(), "seen": next(seen) - 1}
    torch.save(ended, folder / f"rewound-{fabric.global_rank}.pt")


def lost_disks(folder: Path, cuts: list[Cut], labels: LabelStore, fabric: Fabric) -> None:
    """Lose a node's audio, then the room for rank 0's states; save what each rank says, resume."""
    rank = fabric.global_rank
    node = folder / f"node{rank}"
    node.mkdir()
    here = [cut.with_recording_path_prefix("disk") for cut in map(relative, cuts)]
    step = small_step(save_interval_updates=2)

    def mount() -> None:
        (node / "disk").symlink_to("/")

    def unmount() -> None:
        if rank == 1:
            (node / "disk").unlink()

    def fill() -> None:
        if rank == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))

    def clear() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = Path.cwd()
    os.chdir(node)
    mount()
    trainer.pretrain(step, here, labels, folder / "whole", fabric=fabric)
    for name, batch, lose, mend in (("audio", 4, unmount, mount), ("states", 7, fill, clear)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(skipped, "_FEW", 3)
            at_batch(batch, lose, patch)
            with pytest.raises((ValueError, RuntimeError, OSError)) as caught:
                trainer.pretrain(step, here, labels, folder / name, fabric=fabric)
        (folder / f"{name}-{rank}.txt").write_text(str(caught.value))
        with contextlib.suppress(FileExistsError):
            mend()
        fabric.barrier()
        trainer.pretrain(step, here, labels, folder / name, fabric=fabric)
    os.chdir(before)


def slow_disk(folder: Path, cuts: list[Cut], labels: LabelStore, fabric: Fabric) -> None:
    """Send rank 1 a SIGTERM; save which states each rank finds once it is to end."""

    def slow(*arguments: Any) -> None:
        time.sleep(1)
        real(*arguments)

    def stop_the_other() -> None:
        if fabric.global_rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    real, out = torch.save, folder / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", slow)
        at_batch(3, stop_the_other, patch)
        with pytest.raises(KeyboardInterrupt):
            trainer.pretrain(small_step(), cuts, labels, out, fabric=fabric)
    (folder / f"stopped-{fabric.global_rank}.txt").write_text(" ".join(map(str, states(out))))


def relative(cut: Cut) -> Cut:
    """Name the audio from the root of its disk."""
    (source,) = cut.recording.sources
    source = replace(source, source=str(Path(source.source).relative_to("/")))
    return replace(cut, recording=replace(cut.recording, sources=[source]))


@pytest.fixture(scope="module")
def folder(cuts: list[Cut], labels: LabelStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ranks")
    CutSet.from_cuts(cuts).to_file(made / "cuts.jsonl")
    (made / "labels").symlink_to(labels.folder)
    (made / "family.toml").write_text(FAMILY)
    done = warm.run(["-m", "tests.pretrain.test_ranks", made])
    assert done.returncode == 0, done.stderr[-3000:]
    return made


def test_ranks_change_no_gradient(folder: Path, cuts: list[Cut], labels: LabelStore) -> None:
    """Denominators are summed over ranks and accumulated batches, so gradients are the same."""
    run = run_without_dropout(folder / "u")
    group = [first_batch(run, cuts, labels, rank) for rank in (0, 1)]
    expected = by_hand(run, group)
    # Keys' biases have no gradient but rounding errors: below a share of the largest all is zero.
    largest = max(float(value.abs().max()) for value in expected.values())
    for found in (torch.load(folder / "gradients.pt", weights_only=True), by_loop(run, group)):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            scale = float(value.abs().max()) + 1e-3 * largest
            assert float((found[name] - value).abs().max()) <= 1e-5 * scale, name


def test_two_ranks_validate_as_one(folder: Path, cuts: list[Cut], labels: LabelStore) -> None:
    """Each takes its share of the batches, and the figures are of all of them."""
    (row,) = read_jsonl(folder / "watched" / VALID_FILE)
    given = (folder / "watched" / "checkpoint", held_out(cuts), labels)
    expected = by_formula(*given) | pnmi_by_formula(*given)
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert equal(folder / "watched" / EXPORTS / BEST, given[0])


def test_two_ranks_resume_bit_equal(folder: Path) -> None:
    """Its own place and random numbers for each rank; one line per interval in the log of all."""
    outs = (folder / "straight", folder / "resumed")
    assert equal(*(checkpoint_folder(out, "first") for out in outs))
    rows = read_jsonl(folder / "resumed" / "first" / "run" / LOG_FILE)
    assert [row["update"] for row in rows] == [5, 10]


def test_gradients_may_travel_in_half_the_bytes(folder: Path) -> None:
    """The run is near the one without rounding, whose losses fall alike."""
    rounded = [row["loss_masked"] for row in read_jsonl(folder / "rounded" / LOG_FILE)]
    plain = [row["loss_masked"] for row in read_jsonl(folder / "whole" / LOG_FILE)]
    assert rounded != plain
    assert rounded == pytest.approx(plain, rel=0.02)


def test_two_ranks_rewind_together(folder: Path) -> None:
    """What one rank spoils is left out by both; both go back, and pass their batches alike."""
    one, other = (torch.load(folder / f"rewound-{n}.pt", weights_only=True) for n in (0, 1))
    assert all(torch.equal(one["weights"][k], other["weights"][k]) for k in other["weights"])
    assert all(each.isfinite().all() for each in one["weights"].values())
    # Update 7 fails twice, 6 is undone by going back to 5, and made again: 10 + 2 + 1.
    assert one["seen"] == other["seen"] == 13
    rows = read_jsonl(folder / "rewound" / LOG_FILE)
    assert [row["update"] for row in rows] == [3, 6, 9, 10]
    for rank in (0, 1):
        reports = list(read_jsonl(folder / "rewound" / DIVERGED / f"reports-{rank}.jsonl"))
        assert len(reports) == 2
    assert len(torch.load(state_path(folder / "rewound", 10), weights_only=True)["ranks"]) == 2


@pytest.mark.parametrize(
    ("name", "rank", "what"),
    [
        ("audio", 1, "more than max_skipped"),
        ("states", 0, "pt could not be written"),  # the sixth or eighth: a thread writes them
    ],
)
def test_what_one_rank_loses_ends_both(folder: Path, name: str, rank: int, what: str) -> None:
    """Without waiting for the heartbeat, with the same words; and the resumed run is whole."""
    own, others = ((folder / f"{name}-{n}.txt").read_text() for n in (rank, 1 - rank))
    assert what in own
    assert f"rank {rank}: {own}" in others
    assert equal(folder / name / CHECKPOINT, folder / "whole" / CHECKPOINT)
    assert not list((folder / name).glob(".partial-*"))


def test_no_rank_ends_before_the_state_is_written(folder: Path) -> None:
    """SLURM ends all ranks once one has gone: the one that still writes would lose its state."""
    found = [(folder / f"stopped-{rank}.txt").read_text() for rank in (0, 1)]
    assert found == [str(state_path(folder / "stopped", 4))] * 2


def test_two_ranks_label_as_one(folder: Path, cuts: list[Cut]) -> None:
    made = folder / "straight" / "first" / "labels"
    assert read_json(made / "report.json")["utterances"] == len(LabelStore(made)) == len(cuts)


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "8", "WORLD_SIZE": "24"}
SLURM = {"SLURM_NTASKS": "24", "SLURM_NNODES": "3", "SLURM_PROCID": "5"}


def test_the_launchers_ranks_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command must run anywhere; nobody should count GPUs twice."""
    assert launched({}) is None
    assert launched(TORCHRUN) == launched(SLURM) == Layout(8, 3)
    inside_an_allocation = {"SLURM_NTASKS": "24", "SLURM_NNODES": "3"}
    assert launched(inside_an_allocation) is None
    with pytest.raises(ValueError, match="25 tasks on 3 nodes"):
        launched(SLURM | {"SLURM_NTASKS": "25"})
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="--devices 2, but the launcher started 8 ranks"):
        make_fabric(accelerator="cpu", devices=2)


if __name__ == "__main__":
    standalone = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, start_method="fork",
        run_id="ranks", rdzv_backend="c10d", rdzv_endpoint="localhost:0",
    )  # fmt: skip
    elastic_launch(standalone, main)(Path(sys.argv[1]))
