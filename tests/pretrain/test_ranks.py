"""Two ranks must train the very model that one rank with the same batches trains."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from lhotse import CutSet

from harness_bench.core.fabric import Layout, launched, make_fabric
from harness_bench.core.files import read_json, read_jsonl
from harness_bench.pretrain.config import checkpoint_folder
from harness_bench.pretrain.data.batches import epoch_batches
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.labels.store import LabelStore
from harness_bench.pretrain.monitor import LOG_FILE
from harness_bench.pretrain.trainer import build_run
from tests.pretrain.conftest import equal
from tests.pretrain.test_family import TINY
from tests.pretrain.two_ranks import GRADIENT_STEP, gradients

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut

    from harness_bench.pretrain.state import Run

FAMILY = TINY.split('[[iterations]]\nname = "second"', maxsplit=1)[0].replace(
    "max_update = 3", "max_update = 10\nsave_interval_updates = 4\nlog_interval = 5"
)


@pytest.fixture(scope="module")
def folder(cuts: list[Cut], labels: LabelStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the two ranks left."""
    made = tmp_path_factory.mktemp("ranks")
    CutSet.from_cuts(cuts).to_file(made / "cuts.jsonl")
    (made / "labels").symlink_to(labels.folder)
    (made / "family.toml").write_text(FAMILY)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "tests.pretrain.two_ranks", str(made),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return made


@pytest.mark.parametrize("how", ["two ranks", "two batches accumulated"])
def test_gradients_do_not_depend_on_ranks(
    folder: Path, cuts: list[Cut], labels: LabelStore, how: str
) -> None:
    """Denominators are summed over ranks and accumulated batches, so gradients are the same.

    The reference goes over the two batches by hand: losses added, divided by all frames.
    """
    run = build_run(GRADIENT_STEP, "key", folder / "u", make_fabric(accelerator="cpu"), None, 1.0)
    run.model.eval()
    found = torch.load(folder / "gradients.pt", weights_only=True)
    if how != "two ranks":
        found = gradients(run, CutList(cuts), labels, [0, 1])
        run.optimizer.zero_grad()
    expected = by_hand(run, CutList(cuts), labels)
    assert found.keys() == expected.keys()
    # Keys' biases have no gradient but rounding errors: below a share of the largest all is zero.
    largest = max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():
        scale = float(value.abs().max()) + 1e-3 * largest
        assert float((found[name] - value).abs().max()) <= 1e-5 * scale, name


def by_hand(run: Run, source: CutList, labels: LabelStore) -> dict[str, torch.Tensor]:
    """Return the gradients of the loss written out, without the loop."""
    config, total, frames = run.config, torch.zeros(()), 0.0
    for rank in (0, 1):
        batch = next(epoch_batches(source, labels, config, epoch=0, skip=0, rank=rank, ranks=2))
        sums = run.objective(batch)
        count = float(batch.counts.sum())
        total = total + sums["masked"] + config.pred_nomask_weight * sums["unmasked"]
        total = total + config.features_pen_weight * sums["features_pen"] * count
        frames += count
    (total / frames).backward()  # type: ignore[no-untyped-call]
    return {
        name: parameter.grad
        for name, parameter in run.objective.named_parameters()
        if parameter.grad is not None
    }


def test_two_ranks_resume_bit_equal(folder: Path) -> None:
    """Every rank takes up its own place in the epoch and its own random numbers."""
    outs = (folder / "straight", folder / "resumed")
    assert equal(*(checkpoint_folder(out, "first") for out in outs))


def test_two_ranks_label_as_one(folder: Path, cuts: list[Cut]) -> None:
    """Every utterance is labelled, whichever rank had it."""
    report = read_json(folder / "straight" / "first" / "labels" / "report.json")
    assert report["utterances"] == len(cuts)
    assert len(LabelStore(folder / "straight" / "first" / "labels")) == len(cuts)


def test_the_log_speaks_for_all_ranks(folder: Path) -> None:
    """One line per interval, not one per rank; it goes on after the interruption."""
    rows = list(read_jsonl(folder / "resumed" / "first" / "run" / LOG_FILE))
    assert [row["update"] for row in rows] == [5, 10]


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "8", "WORLD_SIZE": "24"}
SLURM = {"SLURM_NTASKS": "24", "SLURM_NNODES": "3", "SLURM_PROCID": "5"}
LAUNCHERS = {
    "nobody": ({}, None),
    "torchrun on three machines": (TORCHRUN, Layout(8, 3)),
    "srun on three machines": (SLURM, Layout(8, 3)),
    "a shell inside an allocation": ({"SLURM_NTASKS": "24", "SLURM_NNODES": "3"}, None),
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_launchers_ranks_are_taken(launcher: str) -> None:
    """The same command must run anywhere; nobody should count GPUs twice."""
    environment, expected = LAUNCHERS[launcher]
    assert launched(environment) == expected


def test_contradictions_to_the_launcher_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="--devices 2, but the launcher started 8 ranks"):
        make_fabric(accelerator="cpu", devices=2)
    with pytest.raises(ValueError, match="25 tasks on 3 nodes"):
        launched(SLURM | {"SLURM_NTASKS": "25"})
