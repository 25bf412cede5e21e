"""A run that goes wrong must stop with its weights whole and leave what it went wrong on."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness_bench.core.files import read_json
from harness_bench.pretrain.data.batches import MaskedBatch
from harness_bench.pretrain.monitor import DIVERGED, Guard

BATCH = MaskedBatch(
    ["a", "b"], torch.ones(2, 800), torch.tensor([800, 400]), torch.zeros(2, 2, dtype=torch.int64),
    torch.ones(2, 2, dtype=torch.bool),
)  # fmt: skip


@pytest.mark.parametrize("norm", [float("nan"), float("inf")])
def test_broken_gradients_leave_the_batch(tmp_path: Path, norm: float) -> None:
    """The very tensors, so that the update can be done again under a debugger."""
    guard = Guard(tmp_path, 4.0, 3.0, rank=1)
    guard.check_gradients(torch.tensor(1e9), [BATCH], 7)
    assert not (tmp_path / DIVERGED).exists()
    with pytest.raises(RuntimeError, match=r"Update 8: the gradient norm is .*It held a, b"):
        guard.check_gradients(torch.tensor(norm), [BATCH, BATCH], 7)
    found = load_file(tmp_path / DIVERGED / "batch-1-1.safetensors")
    assert torch.equal(found["samples"], BATCH.samples)
    assert set(found) == {"samples", "lengths", "labels", "mask", "channels"}
    report = read_json(tmp_path / DIVERGED / "report-1.json")
    assert report["ids"] == ["a", "b", "a", "b"]


def test_a_loss_far_above_guessing_stops_the_run(tmp_path: Path) -> None:
    """16 clusters cost 4 bits to guess; a loss of 12.1 is past three times that."""
    guard = Guard(tmp_path, 4.0, 3.0, rank=0)
    guard.check_loss(None, [BATCH])
    guard.check_loss({"update": 5, "loss_masked": 11.9}, [BATCH])
    with pytest.raises(RuntimeError, match=r"Update 6: .* 12\.1 bits, and guessing costs 4\.0"):
        guard.check_loss({"update": 6, "loss_masked": 12.1}, [BATCH])
    assert read_json(tmp_path / DIVERGED / "report-0.json")["loss_masked"] == 12.1
