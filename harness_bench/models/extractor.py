"""The convolutional feature extractor, channels last: matrix products over views of the input.

Windows of a kernel longer than its stride overlap, and no matrix library takes overlapping rows:
one product over all taps copies every window, and its gradient scatters them back. Taps taken
`stride` at a time do not overlap, so the products read the input and add to its gradient in place.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, override

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness_bench.models.config import HubertConfig


class ConvLayer(nn.Module):
    """One temporal convolution with optional layer or group norm and GELU."""

    def __init__(
        self, size: tuple[int, int, int, int], norm: nn.Module | None, *, bias: bool
    ) -> None:
        """`size` is (channels in, channels out, kernel, stride)."""
        super().__init__()
        channels_in, channels, kernel, self.stride = size
        # The parameters keep nn.Conv1d's names and shapes; its forward is not used.
        self.conv = nn.Conv1d(channels_in, channels, kernel, self.stride, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight)
        self.layer_norm = norm

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, T, C) -> (B, T', C')."""
        x = convolve(x, self.conv.weight, self.conv.bias, self.stride)
        if isinstance(self.layer_norm, nn.GroupNorm):
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)
        elif self.layer_norm is not None:
            x = self.layer_norm(x)
        return F.gelu(x)


class ConvFeatureExtractor(nn.Module):
    """Waveforms to frames: seven convolutions, 320 samples a frame with the paper's strides."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        layer_norm = config.extractor_mode == "layer_norm"
        # Whether padding would change the result; False lets it, as other toolkits do.
        self.per_utterance = not layer_norm
        dims = config.conv_dim
        sizes = zip((1, *dims[:-1]), dims, config.conv_kernel, config.conv_stride, strict=True)
        norms: list[nn.Module | None] = [nn.LayerNorm(dim) if layer_norm else None for dim in dims]
        if not layer_norm:
            norms[0] = nn.GroupNorm(dims[0], dims[0])
        self.conv_layers = nn.ModuleList(
            map(partial(ConvLayer, bias=config.conv_bias), sizes, norms)
        )

    @override
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Run all layers: waveforms (B, T), lengths (B,) -> frames (B, F, C).

        A group norm looks over the whole length, so padding would change its result: such
        extractors run every utterance alone (a tested property: alone = in a batch).
        """
        if not self.per_utterance or bool((lengths == waveforms.shape[1]).all()):
            return self._run(waveforms)
        pairs = zip(waveforms, lengths.tolist(), strict=True)
        alone = [self._run(wave[None, :length])[0] for wave, length in pairs]
        return nn.utils.rnn.pad_sequence(alone, batch_first=True)

    def _run(self, waveforms: Tensor) -> Tensor:
        x = waveforms[..., None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve x (B, T, C) with weight (C', C, K) of nn.Conv1d -> (B, (T - K) // stride + 1, C').

    Under autocast the products are made in its type, as those of a linear layer.
    """
    batch, length, channels = x.shape
    out_channels, _, taps = weight.shape
    if length < taps:
        return x.new_zeros(batch, 0, out_channels)
    # Of one channel, flattened as it is: a permuted gradient would have other strides than the
    # weight, which DDP warns of.
    flat = weight.flatten(1) if channels == 1 else weight.permute(0, 2, 1).reshape(out_channels, -1)
    if channels == 1 or torch.compiler.is_compiling():
        # Windows of a waveform are small beside what comes of them; a compiler has its own ways.
        windows = x.reshape(batch, -1).unfold(1, taps * channels, stride * channels)
        return F.linear(windows, flat, bias)
    if torch.is_autocast_enabled(x.device.type):
        kind = torch.get_autocast_dtype(x.device.type)
        x, flat = x.to(kind), flat.to(kind)
    out: Tensor = _Convolution.apply(x.contiguous(), flat, stride)  # type: ignore[no-untyped-call]
    return out if bias is None else out + bias.to(out.dtype)


class _Convolution(torch.autograd.Function):
    """x (B, T, C), weight (C', K * C), stride -> (B, F, C')."""

    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, kind = stride, x.dtype
        x, weight = _for_products(x), _for_products(weight)
        taps = weight.shape[1] // x.shape[2]
        frames = (x.shape[1] - taps) // stride + 1
        out = x.new_empty(x.shape[0], frames, weight.shape[0])
        for number, (rows, columns) in enumerate(_parts(x, weight, stride, frames)):
            _add_product(out, rows, weight[:, columns].T, first=number == 0)
        return out.to(kind)

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,) = grads
        kind = grad.dtype
        x, weight, grad = (_for_products(each) for each in (*ctx.saved_tensors, grad))
        grad, frames = grad.contiguous(), grad.shape[1]
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            # The first part writes, others add: what it does not reach must be zero beforehand.
            gaps = weight.shape[1] < ctx.stride * x.shape[2]
            to_x = torch.zeros_like(x) if gaps else torch.empty_like(x)
            to_x[:, frames * ctx.stride :] = 0
            parts = _parts(to_x, weight, ctx.stride, frames)
            for number, (rows, columns) in enumerate(parts):
                _add_product(rows, grad, weight[:, columns], first=number == 0)
        if ctx.needs_input_grad[1]:
            to_weight = torch.empty_like(weight)
            for rows, columns in _parts(x, weight, ctx.stride, frames):
                alone = len(grad) == 1
                products = grad[0].T @ rows[0] if alone else torch.bmm(grad.mT, rows).sum(0)
                to_weight[:, columns] = products
        return (
            None if to_x is None else to_x.to(kind),
            None if to_weight is None else to_weight.to(kind),
            None,
        )


def _for_products(x: Tensor) -> Tensor:
    """Widen bf16 on a CPU without instructions for it: there its products are ten times slower.

    They are summed in float32 in any case, and rounded once.
    """
    slow = x.dtype == torch.bfloat16 and x.device.type == "cpu"
    return x.float() if slow and torch.backends.cpu.get_cpu_capability() == "AVX2" else x


def _parts(x: Tensor, weight: Tensor, stride: int, frames: int) -> Iterator[tuple[Tensor, slice]]:
    """Yield views of x (B, F, n * C) for n <= stride taps, and their columns of the weight."""
    channels = x.shape[2]
    flat = x.view(x.shape[0], -1)
    step, width = stride * channels, weight.shape[1]
    for number, first in enumerate(range(0, width, step)):
        last = min(first + step, width)
        rows = flat.unfold(1, last - first, step)[:, number : number + frames]
        yield rows, slice(first, last)


def _add_product(out: Tensor, left: Tensor, right: Tensor, *, first: bool) -> None:
    """Add left (B, F, n) @ right (n, m) to out (B, F, m) in place; write it if `first`."""
    beta = int(not first)
    if len(out) == 1:
        out[0].addmm_(left[0], right, beta=beta)
    else:
        out.baddbmm_(left, right.expand(len(out), -1, -1), beta=beta)
