"""Principal components from a stream of frames, by their covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from harness_bench.core.distributed import sum_over_ranks

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


def fit_pca(
    chunks: Iterable[Tensor], dim: int | None = None, *, variance: float | None = None
) -> Pca:
    """Fit principal components to chunks of frames (N_i, D), over all ranks, in float64 sums.

    The largest entry of each component is positive, so equal data give equal components.

    Args:
        chunks: this rank's frames; a rank without any gives one chunk (0, D).
        dim: number of components, or
        variance: share of the variance to keep: the fewest components that reach it.

    Raises:
        ValueError: more components than dimensions, frames that all are equal where a share is
            asked for, or fewer than two frames over all ranks.
    """
    count, mean, covariance = _moments(chunks)
    if count <= 1:
        raise ValueError(f"PCA needs at least two frames and got {count}; is the audio there?")
    if dim is not None and dim > len(mean):
        raise ValueError(f"pca_dim = {dim}, but frames have {len(mean)} dimensions; give fewer.")
    values, vectors = torch.linalg.eigh(covariance)
    shares = values.flip(0).clamp(min=0.0)
    if variance is not None:
        dim = _components_for(shares, variance)
    kept = vectors.flip(1)[:, :dim]
    strongest = kept.gather(0, kept.abs().argmax(0, keepdim=True))
    kept = kept * strongest.sign()
    explained = float(shares[:dim].sum() / shares.sum())
    return Pca(mean.float(), kept.float(), explained)


def _components_for(variances: Tensor, share: float) -> int:
    """Return how many of the variances (D,), largest first, reach a share of their sum."""
    reached = variances.cumsum(0) >= share * variances.sum()
    if not float(variances.sum()) > 0:
        raise ValueError(f"pca_variance = {share}: all frames are equal; there is no variance.")
    return int(reached.int().argmax()) + 1


def _moments(chunks: Iterable[Tensor]) -> tuple[int, Tensor, Tensor]:
    """Return the number of frames over all ranks, their mean (D,) and covariance (D, D)."""
    count, total, outer = 0, torch.zeros(0), torch.zeros(0)
    for chunk in chunks:
        wide = chunk.double()
        count += len(wide)
        if not len(total):
            dim = wide.shape[1]
            total, outer = wide.new_zeros(dim), wide.new_zeros(dim, dim)
        total = total + wide.sum(0)
        outer.addmm_(wide.T, wide)
    counts = torch.tensor([count], dtype=torch.float64, device=total.device)
    for tensor in (counts, total, outer):
        sum_over_ranks(tensor)
    mean = total / counts
    return int(counts), mean, outer / counts - torch.outer(mean, mean)
