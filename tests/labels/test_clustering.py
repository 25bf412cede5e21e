"""k-means and PCA against scikit-learn, and over two processes against one."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torch.distributed as dist
from sklearn import decomposition
from sklearn.cluster import KMeans as Reference

from harness_bench.labels.kmeans import _lloyd_round, _seed_centroids, assign, fit_kmeans
from harness_bench.labels.pca import fit_pca

if TYPE_CHECKING:
    from pathlib import Path


def blobs(frames: int, dim: int, centres: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((centres, dim)) * 4
    points = middle[rng.integers(centres, size=frames)] + rng.standard_normal((frames, dim))
    return torch.from_numpy(points.astype(np.float32))


def test_inertia_is_near_scikit_learns_best() -> None:
    """One greedy-seeded run must come within 2 % of scikit-learn's best of ten."""
    frames = blobs(6_000, 12, 40)
    ours = fit_kmeans(frames, 50, iterations=100, tolerance=1e-5, seed=0)
    reference = Reference(50, n_init=10, random_state=0).fit(frames.numpy())
    assert ours.inertia <= reference.inertia_ / len(frames) * 1.02


def test_assignment_equals_brute_force() -> None:
    """The matrix-product form of the distance must pick the same centroid and distance."""
    frames, centroids = blobs(700, 5, 9), blobs(20, 5, 3, seed=1)
    labels, distances = assign(frames, centroids)
    full = torch.cdist(frames.double(), centroids.double()).square()
    assert torch.equal(labels, full.argmin(1))
    assert torch.allclose(distances.double(), full.min(1).values, atol=1e-3)


def test_no_cluster_stays_empty() -> None:
    """Far fewer distinct places than needed at first: dead centroids must come back to life."""
    frames = torch.cat([torch.zeros(500, 2), blobs(60, 2, 30, seed=3)])
    found = fit_kmeans(frames, 20, iterations=50, tolerance=0.0, seed=0)
    assert len(set(assign(frames, found.centroids)[0].tolist())) == 20


def test_too_few_frames_teach() -> None:
    """The user learns what to change."""
    with pytest.raises(ValueError, match=r"100 clusters got 10 frames.*fit_hours"):
        fit_kmeans(torch.randn(10, 3), 100, iterations=1, tolerance=0.0, seed=0)


def test_pca_equals_scikit_learn() -> None:
    """Streaming covariance in chunks gives the same subspace and explained share."""
    frames = blobs(3_000, 16, 5)
    ours = fit_pca(torch.split(frames, 700), 6)
    reference = decomposition.PCA(6, svd_solver="full").fit(frames.numpy())
    ours_out, theirs = ours.apply(frames).numpy(), reference.transform(frames.numpy())
    signs = np.sign((ours_out * theirs).sum(0))
    assert np.allclose(ours_out * signs, theirs, atol=1e-3)
    assert ours.explained == pytest.approx(reference.explained_variance_ratio_.sum(), abs=1e-6)


def _rank(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    frames = blobs(2_000, 6, 12)
    # Rank 0 holds the first 1,200, from which the seeds are drawn; so does the single process.
    mine = frames[:1_200] if rank == 0 else frames[1_200:]
    found = fit_kmeans(mine, 15, iterations=1, tolerance=0.0, seed=0)
    torch.save(found.centroids, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_equal_one(tmp_path: Path, free_port: int) -> None:
    """A round over two ranks is the same mathematics as over one: sums are all that travels."""
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_rank, args=(r, free_port, str(tmp_path))) for r in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(first, second)
    frames = blobs(2_000, 6, 12)
    # One Lloyd round on all frames in one process, from rank 0's seeds.
    expected, _ = _lloyd_round(frames, _seed_centroids(frames[:1_200], 15, 0))
    assert torch.allclose(first, expected, atol=1e-4)
