"""k-means of label making against scikit-learn's, both seeded by greedy k-means++ once."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.cluster import KMeans

from benchmarks.measure import in_turn, lower_is_better, versus
from harness_bench.labels.kmeans import fit_kmeans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.measure import Row

DIM, ROUNDS = 39, 100


def measure(*, tiny: bool = False) -> Iterator[Row]:
    """Yield CPU seconds and squared distance over some seeds, seeding included, on one thread."""
    count, clusters, repeats = (300, 5, 1) if tiny else (20_000, 100, 4)
    frames = _blobs(count, 2 * clusters)
    tensor = torch.from_numpy(frames)
    costs: dict[str, list[float]] = {"ours": [], "theirs": []}

    def ours() -> None:
        seed = len(costs["ours"])
        made = fit_kmeans(tensor, clusters, iterations=ROUNDS, tolerance=1e-4, seed=seed)
        costs["ours"].append(made.inertia)

    def theirs() -> None:
        seed = len(costs["theirs"])
        made = KMeans(clusters, n_init=1, max_iter=ROUNDS, random_state=seed).fit(frames)
        costs["theirs"].append(made.inertia_ / count)

    times = in_turn(ours, theirs, repeats=repeats)
    what = f"k-means, {count} x {DIM}, K = {clusters}, seeding included"
    yield lower_is_better(versus(what, "scikit-learn"), *times, "CPU s")
    means = mean(costs["ours"]), mean(costs["theirs"])
    yield lower_is_better(versus(what, "scikit-learn"), *means, "mean squared distance")


def _blobs(count: int, blobs: int) -> NDArray[np.float32]:
    """Draw (count, 39) points of overlapping blobs of unequal weight, as speech frames are."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.standard_normal((blobs, DIM))
    weights = rng.dirichlet(np.ones(blobs))
    chosen = rng.choice(blobs, size=count, p=weights)
    return (centres[chosen] + rng.standard_normal((count, DIM))).astype(np.float32)
