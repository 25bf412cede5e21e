"""What goes wrong is kept for inspection, and said with its utterances; weights stay whole."""

import os
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness_bench.core.fabric import make_fabric
from harness_bench.core.files import read_jsonl
from harness_bench.pretrain import trainer
from harness_bench.pretrain.data.batches import MaskedBatch
from harness_bench.pretrain.monitor import DIVERGED, Diverged, Guard
from tests.pretrain.conftest import small_step

BATCH = MaskedBatch(
    ["a", "b"], torch.ones(2, 800), torch.tensor([800, 400]), torch.zeros(2, 2, dtype=torch.int64),
    torch.ones(2, 2, dtype=torch.bool),
)  # fmt: skip


def test_where_slurm_is_installed_nothing_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning advises to use srun wherever there is one: every log would begin with it."""
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        make_fabric(accelerator="cpu")
    assert [str(each.message) for each in told if "srun" in str(each.message)] == []


def guard(out: Path, **settings: float) -> Guard:
    fabric = make_fabric(accelerator="cpu")
    return Guard(trainer.build_run(small_step(**settings), "key", out, fabric, None, 1.0))


@pytest.mark.parametrize("norm", [float("nan"), float("inf")])
def test_broken_gradients_leave_the_batch(tmp_path: Path, norm: float) -> None:
    """The very tensors, so that the update can be done again under a debugger."""
    watch = guard(tmp_path, max_bad_updates=1)
    assert watch.is_finite(torch.tensor(1e9), [BATCH])
    assert not (tmp_path / DIVERGED).exists()
    watch.run.progress.update = 7
    assert not watch.is_finite(torch.tensor(norm), [BATCH, BATCH])
    assert watch.is_finite(torch.tensor(1.0), [BATCH]), "a good one in between"
    assert not watch.is_finite(torch.tensor(norm), [BATCH])
    with pytest.raises(Diverged, match=r"Update 8: the gradient norm is .*It held a, b"):
        watch.is_finite(torch.tensor(norm), [BATCH])
    found = load_file(tmp_path / DIVERGED / "batch-0-1.safetensors")
    assert torch.equal(found["samples"], BATCH.samples)
    assert set(found) == {"samples", "lengths", "labels", "mask", "channels"}
    reports = list(read_jsonl(tmp_path / DIVERGED / "reports-0.jsonl"))
    assert [row["ids"] for row in reports] == [["a", "b", "a", "b"], ["a", "b"], ["a", "b"]]


def test_a_loss_far_above_guessing_diverges(tmp_path: Path) -> None:
    """10 clusters cost 3.3 bits to guess; a loss of 10.1 is past three times that."""
    watch = guard(tmp_path)
    watch.check_loss(None, [BATCH])
    watch.check_loss({"update": 5, "loss_masked": 9.9}, [BATCH])
    with pytest.raises(Diverged, match=r"Update 6: .* 10\.1 bits, and guessing costs 3\.3"):
        watch.check_loss({"update": 6, "loss_masked": 10.1}, [BATCH])
    (report,) = read_jsonl(tmp_path / DIVERGED / "reports-0.jsonl")
    assert report["loss_masked"] == 10.1
