"""Dropout of frames as torch draws it, at half the cost on CPUs where torch draws slowly."""

import math
from functools import cache
from typing import override

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BITS = 53  # of a random number between 0 and 1, of which torch's bernoulli makes each of its own


class FrameDropout(nn.Module):
    """`nn.Dropout`, to the bit and from the same random numbers, and zeros behind the frames."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    @override
    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return (B, C, F) of x (B, C, F); `valid` (B, F) says which frames are any."""
        mask = valid[:, None]
        if not self.training or self.p == 0:
            return x * mask
        if x.device.type != "cpu":
            return F.dropout(x, self.p) * mask
        return x * (_noise(x, 1 - self.p) * mask)  # one product instead of two


def _noise(like: Tensor, keep: float) -> Tensor:
    """Return what dropout multiplies by: 0, or 1 / keep with the probability `keep`."""
    if not _integers_decide():
        return torch.empty_like(like).bernoulli_(keep).div_(keep)
    return _by_integers(like, keep) * torch.ones((), dtype=like.dtype).div_(keep)


def _by_integers(like: Tensor, keep: float, generator: torch.Generator | None = None) -> Tensor:
    """Return as booleans what `torch.empty_like(like).bernoulli_(keep)` would be."""
    draws = torch.empty_like(like, dtype=torch.int64).random_(generator=generator)
    return draws.bitwise_and_((1 << _BITS) - 1) < math.ceil(keep * (1 << _BITS))


@cache
def _integers_decide() -> bool:
    """Whether torch's bernoulli compares integers: wherever it does not call MKL.

    MKL, on Intel's processors, draws other numbers, and faster than these.
    """
    keep, like = 0.6, torch.empty(64)
    one, other = (torch.Generator().manual_seed(0) for _ in range(2))
    ours = _by_integers(like, keep, one)
    theirs = torch.empty_like(like).bernoulli_(keep, generator=other).bool()
    return torch.equal(ours, theirs) and torch.equal(one.get_state(), other.get_state())
