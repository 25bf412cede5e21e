"""From frames to labels: PCA, k-means in torch over any number of ranks, and the fitted labeler."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.cluster import kmeans_plusplus

from harness_bench.core import distributed
from harness_bench.core.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

LABELER = "labeler.safetensors"
# Distances held at once: 8 MB stay in a core's cache; a GPU wants large products.
BLOCK_ON_CPU, BLOCK_ON_GPU = 1 << 21, 1 << 26
SUM_BLOCK = 65_536  # frames added up in float32 before float64 takes over, or widened at once
SEEDING_FRAMES_PER_CLUSTER = 100  # 30 cost 2 % of inertia on 20k frames, K = 100
SEEDING_FRAMES_LIMIT = 20_000  # 50,000 gave 0.1 % less inertia at K = 1000 for twice the time
DRAFT_DIM = 128  # frames of twice as many dimensions or more are first clustered in so many
# Shares of the clusters that the draft moves elsewhere, one trial after the other, and the rounds
# after each: 1.1 % less inertia at K = 1000 than Lloyd's rounds alone find.
RELOCATED, RELOCATION_ROUNDS, RELOCATION_TOLERANCE = (0.08, 0.08, 0.04, 0.02), 8, 5e-4
SPLIT_DISTANCE = 0.3  # of halves from their middle, in a cluster's root mean square distance


@dataclass(frozen=True)
class Labeler:
    """PCA where asked for, then the nearest centroid."""

    centroids: Tensor  # (K, d) float32
    pca: Pca | None
    inertia: float  # mean squared distance to the centroid over the frames it was fitted on

    def to(self, device: torch.device) -> Labeler:
        """Return the labeler on a device."""
        pca = self.pca
        if pca is not None:
            pca = Pca(pca.mean.to(device), pca.components.to(device), pca.explained)
        return Labeler(self.centroids.to(device), pca, self.inertia)

    def __call__(self, frames: Tensor) -> Tensor:
        """Label frames (F, D) -> (F,) int64."""
        reduced = frames if self.pca is None else self.pca.apply(frames)
        return assign(reduced, self.centroids.to(frames))[0]


def save_labeler(folder: Path, labeler: Labeler) -> None:
    """Write the labeler into a folder of labels."""
    tensors = {"centroids": labeler.centroids, "inertia": torch.tensor(labeler.inertia)}
    for name, value in labeler.pca._asdict().items() if labeler.pca is not None else ():
        tensors[f"pca_{name}"] = torch.as_tensor(value)
    with atomic_path(folder / LABELER) as partial:
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, partial)


def load_labeler(folder: Path) -> Labeler:
    """Read the labeler of a folder of labels; without one it is a ValueError."""
    path = folder / LABELER
    if not path.is_file():
        raise ValueError(f"{folder} has no {LABELER}; make labels with `harness-bench labels`.")
    tensors = load_file(path)
    pca = None
    if "pca_mean" in tensors:
        share = float(tensors["pca_explained"])
        pca = Pca(tensors["pca_mean"], tensors["pca_components"], share)
    return Labeler(tensors["centroids"], pca, float(tensors["inertia"]))


class Pca(NamedTuple):
    """An affine map to fewer dimensions."""

    mean: Tensor  # (D,) float32
    components: Tensor  # (D, d) float32, orthonormal columns, largest variance first
    explained: float  # share of the variance that is kept

    def apply(self, frames: Tensor) -> Tensor:
        """Project frames (N, D) -> (N, d)."""
        mean, components = self.mean.to(frames), self.components.to(frames)
        projected = frames.new_empty(len(frames), components.shape[1])
        for block, out in zip(*_blocks(frames, projected), strict=True):
            torch.mm(block - mean, components, out=out)
        return projected


def fit_pca(frames: Tensor, dim: int | None = None, *, variance: float | None = None) -> Pca:
    """Fit principal components to the frames (N, D) of all ranks, (0, D) where one has none.

    As many as `dim`, or as few as keep a share of the `variance`. The largest entry of each is
    positive, so equal data give equal components. More components than dimensions, fewer than two
    frames, and equal frames where a share is asked for are a ValueError.
    """
    count = frames.new_tensor([len(frames)], dtype=torch.float64)
    total = frames.new_zeros(frames.shape[1], dtype=torch.float64)
    outer = total.new_zeros(len(total), len(total))
    for block in torch.split(frames, SUM_BLOCK):  # all frames in float64 would be twice their size
        wide = block.double()
        total += wide.sum(0)
        outer.addmm_(wide.T, wide)
    for sums in (count, total, outer):
        distributed.sum_over_ranks(sums)
    if count <= 1:
        raise ValueError(f"PCA needs at least two frames and got {int(count)}; is audio there?")
    if dim is not None and dim > len(total):
        raise ValueError(f"pca_dim = {dim}, but frames have {len(total)} dimensions; give fewer.")
    mean = total / count
    values, vectors = torch.linalg.eigh(outer / count - torch.outer(mean, mean))
    shares = values.flip(0).clamp(min=0.0)
    if variance is not None:
        if not float(shares.sum()) > 0:
            raise ValueError(f"pca_variance = {variance}: all frames are equal: no variance.")
        dim = int((shares.cumsum(0) >= variance * shares.sum()).int().argmax()) + 1
    kept = vectors.flip(1)[:, :dim]
    strongest = kept.gather(0, kept.abs().argmax(0, keepdim=True))
    explained = float(shares[:dim].sum() / shares.sum())
    return Pca(mean.float(), (kept * strongest.sign()).float(), explained)


class KMeans(NamedTuple):
    """Fitted centroids."""

    centroids: Tensor  # (K, D) float32
    inertia: float  # mean squared distance of a frame to its centroid, in the last assignment
    rounds: int  # of Lloyd's, on all frames in all dimensions


def assign(frames: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest centroid (N,) int64 of frames (N, D) and the squared distance (N,)."""
    labels, distances = [], []
    squares = centroids.square().sum(1)
    room = BLOCK_ON_GPU if frames.is_cuda else BLOCK_ON_CPU
    for block in torch.split(frames, max(1, room // len(centroids))):
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

    Seeded by scikit-learn's greedy k-means++ on a random part of all ranks' frames. Frames of many
    dimensions are first clustered in their largest 128 principal components, where a round costs a
    fraction, moves of whole clusters included; Lloyd's rounds on the frames themselves then go on
    from there until they settle. An empty cluster moves to the frame farthest from its centroid.

    Args:
        frames: this rank's frames; (0, D) where it has none.
        clusters: K; fewer frames over all ranks together are a ValueError on all of them.
        iterations: Lloyd's rounds at most, of either kind.
        tolerance: stop once inertia falls by less than this share in one round.
        seed: governs the seeding.
    """
    sample, total = _sample(frames, clusters, seed)
    if total < clusters:
        raise ValueError(
            f"k-means with {clusters} clusters got {total} frames; give more audio "
            "(fit_hours, fit_share, fit_frames) or fewer clusters."
        )
    if frames.shape[1] < 2 * DRAFT_DIM:
        start = _seed_centroids(sample, clusters, seed)
        return lloyd(frames, start, iterations=iterations, tolerance=tolerance)
    pca = fit_pca(sample, DRAFT_DIM)
    mean, components = distributed.from_first(pca.mean), distributed.from_first(pca.components)
    small = torch.addmm(-mean @ components, frames, components)
    start = _seed_centroids(distributed.from_first(pca.apply(sample)), clusters, seed)
    draft = lloyd(small, start, iterations=iterations, tolerance=RELOCATION_TOLERANCE)
    draft = relocate(small, draft, seed)
    means, counts = _means(frames, assign(small, draft.centroids)[0], clusters)
    # A cluster that lost its last frame has no mean; its place in the draft is taken instead.
    drafted = torch.addmm(mean, draft.centroids, components.T)
    start = torch.where(counts[:, None] > 0, means, drafted)
    return lloyd(frames, start, iterations=iterations, tolerance=tolerance)


def lloyd(frames: Tensor, centroids: Tensor, *, iterations: int, tolerance: float) -> KMeans:
    """Move centroids (K, D) by Lloyd's rounds until inertia settles; arguments of `fit_kmeans`."""
    history: list[float] = []
    for _ in range(iterations):
        labels, distances = assign(frames, centroids)
        centroids, counts = _means(frames, labels, len(centroids))
        total = distributed.sum_over_ranks(distances.sum(dtype=torch.float64))
        history.append(float(total / counts.sum()))
        if not bool(counts.all()):
            centroids = _refilled(centroids, counts, frames, distances)
        if len(history) > 1 and history[-2] - history[-1] <= tolerance * history[-1]:
            break
    return KMeans(centroids, history[-1], len(history))


def relocate(frames: Tensor, fitted: KMeans, seed: int) -> KMeans:
    """Leave a local optimum as breathing k-means does (Fritzke 2020).

    Pairs whose merging costs least (Ward's criterion) give up a cluster each; the clusters with
    the largest sums of squared distances are split with them. Lloyd's rounds follow, and what has
    not lowered inertia is undone.
    """
    best = fitted
    for trial, share in enumerate(RELOCATED):
        number = max(1, int(share * len(best.centroids)))
        moved = _exchanged(frames, best.centroids, number, seed * len(RELOCATED) + trial)
        tried = lloyd(frames, moved, iterations=RELOCATION_ROUNDS, tolerance=RELOCATION_TOLERANCE)
        best = min(best, tried, key=lambda each: each.inertia)
    return best


def _exchanged(frames: Tensor, centroids: Tensor, number: int, seed: int) -> Tensor:
    labels, distances = assign(frames, centroids)
    sums = frames.new_zeros(2, len(centroids), dtype=torch.float64)  # counts, squared distances
    sums[0] += torch.bincount(labels, minlength=len(centroids))
    sums[1].index_add_(0, labels, distances.double())
    counts, losses = distributed.sum_over_ranks(sums).cpu()
    moved = centroids.double().cpu()
    split = losses.argsort(descending=True, stable=True)[:number].tolist()
    pairs = _cheapest_pairs(moved, counts, number, taken=set(split))
    generator = torch.Generator().manual_seed(seed)
    for (free, kept), heavy in zip(pairs, split, strict=False):  # there may be too few pairs
        weights = counts[[free, kept]].clamp(min=1e-9)
        moved[kept] = weights @ moved[[free, kept]] / weights.sum()
        way = torch.randn(moved.shape[1], generator=generator, dtype=torch.float64)
        spread = (losses[heavy] / counts[heavy].clamp(min=1)).sqrt()
        way *= SPLIT_DISTANCE * spread / way.norm()
        moved[free], moved[heavy] = moved[heavy] + way, moved[heavy] - way
    return distributed.from_first(moved.to(centroids))


def _cheapest_pairs(
    centroids: Tensor, counts: Tensor, number: int, taken: set[int]
) -> list[tuple[int, int]]:
    """Choose disjoint pairs of near clusters, none `taken`, whose merging costs least."""
    costs, nearest = [], []
    for rows in torch.split(torch.arange(len(centroids)), 1024):
        own = counts[rows, None]
        weight = own * counts / (own + counts).clamp(min=1.0)
        cost = weight * torch.cdist(centroids[rows], centroids).square()
        cost[torch.arange(len(rows)), rows] = torch.inf
        lowest, index = cost.min(1)
        costs.append(lowest)
        nearest += index.tolist()
    pairs: list[tuple[int, int]] = []
    for free in torch.cat(costs).argsort(stable=True).tolist():
        pair = free, nearest[free]
        if len(pairs) < number and taken.isdisjoint(pair):
            pairs.append(pair)
            taken = taken.union(pair)
    return pairs


def _means(frames: Tensor, labels: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Return the mean (K, D) and the number (K,) of each cluster's frames, over all ranks."""
    # One buffer, so that ranks talk once: sums and counts side by side.
    buffer = frames.new_zeros(clusters, frames.shape[1] + 1, dtype=torch.float64)
    sums, counts = buffer[:, :-1], buffer[:, -1]
    # On a GPU, threads add in any order: float64 keeps that from being seen in the result.
    exact = torch.float64 if frames.is_cuda else torch.float32
    for block, index in zip(*_blocks(frames, labels), strict=True):
        part = frames.new_zeros(clusters, frames.shape[1], dtype=exact)
        sums += part.index_add_(0, index, block.to(exact))
    counts += torch.bincount(labels, minlength=clusters)
    distributed.sum_over_ranks(buffer)
    return (sums / counts.clamp(min=1.0)[:, None]).to(frames.dtype), counts.clone()


def _blocks(*rows: Tensor) -> list[tuple[Tensor, ...]]:
    """Split tensors of one length into blocks of so many rows that sums in float32 stay exact."""
    return [torch.split(each, SUM_BLOCK) for each in rows]


def _refilled(moved: Tensor, counts: Tensor, frames: Tensor, distances: Tensor) -> Tensor:
    """Put the empty clusters onto the frames farthest from their centroids, over all ranks."""
    empty = (counts == 0).nonzero()[:, 0]
    far, index = distances.topk(min(len(empty), len(frames)))
    rows = distributed.gather_rows(torch.cat([far[:, None], frames[index]], 1))
    order = rows[:, 0].argsort(descending=True, stable=True)[: len(empty)]
    filled = moved.clone()
    filled[empty[: len(order)]] = rows[order, 1:]
    return filled


def _sample(frames: Tensor, clusters: int, seed: int) -> tuple[Tensor, int]:
    """Draw random frames of all ranks, each by its share -> (sample (S, D), number of all)."""
    wanted = max(clusters, min(SEEDING_FRAMES_LIMIT, SEEDING_FRAMES_PER_CLUSTER * clusters))
    rank, _ = distributed.world()
    ends = [*accumulate(distributed.counts_of_ranks(len(frames), frames.device))]
    total = ends[-1]
    # The shares of consecutive ranks add up to `wanted` exactly and exceed no rank's frames.
    bounds = [min(wanted, total) * end // max(total, 1) for end in [0, *ends]]
    chosen = np.random.default_rng(seed).permutation(len(frames))
    mine = np.sort(chosen[: bounds[rank + 1] - bounds[rank]])
    return distributed.gather_rows(frames[torch.from_numpy(mine).to(frames.device)]), total


def _seed_centroids(sample: Tensor, clusters: int, seed: int) -> Tensor:
    """Choose starting centroids (K, D) among a sample's frames on rank 0; give them to all."""
    centroids = sample.new_empty(clusters, sample.shape[1])
    if distributed.world()[0] == 0:
        # In float64: scikit-learn widens float32 anew for every centroid, at twice the cost.
        wide = sample.double().cpu().numpy()
        _, index = kmeans_plusplus(wide, clusters, random_state=seed)
        centroids = sample[torch.from_numpy(index).to(sample.device)]
    return distributed.from_first(centroids)
