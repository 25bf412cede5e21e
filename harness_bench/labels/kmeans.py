"""k-means in torch over any number of ranks: Lloyd's rounds on data that stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from sklearn.cluster import kmeans_plusplus

from harness_bench.ranks import world

if TYPE_CHECKING:
    from torch import Tensor

ASSIGN_BLOCK = 65_536  # frames whose distances to all centroids are held at once
SEEDING_FRAMES_PER_CLUSTER = 100  # 30 cost 2 % of inertia on 20k frames, K = 100
SEEDING_FRAMES_LIMIT = 50_000


class KMeans(NamedTuple):
    """Fitted centroids."""

    centroids: Tensor  # (K, D) float32
    inertia: float  # mean squared distance of a frame to its centroid
    rounds: int


def assign(frames: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest centroid (N,) int64 of frames (N, D) and the squared distance (N,)."""
    labels, distances = [], []
    squares = centroids.square().sum(1)
    for block in torch.split(frames, ASSIGN_BLOCK):
        # |x - c|^2 without |x|^2, which decides nothing: one matrix product.
        partial = torch.addmm(squares, block, centroids.T, alpha=-2.0)
        nearest, index = partial.min(1)
        labels.append(index)
        distances.append((nearest + block.square().sum(1)).clamp(min=0.0))
    if not labels:
        return frames.new_zeros(0, dtype=torch.int64), frames.new_zeros(0)
    return torch.cat(labels), torch.cat(distances)


def fit_kmeans(
    frames: Tensor, clusters: int, *, iterations: int, tolerance: float, seed: int
) -> KMeans:
    """Cluster frames (N, D) float32; under torch.distributed, each rank brings its own frames.

    Seeded by scikit-learn's greedy k-means++ on a random part of rank 0's frames. An empty cluster
    moves to the frame that lies farthest from its centroid.

    Args:
        frames: this rank's frames.
        clusters: K.
        iterations: Lloyd's rounds at most.
        tolerance: stop once inertia falls by less than this share in one round.
        seed: governs the seeding.

    Raises:
        ValueError: fewer frames than clusters.
    """
    if len(frames) < clusters:
        raise ValueError(
            f"k-means with {clusters} clusters got {len(frames)} frames; give more audio "
            "(fit_hours, fit_frames) or fewer clusters."
        )
    centroids = _seed_centroids(frames, clusters, seed)
    history: list[float] = []
    for _ in range(iterations):
        centroids, inertia = _lloyd_round(frames, centroids)
        history.append(inertia)
        if len(history) > 1 and history[-2] - inertia <= tolerance * inertia:
            break
    return KMeans(centroids, history[-1], len(history))


def _seed_centroids(frames: Tensor, clusters: int, seed: int) -> Tensor:
    """Choose starting centroids on rank 0 and give them to all."""
    wanted = max(clusters, min(SEEDING_FRAMES_LIMIT, SEEDING_FRAMES_PER_CLUSTER * clusters))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(frames))[:wanted]
    sample = frames[torch.from_numpy(np.sort(chosen)).to(frames.device)].cpu().numpy()
    points, _ = kmeans_plusplus(sample, clusters, random_state=seed)
    centroids = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).to(frames.device)
    if world()[1] > 1:
        dist.broadcast(centroids, src=0)
    return centroids


def _lloyd_round(frames: Tensor, centroids: Tensor) -> tuple[Tensor, float]:
    """Assign, then move each centroid to its frames' mean; return also the inertia before it."""
    labels, distances = assign(frames, centroids)
    clusters, dim = centroids.shape
    # One buffer, so that ranks talk once a round: sums, counts, inertia and number of frames.
    buffer = frames.new_zeros(clusters * dim + clusters + 2, dtype=torch.float64)
    sums = buffer[: clusters * dim].view(clusters, dim)
    counts = buffer[clusters * dim : -2]
    sums.index_add_(0, labels, frames.double())
    counts.index_add_(0, labels, torch.ones_like(labels, dtype=torch.float64))
    buffer[-2], buffer[-1] = distances.double().sum(), len(frames)
    farthest = frames[distances.topk(min(clusters, len(frames))).indices]
    if world()[1] > 1:
        dist.all_reduce(buffer)
        dist.broadcast(farthest, src=0)
    moved = (sums / counts.clamp(min=1.0)[:, None]).to(centroids.dtype)
    empty = counts == 0
    moved[empty] = farthest[: int(empty.sum())]
    return moved, float(buffer[-2] / buffer[-1])
