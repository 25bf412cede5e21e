"""Dropout of the head: torch's own bits, however it is drawn."""

import pytest
import torch
import torch.nn.functional as F

from harness_bench.probing.head import dropout
from harness_bench.probing.head.dropout import FrameDropout


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.4, 0.5])
@pytest.mark.parametrize("channels_last", [True, False])
def test_bits_gradients_and_random_numbers_are_torchs(
    p: float, monkeypatch: pytest.MonkeyPatch, *, integers: bool, channels_last: bool
) -> None:
    """Heads trained before it was drawn in another way must come out the same."""
    if not integers or not dropout._integers_decide():
        monkeypatch.setattr(dropout, "_integers_decide", lambda: False)
    x = torch.randn(3, 8, 21)
    x = x.transpose(1, 2).contiguous().transpose(1, 2) if channels_last else x
    valid = torch.arange(21) < torch.tensor([21, 4, 13])[:, None]
    found = []
    for ours in (True, False):
        torch.manual_seed(7)
        given = x.clone().requires_grad_()
        y = FrameDropout(p)(given, valid) if ours else F.dropout(given, p) * valid[:, None]
        (gradient,) = torch.autograd.grad(y, given, torch.ones_like(y))
        found.append((y, gradient, torch.get_rng_state()))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_heads_that_are_tested_drop_nothing() -> None:
    """Behind the frames there are zeros all the same."""
    layer, x = FrameDropout(0.4).eval(), torch.randn(2, 3, 5)
    valid = torch.arange(5) < torch.tensor([5, 2])[:, None]
    assert torch.equal(layer(x, valid), x.masked_fill(~valid[:, None], 0))
