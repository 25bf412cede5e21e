"""k-means of label making against scikit-learn's: with fairseq's settings, and Lloyd's rounds."""

from __future__ import annotations

from functools import partial
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.cluster import KMeans, MiniBatchKMeans

from benchmarks.measure import Rows, in_turn, lower_is_better, timed, versus
from harness_bench.pretrain.labels.kmeans import assign, fit_kmeans

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Frames = NDArray[np.float32]

# fairseq's learn_kmeans.py, but n_init: its 20 seedings cost over 20 minutes at this size. One is
# what makes scikit-learn fastest.
FAIRSEQ = {
    "init": "k-means++", "batch_size": 10_000, "max_iter": 100, "tol": 0.0,
    "max_no_improvement": 100, "n_init": 1, "reassignment_ratio": 0.0, "compute_labels": False,
    "init_size": None,
}  # fmt: skip
ROUNDS = 100
_fit = partial(fit_kmeans, iterations=ROUNDS, tolerance=1e-4)  # the defaults of `LabelConfig`
MFCC_DIM = 39
INERTIA = "mean squared distance"


def measure(*, tiny: bool = False) -> Rows:
    """Yield CPU seconds and squared distances on one thread, seeding included."""
    yield from _minibatch(tiny=tiny)
    yield from _lloyd(tiny=tiny)


def _minibatch(*, tiny: bool) -> Rows:
    """Cluster hidden states as HuBERT's second iteration does, each side once."""
    count, dim, clusters = (600, 300, 10) if tiny else (50_000, 768, 1000)
    frames = hidden_states(count, dim)
    tensor = torch.from_numpy(frames)

    def ours(clusters: int, rows: int) -> Tensor:
        return _fit(tensor[:rows], clusters, seed=0).centroids

    def theirs(clusters: int, rows: int) -> Tensor:
        fit = MiniBatchKMeans(clusters, random_state=0, **FAIRSEQ).fit(frames[:rows])
        return torch.from_numpy(fit.cluster_centers_)

    ours(10, 500), theirs(10, 500)  # unmeasured: libraries start up
    (centroids, seconds), (others, peer_seconds) = (
        timed(partial(fit, clusters, count)) for fit in (ours, theirs)
    )
    note = versus(
        f"k-means, {count} x {dim}, K = {clusters}, seeding included; fairseq's settings but "
        "n_init = 1, the fastest", "scikit-learn",
    )  # fmt: skip
    name = "kmeans_vs_sklearn_minibatch"
    yield lower_is_better(name, seconds, peer_seconds, "CPU s", note=note)
    cost, peer_cost = (float(assign(tensor, found)[1].mean()) for found in (centroids, others))
    yield lower_is_better(f"{name}_inertia", cost, peer_cost, INERTIA, note=note)


def _lloyd(*, tiny: bool) -> Rows:
    """Cluster MFCC-like frames over some seeds, both sides seeded by greedy k-means++ once."""
    count, clusters, repeats = (300, 5, 1) if tiny else (20_000, 100, 4)
    frames = _blobs(count, 2 * clusters)
    tensor = torch.from_numpy(frames)
    own: list[float] = []
    other: list[float] = []

    def ours() -> None:
        own.append(_fit(tensor, clusters, seed=len(own)).inertia)

    def theirs() -> None:
        made = KMeans(clusters, n_init=1, max_iter=ROUNDS, random_state=len(other)).fit(frames)
        other.append(made.inertia_ / count)

    times = in_turn(ours, theirs, repeats=repeats)
    what = f"k-means, {count} x {MFCC_DIM}, K = {clusters}, seeding included"
    note, name = versus(what, "scikit-learn"), "kmeans_vs_sklearn_lloyd"
    yield lower_is_better(name, *times, "CPU s", note=note)
    yield lower_is_better(f"{name}_inertia", mean(own), mean(other), INERTIA, note=note)


def hidden_states(count: int, dim: int, seed: int = 0) -> Frames:
    """Draw (count, dim) frames like a teacher's: phones in contexts, speakers, falling variance.

    60 phones in 1,500 contexts of unequal weight overlap one another; each frame has its speaker's
    offset and noise. Along the principal axes variance falls as 1 / rank: 146 of 768 dimensions
    hold 90 % of it.
    """
    rng = np.random.default_rng(seed)
    scale = np.arange(1, dim + 1, dtype=np.float32) ** -0.5
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)

    def draw(rows: int) -> Frames:
        return rng.standard_normal((rows, dim), dtype=np.float32) * scale

    phones, contexts, speakers = draw(60), 1500, np.float32(0.3) * draw(60)
    phone = rng.choice(len(phones), contexts, p=rng.dirichlet(np.full(len(phones), 2.0)))
    centres = phones[phone] + np.float32(0.6) * draw(contexts)
    context = rng.choice(contexts, count, p=rng.dirichlet(np.full(contexts, 0.5)))
    speaker = rng.integers(len(speakers), size=count)
    frames: Frames = (centres[context] + speakers[speaker] + np.float32(0.6) * draw(count)) @ turn
    return frames


def _blobs(count: int, blobs: int) -> Frames:
    """Draw (count, 39) points of overlapping blobs of unequal weight, as speech frames are."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.standard_normal((blobs, MFCC_DIM))
    weights = rng.dirichlet(np.ones(blobs))
    chosen = rng.choice(blobs, size=count, p=weights)
    return (centres[chosen] + rng.standard_normal((count, MFCC_DIM))).astype(np.float32)
