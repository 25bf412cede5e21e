"""The loss against a naive per-class computation, and its denominators."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from harness_bench.models.hubert import Hubert
from harness_bench.pretrain.data.batches import NO_LABEL, MaskedBatch
from harness_bench.pretrain.objectives.hubert import PretrainHead, PretrainModel, combine
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


@pytest.fixture
def model() -> PretrainModel:
    torch.manual_seed(0)
    return PretrainModel(Hubert(small_config()), 10, small_step().pretrain).eval()


def test_loss_equals_the_naive_computation(model: PretrainModel) -> None:
    """One matrix product must give what the paper's formula gives, masked and unmasked."""
    batch = make_batch()
    with torch.inference_mode():
        sums = model(batch)
        output = model.hubert(batch.samples, batch.lengths, batch.mask).output
        known = batch.labels != NO_LABEL
        for ours, chosen in ((sums.masked, batch.mask), (sums.unmasked, ~batch.mask)):
            rows = known & chosen
            expected = naive_loss(model.head, output[rows], batch.labels[rows])
            assert float(ours) == pytest.approx(float(expected), rel=1e-5)


def test_gradients_equal_the_naive_computation(model: PretrainModel) -> None:
    """Equal values with wrong gradients would train something else."""
    batch = make_batch()
    torch.autograd.backward(model(batch).masked)
    ours = [p.grad.clone() for p in model.head.parameters() if p.grad is not None]
    model.zero_grad()
    output = model.hubert(batch.samples, batch.lengths, batch.mask).output[batch.mask]
    torch.autograd.backward(naive_loss(model.head, output, batch.labels[batch.mask]))
    theirs = [p.grad for p in model.head.parameters() if p.grad is not None]
    assert len(ours) == len(theirs) == 3
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, theirs, strict=True))


def test_padding_does_not_count(model: PretrainModel) -> None:
    """Frames behind an utterance's end have no label and must weigh nothing."""
    batch = make_batch()
    wider = MaskedBatch(
        batch.ids, F.pad(batch.samples, (0, 3_200)), batch.lengths,
        F.pad(batch.labels, (0, 10), value=NO_LABEL), F.pad(batch.mask, (0, 10)),
    )  # fmt: skip
    with torch.inference_mode():
        one, other = model(batch), model(wider)
    assert torch.equal(batch.counts, wider.counts)
    assert float(one.masked) == pytest.approx(float(other.masked), rel=1e-5)
    assert float(one.features_pen) == pytest.approx(float(other.features_pen), rel=1e-5)


def test_accumulated_and_distributed_gradients_are_exact(model: PretrainModel) -> None:
    """Batches with unequal frame counts: the sum over parts must equal one batch of all.

    Averaging per-part means (the usual mistake) would weigh short parts too much.
    """
    config = small_step(features_pen_weight=0.0).pretrain
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
            loss = combine(model(piece), piece.counts, total, config, ranks) / ranks
            torch.autograd.backward(loss)
        grad = model.head.final_proj.weight.grad
        assert grad is not None
        return grad.clone()

    whole = gradient([batch], 1)
    assert torch.allclose(gradient(parts, 1), whole, atol=1e-6)
    # Three ranks with one part each: gradients are averaged, hence the factor in `combine`.
    assert torch.allclose(gradient(parts, 3), whole, atol=1e-6)


def test_weights_and_penalty_enter_as_fairseq_writes_them(model: PretrainModel) -> None:
    """(w_m * sum_m + w_u * sum_u) / (frames with weight) + 10 * penalty."""
    config = small_step(pred_masked_weight=2.0, pred_nomask_weight=0.25).pretrain
    batch = make_batch()
    with torch.inference_mode():
        sums = model(batch)
        loss = combine(sums, batch.counts, batch.counts, config, 1)
    frames = float(batch.counts.sum())
    expected = (2 * sums.masked + 0.25 * sums.unmasked) / frames + 10 * sums.features_pen
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    masked_only = small_step(pred_nomask_weight=0.0).pretrain
    with torch.inference_mode():
        loss = combine(sums, batch.counts, batch.counts, masked_only, 1)
    expected = sums.masked / float(batch.counts[0]) + 10 * sums.features_pen
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
