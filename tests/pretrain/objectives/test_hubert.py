"""HuBERT: loss and gradients against naive computation, transformers and fairseq's criterion."""

from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import HubertModel

from benchmarks.fairseq_peer import HOW, FairseqPeer, fairseq_available
from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.hubert import Hubert, normalize_waveforms
from harness_bench.models.types.fairseq import our_name
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.pretrain.data.batches import NO_LABEL, MaskedBatch
from harness_bench.pretrain.objectives.hubert import HubertObjective, PretrainHead
from tests.models.conftest import KINDS, padded, small_config
from tests.pretrain.conftest import small_step


def naive_loss(head: PretrainHead, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """HuBERT's equation as written: one cosine per frame and class, softmax, negative log."""
    total = x.new_zeros(())
    for frame, label in zip(head.final_proj(x), labels.tolist(), strict=True):
        logits = torch.stack(
            [F.cosine_similarity(frame, row, dim=0) / 0.1 for row in head.label_embs_concat]
        )
        total = total - logits.log_softmax(0)[label + 4]
    return total


def make_batch(lengths: tuple[int, ...] = (8_000, 5_500, 6_400)) -> MaskedBatch:
    samples, counts = padded([*lengths])
    frames = [(n - 400) // 320 + 1 for n in lengths]
    generator = torch.Generator().manual_seed(0)
    labels = torch.full((3, max(frames)), NO_LABEL)
    for row, count in enumerate(frames):
        labels[row, :count] = torch.randint(0, 10, (count,), generator=generator)
    mask = (torch.rand(labels.shape, generator=generator) < 0.5) & (labels != NO_LABEL)
    return MaskedBatch(["a", "b", "c"], samples, counts, labels, mask)


def objective(**settings: float) -> HubertObjective:
    torch.manual_seed(0)
    return HubertObjective(Hubert(small_config()), 10, small_step(**settings).pretrain).eval()


@pytest.mark.parametrize(("start", "mean", "deviation"), [("uniform", 0.5, 1 / 12**0.5),
                                                          ("normal", 0.0, 1.0)])  # fmt: skip
def test_label_embeddings_start_as_the_option_says(
    start: str, mean: float, deviation: float
) -> None:
    """Uniform ones, as fairseq's, share a direction; normal ones do not."""
    config, options = small_step(final_dim=64).pretrain, {"label_embeddings": start}
    torch.manual_seed(0)
    model = HubertObjective(Hubert(small_config()), 500, config, options)
    values = model.head.label_embs_concat.detach()
    assert float(values.mean()) == pytest.approx(mean, abs=0.02)
    assert float(values.std()) == pytest.approx(deviation, rel=0.02)


def test_loss_and_gradients_equal_the_naive_computation() -> None:
    """One matrix product must give what the paper's formula gives, masked and unmasked."""
    model, batch = objective(), make_batch()
    known, head = batch.labels != NO_LABEL, [*model.head.parameters()]
    for name, chosen in (("masked", known & batch.mask), ("unmasked", known & ~batch.mask)):
        ours = model(batch)[name]
        output = model.hubert(batch.samples, batch.lengths, batch.mask).output[chosen]
        expected = naive_loss(model.head, output, batch.labels[chosen])
        assert float(ours.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
        gradients = zip(
            *(torch.autograd.grad(loss, head) for loss in (ours, expected)), strict=True
        )
        assert all(torch.allclose(mine, naive, atol=1e-4) for mine, naive in gradients)


def test_padding_does_not_count() -> None:
    """Frames behind an utterance's end have no label and must weigh nothing."""
    model, batch = objective(), make_batch()
    wider = MaskedBatch(
        batch.ids, F.pad(batch.samples, (0, 3_200)), batch.lengths,
        F.pad(batch.labels, (0, 10), value=NO_LABEL), F.pad(batch.mask, (0, 10)),
    )  # fmt: skip
    with torch.inference_mode():
        one, other = model(batch), model(wider)
    assert torch.equal(batch.counts, wider.counts)
    assert float(one["masked"]) == pytest.approx(float(other["masked"]), rel=1e-5)
    assert float(one["features_pen"]) == pytest.approx(float(other["features_pen"]), rel=1e-5)


def test_accumulated_and_distributed_gradients_are_exact() -> None:
    """Averaging the means of parts (the usual mistake) would weigh short parts too much."""
    model = objective(features_pen_weight=0.0)
    batch = make_batch()
    parts = [batch.each(itemgetter(slice(row, row + 1))) for row in range(3)]
    total = batch.counts
    assert torch.equal(total, torch.stack([part.counts for part in parts]).sum(0))

    def gradient(pieces: list[MaskedBatch], ranks: int) -> torch.Tensor:
        model.zero_grad()
        for piece in pieces:
            loss = model.loss(model(piece), piece.counts, total, ranks) / ranks
            torch.autograd.backward(loss)
        grad = model.head.final_proj.weight.grad
        assert grad is not None
        return grad.clone()

    whole = gradient([batch], 1)
    assert torch.allclose(gradient(parts, 1), whole, atol=1e-6)
    # Three ranks with one part each: gradients are averaged, hence the factor in `loss`.
    assert torch.allclose(gradient(parts, 3), whole, atol=1e-6)


def test_gradients_stop_before_a_frozen_extractor() -> None:
    """No gradient tensor at all, not one of zeros; with a share of 0.1, a tenth of the gradient."""
    found = {}
    for share in (0.0, 0.1, 1.0):
        model = objective(feature_grad_mult=share)
        model.hubert(*padded([8_000, 8_000])).output.square().sum().backward()
        found[share] = [each.grad for each in model.hubert.feature_extractor.parameters()]
        assert model.hubert.masked_spec_embed.requires_grad
    assert all(grad is None for grad in found[0.0])
    for tenth, whole in zip(found[0.1], found[1.0], strict=True):
        assert tenth is not None
        assert whole is not None
        torch.testing.assert_close(tenth, whole / 10)


def test_weights_and_penalty_enter_as_fairseq_writes_them() -> None:
    """(w_m * sum_m + w_u * sum_u) / (frames with weight) + 10 * penalty."""
    batch = make_batch()
    for masked, unmasked in ((2.0, 0.25), (1.0, 0.0)):
        model = objective(pred_masked_weight=masked, pred_nomask_weight=unmasked)
        with torch.inference_mode():
            sums = model(batch)
            loss = model.loss(sums, batch.counts, batch.counts, 1)
        frames = float(batch.counts.sum() if unmasked else batch.counts[0])
        expected = (masked * sums["masked"] + unmasked * sums["unmasked"]) / frames
        assert float(loss) == pytest.approx(float(expected + 10 * sums["features_pen"]), rel=1e-6)


PENALISED = small_step(pred_masked_weight=2.0, pred_nomask_weight=0.25, features_pen_weight=10.0)


def reference_loss(
    backbone: HubertModel, model: HubertObjective, batch: MaskedBatch, config: PretrainConfig
) -> torch.Tensor:
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
    config = PENALISED.pretrain
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


WEIGHTS: dict[str, dict[str, Any]] = {
    "both": {"pred_masked_weight": 2.0, "pred_nomask_weight": 0.25},
    "masked": {"pred_nomask_weight": 0.0},
    "unmasked": {"pred_masked_weight": 0.0, "pred_nomask_weight": 1.0},
}


@pytest.mark.fairseq
@pytest.mark.skipif(not fairseq_available(), reason=HOW)
@pytest.mark.parametrize(
    ("kind", "weights", "mult"),
    [*((kind, "both", 1.0) for kind in sorted(KINDS)), ("large", "masked", 0.1),
     ("base", "unmasked", 1.0)],
)  # fmt: skip
def test_loss_and_gradients_equal_fairseqs(kind: str, weights: str, mult: float) -> None:
    """The paper trained with fairseq; a weight or a denominator read wrongly trains another."""
    config = small_config(**KINDS[kind])
    settings = PretrainConfig(
        max_update=1, final_dim=16, features_pen_weight=10.0, feature_grad_mult=mult,
        logit_temp=0.2, **WEIGHTS[weights],
    )  # fmt: skip
    torch.manual_seed(0)
    peer = FairseqPeer(config, 10, settings)
    model, batch = peer.ours(), make_batch((8_000,) * 3)  # fairseq counts padding
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
