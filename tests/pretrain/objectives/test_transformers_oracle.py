"""One training step against transformers' HubertModel and the loss as HuBERT's paper writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from transformers import HubertModel

from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.hubert import Hubert, normalize_waveforms
from harness_bench.pretrain.data.batches import NO_LABEL
from harness_bench.pretrain.objectives.hubert import HubertObjective
from tests.models.conftest import KINDS, small_config
from tests.pretrain.conftest import small_step
from tests.pretrain.objectives.test_hubert import make_batch

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.data.batches import MaskedBatch

CONFIG = small_step(pred_masked_weight=2.0, pred_nomask_weight=0.25, features_pen_weight=10.0)


def reference_loss(
    backbone: HubertModel, model: HubertObjective, batch: MaskedBatch, config: PretrainConfig
) -> torch.Tensor:
    """Return the loss from transformers' hidden states, cosine by cosine."""
    waves = normalize_waveforms(batch.samples, batch.lengths)
    attend = torch.arange(waves.shape[1]) < batch.lengths[:, None]
    features: list[torch.Tensor] = []
    hook = backbone.feature_extractor.register_forward_hook(
        lambda _module, _given, out: features.append(out.transpose(1, 2))
    )
    out = backbone(waves, attention_mask=attend.long(), mask_time_indices=batch.mask)
    hook.remove()
    known = batch.labels != NO_LABEL
    total, count = torch.zeros(()), 0
    for weight, chosen in (
        (config.pred_masked_weight, known & batch.mask),
        (config.pred_nomask_weight, known & ~batch.mask),
    ):
        projected = model.head.final_proj(out.last_hidden_state[chosen])
        cosines = F.cosine_similarity(projected[:, None], model.head.label_embs_concat, dim=-1)
        targets = batch.labels[chosen] + 4
        total = total + weight * F.cross_entropy(
            cosines / config.logit_temp, targets, reduction="sum"
        )
        count += len(targets)
    return total / count + config.features_pen_weight * features[0][known].square().mean()


@pytest.mark.parametrize("kind", ["large", "thin", "biased"])
def test_loss_and_gradients_equal_transformers(kind: str, tmp_path: Path) -> None:
    """In a padded batch, in float64 so that 1e-5 says something; the head computes in float32."""
    config = CONFIG.pretrain
    torch.manual_seed(0)
    hubert = Hubert(small_config(**KINDS[kind]))
    save_checkpoint(tmp_path, hubert)
    # transformers has a mask embedding only where it would mask by itself.
    backbone = HubertModel.from_pretrained(tmp_path, apply_spec_augment=True, mask_time_prob=0.1)
    backbone = backbone.double().train()
    model = HubertObjective(hubert, 10, config).double()
    batch = make_batch()
    batch = batch._replace(samples=batch.samples.double())
    ours = model.loss(model(batch), batch.counts, batch.counts, 1)
    torch.autograd.backward(ours)
    head = {name: p.grad.clone() for name, p in model.head.named_parameters() if p.grad is not None}
    model.head.zero_grad()
    theirs = reference_loss(backbone, model, batch, config)
    torch.autograd.backward(theirs)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
    expected = dict(backbone.named_parameters()) | dict(model.head.named_parameters())
    found = {name: p.grad for name, p in hubert.named_parameters()} | head
    assert len(head) == 3
    for name, gradient in found.items():
        reference = expected[name].grad
        assert gradient is not None, name
        assert reference is not None, name
        if not name.endswith("k_proj.bias"):  # Its gradient is rounding alone.
            assert float((gradient - reference).norm() / reference.norm()) < 1e-5, name
