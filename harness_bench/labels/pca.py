"""Principal components from a stream of frames, by their covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.distributed as dist

from harness_bench.ranks import world

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class Pca(NamedTuple):
    """An affine map to fewer dimensions."""

    mean: Tensor  # (D,) float32
    components: Tensor  # (D, d) float32, orthonormal columns, largest variance first
    explained: float  # share of the variance that is kept

    def apply(self, frames: Tensor) -> Tensor:
        """Project frames (N, D) -> (N, d)."""
        centred = frames - self.mean.to(frames)
        return centred @ self.components.to(frames)


def fit_pca(chunks: Iterable[Tensor], dim: int) -> Pca:
    """Fit `dim` components to chunks of frames (N_i, D), over all ranks, in float64 sums.

    The sign of each component is fixed (its largest entry is positive), so equal data give equal
    components.

    Raises:
        ValueError: more components than dimensions, or fewer than two frames.
    """
    count, total, outer = 0, None, None
    for chunk in chunks:
        wide = chunk.double()
        count += len(wide)
        total = wide.sum(0) if total is None else total + wide.sum(0)
        outer = wide.T @ wide if outer is None else outer + wide.T @ wide
    if total is None or outer is None or count <= 1:
        raise ValueError(f"PCA needs at least two frames and got {count}; is the audio there?")
    if dim > len(total):
        raise ValueError(f"pca_dim = {dim}, but frames have {len(total)} dimensions; give fewer.")
    counts = torch.tensor([count], dtype=torch.float64, device=total.device)
    if world()[1] > 1:
        for tensor in (counts, total, outer):
            dist.all_reduce(tensor)
    mean = total / counts
    covariance = outer / counts - torch.outer(mean, mean)
    values, vectors = torch.linalg.eigh(covariance)
    kept = vectors.flip(1)[:, :dim]
    strongest = kept.gather(0, kept.abs().argmax(0, keepdim=True))
    kept = kept * strongest.sign()
    share = float(values.flip(0)[:dim].sum() / values.sum())
    return Pca(mean.float(), kept.float(), share)
