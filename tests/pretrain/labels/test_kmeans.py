"""k-means against scikit-learn's and brute force."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans as Reference

from harness_bench.pretrain.labels import kmeans as module
from harness_bench.pretrain.labels.kmeans import assign, fit_kmeans, lloyd
from tests.pretrain.labels.conftest import blobs, speechlike


def inertia_of(frames: torch.Tensor, centroids: torch.Tensor) -> float:
    """Measure by brute force in float64."""
    return float(torch.cdist(frames.double(), centroids.double()).square().min(1).values.mean())


def test_inertia_is_near_scikit_learns_best() -> None:
    """One greedy-seeded run must come within 2 % of scikit-learn's best of ten."""
    frames = blobs(6_000, 12, 40)
    ours = fit_kmeans(frames, 50, iterations=100, tolerance=1e-5, seed=0)
    reference = Reference(50, n_init=10, random_state=0).fit(frames.numpy())
    assert ours.inertia <= reference.inertia_ / len(frames) * 1.02


def test_same_start_gives_scikit_learns_inertia() -> None:
    """From equal centroids Lloyd's rounds go the same way: within 1 % once both settle."""
    frames = speechlike(5_000, 24, 80)
    start = frames[:60].clone()
    ours = lloyd(frames, start, iterations=300, tolerance=0.0)
    reference = Reference(60, init=start.numpy(), n_init=1, max_iter=300, tol=0.0)
    reference.fit(frames.numpy())
    assert inertia_of(frames, ours.centroids) == pytest.approx(
        reference.inertia_ / len(frames), rel=0.01
    )


@pytest.mark.parametrize("room", [1 << 21, 1000], ids=["one block", "many blocks"])
def test_assignments_are_scikit_learns(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """The same centroids must give every frame the same label; a tie may fall either way."""
    monkeypatch.setattr(module, "BLOCK_ON_CPU", room)
    frames = speechlike(3_000, 300, 50)
    centroids = frames[:70] + 0.1
    reference = Reference(70, init=centroids.numpy(), n_init=1, max_iter=1).fit(frames.numpy())
    reference.cluster_centers_ = centroids.numpy()
    theirs = torch.from_numpy(reference.predict(frames.numpy())).long()
    ours, _ = assign(frames, centroids)
    full = torch.cdist(frames.double(), centroids.double())
    two = full.topk(2, largest=False).values
    clear = two[:, 1] - two[:, 0] > 1e-5
    assert clear.float().mean() > 0.99
    assert torch.equal(ours[clear], theirs[clear])


def test_assignment_equals_brute_force() -> None:
    """The matrix-product form of the distance must pick the same centroid and distance."""
    frames, centroids = blobs(700, 5, 9), blobs(20, 5, 3, seed=1)
    labels, distances = assign(frames, centroids)
    full = torch.cdist(frames.double(), centroids.double()).square()
    assert torch.equal(labels, full.argmin(1))
    assert torch.allclose(distances.double(), full.min(1).values, atol=1e-3)


def test_the_draft_costs_no_inertia() -> None:
    """Frames of many dimensions start in few; the result must be as good as without that."""
    frames = speechlike(4_000, 320, 60)
    ours = fit_kmeans(frames, 80, iterations=100, tolerance=1e-5, seed=0)
    assert ours.centroids.shape == (80, 320)
    reference = Reference(80, n_init=3, random_state=0).fit(frames.numpy())
    assert inertia_of(frames, ours.centroids) <= reference.inertia_ / len(frames) * 1.005


@pytest.mark.parametrize("dim", [5, 256], ids=["direct", "with a draft"])
def test_equal_data_give_equal_centroids(dim: int) -> None:
    """A label set is made anew on another day: bit for bit the same, and another seed's differs."""
    frames = blobs(2_000, dim, 20)
    made = [fit_kmeans(frames, 15, iterations=5, tolerance=0.0, seed=s) for s in (1, 1, 2)]
    assert torch.equal(made[0].centroids, made[1].centroids)
    assert not torch.equal(made[0].centroids, made[2].centroids)


@pytest.mark.parametrize("dim", [2, 300], ids=["direct", "with a draft"])
def test_no_cluster_stays_empty(dim: int) -> None:
    """Far fewer distinct places than needed at first: dead centroids must come back to life."""
    frames = torch.cat([torch.zeros(500, dim), blobs(60, dim, 30, seed=3)])
    found = fit_kmeans(frames, 20, iterations=50, tolerance=0.0, seed=0)
    assert len(set(assign(frames, found.centroids)[0].tolist())) == 20


def test_an_empty_cluster_moves_to_the_farthest_frame() -> None:
    """Two centroids on one place leave one without frames; the outlier must get it."""
    frames = torch.tensor([[0.0], [1.0], [2.0], [50.0]])
    found = lloyd(frames, torch.tensor([[1.0], [-900.0]]), iterations=1, tolerance=0.0)
    assert found.centroids[1].item() == 50.0


def test_relocation_leaves_a_local_optimum() -> None:
    """Two centroids share one blob and one serves two: Lloyd's rounds alone stay so for ever."""
    places = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    noise = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    frames = places.repeat(100, 1) + noise
    poor = torch.tensor([[0.0, 1.0], [0.0, -1.0], [0.0, 100.0], [100.0, 50.0]])
    stuck = lloyd(frames, poor, iterations=50, tolerance=0.0)
    assert stuck.inertia > 1_000
    assert module.relocate(frames, stuck, seed=0).inertia < 3


def test_relocation_never_raises_inertia() -> None:
    """What does not pay is undone; two clusters, of which none can be spared, stay as they are."""
    for clusters in (2, 3, 40):
        frames = speechlike(2_000, 16, 50)
        fitted = lloyd(frames, frames[:clusters].clone(), iterations=100, tolerance=0.0)
        assert module.relocate(frames, fitted, seed=1).inertia <= fitted.inertia


def test_too_few_frames_teach() -> None:
    """The user learns what to change."""
    with pytest.raises(ValueError, match=r"100 clusters got 10 frames.*fit_hours"):
        fit_kmeans(torch.randn(10, 3), 100, iterations=1, tolerance=0.0, seed=0)
