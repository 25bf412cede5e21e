"""One training step against fairseq's own HuBERT and criterion: the same loss, the same gradients.

The paper trained with fairseq; a weight or a denominator read wrongly trains another model.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.fairseq_peer import HOW, FairseqPeer, fairseq_available
from harness_bench.models.hubert import normalize_waveforms
from harness_bench.models.types.fairseq import our_name
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.pretrain.data.batches import MaskedBatch
from tests.models.conftest import KINDS, padded, small_config

pytestmark = [pytest.mark.fairseq, pytest.mark.skipif(not fairseq_available(), reason=HOW)]
CLUSTERS, SAMPLES = 10, 8_000
WEIGHTS: dict[str, dict[str, Any]] = {
    "both": {"pred_masked_weight": 2.0, "pred_nomask_weight": 0.25},
    "masked": {"pred_nomask_weight": 0.0},
    "unmasked": {"pred_masked_weight": 0.0, "pred_nomask_weight": 1.0},
}


def make_batch() -> MaskedBatch:
    """Return three utterances of equal length, as fairseq crops them: it counts padding else."""
    samples, lengths = padded([SAMPLES] * 3)
    shape = (3, small_config().frames(SAMPLES))
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLUSTERS, shape, generator=generator)
    mask = torch.rand(shape, generator=generator) < 0.5
    return MaskedBatch(["a", "b", "c"], samples, lengths, labels, mask)


@pytest.mark.parametrize(
    ("kind", "weights", "mult"),
    [*((kind, "both", 1.0) for kind in sorted(KINDS)), ("large", "masked", 0.1),
     ("base", "unmasked", 1.0)],
)  # fmt: skip
def test_loss_and_gradients_equal_fairseqs(kind: str, weights: str, mult: float) -> None:
    """Masked and unmasked weights, temperature, feature penalty, its gradient, sample size."""
    config = small_config(**KINDS[kind])
    settings = PretrainConfig(
        max_update=1, final_dim=16, features_pen_weight=10.0, feature_grad_mult=mult,
        logit_temp=0.2, **WEIGHTS[weights],
    )  # fmt: skip
    torch.manual_seed(0)
    peer = FairseqPeer(config, CLUSTERS, settings)
    model, batch = peer.ours(), make_batch()
    waveforms = batch.samples
    if config.normalize:
        waveforms = normalize_waveforms(waveforms, batch.lengths)
    theirs = peer.loss(batch, waveforms)
    ours = model.loss(model(batch), batch.counts, batch.counts, 1)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
    torch.autograd.backward([ours, theirs])
    mine = dict(model.hubert.named_parameters()) | dict(model.head.named_parameters())
    for name, parameter in peer.model.named_parameters():
        if name.endswith("k_proj.bias"):
            continue  # A shift of all keys changes no softmax: the gradient is rounding alone.
        gradient = mine[our_name(name)].grad
        assert gradient is not None, name
        assert parameter.grad is not None, name
        gap = (gradient - parameter.grad).norm() / parameter.grad.norm()
        assert float(gap) < 1e-5, name
