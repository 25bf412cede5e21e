"""A frozen extractor stays as it was copied, bit for bit, through whole updates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from harness_bench.core.fabric import make_fabric
from harness_bench.models.checkpoint import load_hubert
from harness_bench.models.hubert import Hubert
from harness_bench.pretrain.objectives.hubert import HubertObjective
from harness_bench.pretrain.trainer import pretrain
from tests.models.conftest import small_config
from tests.pretrain.conftest import small_step

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut

    from harness_bench.pretrain.labels.store import LabelStore


@pytest.fixture(scope="module")
def teacher(cuts: list[Cut], labels: LabelStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher")
    fabric = make_fabric(accelerator="cpu")
    return pretrain(small_step(max_update=1), cuts, labels, out, fabric=fabric)


@pytest.mark.parametrize("init", ["copy_extractor", "block_average", "slice", "svd"])
def test_frozen_extractor_is_bit_equal_to_the_teachers(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, teacher: Path, init: str
) -> None:
    """With weight decay: AdamW shrinks parameters whose gradient is zero, not those without one.

    The rest of the model must move, or the test would pass on a run that does nothing.
    """
    fabric = make_fabric(accelerator="cpu")
    step = small_step(
        init=init, feature_grad_mult=0.0, max_update=3, warmup_updates=0, weight_decay=0.5,
        save_interval_updates=2,
    )  # fmt: skip
    shape = small_config() if init == "block_average" else small_config(encoder_embed_dim=16)
    step = replace(step, model=shape)
    folder = pretrain(step, cuts, labels, tmp_path, fabric=fabric, teacher=teacher)
    theirs, ours = load_hubert(teacher).state_dict(), load_hubert(folder).state_dict()
    extractor = [name for name in theirs if name.startswith("feature_extractor.")]
    assert len(extractor) == 21
    assert all(torch.equal(ours[name], theirs[name]) for name in extractor)
    assert not torch.equal(ours["masked_spec_embed"], theirs["masked_spec_embed"][:16])


def test_gradients_stop_before_a_frozen_extractor() -> None:
    """No gradient tensor at all, not one of zeros; with a share of 0.1, a tenth of the gradient."""
    found = {}
    for share in (0.0, 0.1, 1.0):
        torch.manual_seed(0)
        hubert = Hubert(small_config())
        model = HubertObjective(hubert, 10, small_step(feature_grad_mult=share).pretrain)
        waves = torch.randn(2, 8000, generator=torch.Generator().manual_seed(1))
        model.hubert(waves, torch.tensor([8000, 8000])).output.square().sum().backward()
        found[share] = [each.grad for each in hubert.feature_extractor.parameters()]
        assert hubert.masked_spec_embed.requires_grad
    assert all(grad is None for grad in found[0.0])
    for tenth, whole in zip(found[0.1], found[1.0], strict=True):
        assert tenth is not None
        assert whole is not None
        torch.testing.assert_close(tenth, whole / 10)
