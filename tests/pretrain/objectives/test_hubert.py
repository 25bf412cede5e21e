"""The loss against a naive per-class computation, and its denominators."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from harness_bench.models.hubert import Hubert
from harness_bench.pretrain.data.batches import NO_LABEL, MaskedBatch
from harness_bench.pretrain.objectives.hubert import HubertObjective, PretrainHead
from tests.models.conftest import padded, small_config
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


def make_batch(seed: int = 0) -> MaskedBatch:
    samples, lengths = padded([8_000, 5_500, 6_400], seed)
    frames = [(int(n) - 400) // 320 + 1 for n in lengths]
    generator = torch.Generator().manual_seed(seed)
    labels = torch.full((3, max(frames)), NO_LABEL)
    for row, count in enumerate(frames):
        labels[row, :count] = torch.randint(0, 10, (count,), generator=generator)
    mask = (torch.rand(labels.shape, generator=generator) < 0.5) & (labels != NO_LABEL)
    return MaskedBatch(["a", "b", "c"], samples, lengths, labels, mask)


def objective(**settings: float) -> HubertObjective:
    torch.manual_seed(0)
    return HubertObjective(Hubert(small_config()), 10, small_step(**settings).pretrain).eval()


@pytest.fixture
def model() -> HubertObjective:
    return objective()


def test_loss_equals_the_naive_computation(model: HubertObjective) -> None:
    """One matrix product must give what the paper's formula gives, masked and unmasked."""
    batch = make_batch()
    with torch.inference_mode():
        sums = model(batch)
        output = model.hubert(batch.samples, batch.lengths, batch.mask).output
        known = batch.labels != NO_LABEL
        for ours, chosen in ((sums["masked"], batch.mask), (sums["unmasked"], ~batch.mask)):
            rows = known & chosen
            expected = naive_loss(model.head, output[rows], batch.labels[rows])
            assert float(ours) == pytest.approx(float(expected), rel=1e-5)


def test_gradients_equal_the_naive_computation(model: HubertObjective) -> None:
    """Equal values with wrong gradients would train something else."""
    batch = make_batch()
    torch.autograd.backward(model(batch)["masked"])
    ours = [p.grad.clone() for p in model.head.parameters() if p.grad is not None]
    model.zero_grad()
    output = model.hubert(batch.samples, batch.lengths, batch.mask).output[batch.mask]
    torch.autograd.backward(naive_loss(model.head, output, batch.labels[batch.mask]))
    theirs = [p.grad for p in model.head.parameters() if p.grad is not None]
    assert len(ours) == len(theirs) == 3
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, theirs, strict=True))


def test_padding_does_not_count(model: HubertObjective) -> None:
    """Frames behind an utterance's end have no label and must weigh nothing."""
    batch = make_batch()
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
    """Batches with unequal frame counts: the sum over parts must equal one batch of all.

    Averaging per-part means (the usual mistake) would weigh short parts too much.
    """
    model = objective(features_pen_weight=0.0)
    batch = make_batch()
    parts = [
        MaskedBatch(batch.ids[i : i + 1], *(tensor[i : i + 1] for tensor in batch[1:]))
        for i in range(3)
    ]
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
