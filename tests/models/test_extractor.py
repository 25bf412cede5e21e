"""The extractor's convolution against torch's own: values and all gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.models.extractor import convolve

if TYPE_CHECKING:
    import pytest

SMALL = st.integers(min_value=1, max_value=5)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3), length=st.integers(1, 40), channels=SMALL, out_channels=SMALL,
    taps=st.integers(1, 10), stride=SMALL, biased=st.booleans(), frozen=st.booleans(),
)  # fmt: skip
def test_equals_conv1d(
    *, batch: int, length: int, channels: int, out_channels: int, taps: int, stride: int,
    biased: bool, frozen: bool,
) -> None:  # fmt: skip
    """Kernels longer and shorter than the stride, remainders behind the last window, no window."""
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(batch, length, channels, generator=generator, dtype=torch.float64)
    weight = torch.randn(out_channels, channels, taps, generator=generator, dtype=torch.float64)
    bias = torch.ones(out_channels, dtype=torch.float64).requires_grad_() if biased else None
    inputs = [x.requires_grad_(not frozen), weight.requires_grad_()]
    inputs = [each for each in (*inputs, bias) if each is not None and each.requires_grad]
    ours = convolve(x, weight, bias, stride)
    if length < taps:  # conv1d refuses that
        assert ours.shape == (batch, 0, out_channels)
        return
    theirs = F.conv1d(x.transpose(1, 2), weight, bias, stride).transpose(1, 2)
    assert torch.allclose(ours, theirs, atol=1e-12)
    pull = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    for mine, other in zip(
        torch.autograd.grad(ours, inputs, pull), torch.autograd.grad(theirs, inputs, pull),
        strict=True,
    ):  # fmt: skip
        assert torch.allclose(mine, other, atol=1e-12)


def test_autocast_gives_its_type_and_full_gradients() -> None:
    """A custom function is not on autocast's list: it must follow it by itself."""
    x, weight = torch.randn(2, 50, 4), torch.randn(6, 4, 3, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = convolve(x, weight, None, 2)
    torch.autograd.backward(out.float().sum())
    assert out.dtype == torch.bfloat16
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    exact = F.conv1d(x.transpose(1, 2), weight, None, 2).transpose(1, 2)
    assert torch.allclose(out.float(), exact, atol=0.1)


def test_a_compiler_sees_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under torch.compile the products stand as one, for the compiler to arrange."""
    x, weight = torch.randn(2, 50, 4), torch.randn(6, 4, 3)
    plain = convolve(x, weight, None, 2)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.allclose(plain, convolve(x, weight, None, 2), atol=1e-5)
