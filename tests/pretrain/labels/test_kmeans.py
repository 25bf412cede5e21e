"""k-means and PCA against scikit-learn's and brute force, over one process and two."""

import subprocess
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from sklearn import decomposition
from sklearn.cluster import KMeans as Reference

from harness_bench.pretrain.labels import kmeans as module
from harness_bench.pretrain.labels.kmeans import assign, fit_kmeans, fit_pca, lloyd
from tests import warm
from tests.pretrain.labels.conftest import blobs, speechlike


def test_pca_equals_scikit_learn() -> None:
    """The same subspace and explained share, from a covariance that ranks can sum."""
    frames = blobs(3_000, 16, 5)
    ours = fit_pca(frames, 6)
    reference = decomposition.PCA(6, svd_solver="full").fit(frames.numpy())
    ours_out, theirs = ours.apply(frames).numpy(), reference.transform(frames.numpy())
    signs = np.sign((ours_out * theirs).sum(0))
    assert np.allclose(ours_out * signs, theirs, atol=1e-3)
    assert ours.explained == pytest.approx(reference.explained_variance_ratio_.sum(), abs=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99, 1.0])
def test_pca_by_variance_equals_scikit_learn(share: float) -> None:
    """n_components = 0.9 keeps as many components, and they span the same subspace."""
    frames = speechlike(2_000, 40, 30)
    ours = fit_pca(frames, variance=share)
    reference = decomposition.PCA(None if share == 1 else share, svd_solver="full")
    reference.fit(frames.numpy())
    basis = torch.from_numpy(reference.components_.T)
    assert ours.components.shape == basis.shape
    # The cosines of the principal angles between two subspaces are singular values.
    cosines = torch.linalg.svdvals(ours.components.T @ basis)
    assert cosines.min() > 1 - 1e-4
    assert ours.explained >= share - 1e-9


def test_refusals_teach() -> None:
    frames = torch.randn(50, 4)
    with pytest.raises(ValueError, match=r"100 clusters got 50 frames.*fit_hours"):
        fit_kmeans(frames, 100, iterations=1, tolerance=0.0, seed=0)
    with pytest.raises(ValueError, match=r"pca_dim = 5.*4 dimensions"):
        fit_pca(frames, 5)
    with pytest.raises(ValueError, match="pca_variance"):
        fit_pca(torch.ones(50, 4), variance=0.5)
    with pytest.raises(ValueError, match="got 1"):
        fit_pca(torch.ones(1, 4), 1)


def inertia_of(frames: torch.Tensor, centroids: torch.Tensor) -> float:
    """Measure by brute force in float64."""
    return float(torch.cdist(frames.double(), centroids.double()).square().min(1).values.mean())


@pytest.mark.parametrize(
    ("frames", "clusters", "times"),
    [(blobs(6_000, 12, 40), 50, 1.02), (speechlike(4_000, 320, 60), 80, 1.005)],
    ids=["direct", "with a draft"],
)
def test_inertia_is_near_scikit_learns(frames: torch.Tensor, clusters: int, times: float) -> None:
    """Of ten runs; a draft in fewer dimensions must cost nothing."""
    ours = fit_kmeans(frames, clusters, iterations=100, tolerance=1e-5, seed=0)
    assert ours.centroids.shape == (clusters, frames.shape[1])
    reference = Reference(clusters, n_init=10, random_state=0).fit(frames.numpy())
    assert inertia_of(frames, ours.centroids) <= reference.inertia_ / len(frames) * times


def test_same_start_gives_scikit_learns_inertia() -> None:
    """From equal centroids Lloyd's rounds go the same way: within 1 % once both settle."""
    frames = speechlike(5_000, 24, 80)
    start = frames[:60].clone()
    ours = lloyd(frames, start, iterations=300, tolerance=0.0)
    reference = Reference(60, init=start.numpy(), n_init=1, max_iter=300, tol=0.0)
    reference.fit(frames.numpy())
    theirs = reference.inertia_ / len(frames)
    assert inertia_of(frames, ours.centroids) == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("room", [1 << 21, 1000], ids=["one block", "many blocks"])
def test_assignments_are_scikit_learns(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """The same centroids must give every frame the same label; a tie may fall either way."""
    monkeypatch.setattr(module, "BLOCK_ON_CPU", room)
    frames = speechlike(3_000, 300, 50)
    centroids = frames[:70] + 0.1
    reference = Reference(70, init=centroids.numpy(), n_init=1, max_iter=1).fit(frames.numpy())
    reference.cluster_centers_ = centroids.numpy()
    theirs = torch.from_numpy(reference.predict(frames.numpy())).long()
    ours, distances = assign(frames, centroids)
    full = torch.cdist(frames.double(), centroids.double())
    two = full.topk(2, largest=False).values
    clear = two[:, 1] - two[:, 0] > 1e-5
    assert clear.float().mean() > 0.99
    assert torch.equal(ours[clear], theirs[clear])
    # The matrix-product form of the distance is that of brute force.
    assert torch.equal(ours[clear], full.argmin(1)[clear])
    assert torch.allclose(distances.double(), two[:, 0].square(), atol=1e-3)


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


# Frames of rank 0 of all of a case's; rank 1 has the others.
CASES = {
    "even": (blobs(2_000, 6, 12), 1_200),
    "rank 0 has too few": (blobs(2_000, 6, 12), 4),
    "rank 1 has none": (blobs(2_000, 6, 12), 2_000),
    "draft": (speechlike(1_500, 300, 20), 10),
    "dead centroids": (torch.cat([torch.zeros(500, 2), blobs(40, 2, 30, seed=3)]), 539),
}


def _rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name, (frames, first) in CASES.items():
        mine = frames[:first] if rank == 0 else frames[first:]
        found[name] = fit_kmeans(mine, 15, iterations=20, tolerance=1e-4, seed=0)._asdict()
        rounds = lloyd(mine, start(frames), iterations=3, tolerance=0.0)
        found[f"rounds of {name}"] = rounds._asdict()
        found[f"pca of {name}"] = fit_pca(mine, variance=0.8)._asdict()
    try:
        fit_kmeans(torch.randn(12 if rank else 2, 3), 15, iterations=1, tolerance=0.0, seed=0)
    except ValueError as error:
        found["error"] = str(error)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def start(frames: torch.Tensor) -> torch.Tensor:
    """Take 15 centroids, of which some are too far away to get any frame."""
    centroids = frames[-15:].clone()
    centroids[::5] += 1000.0
    return centroids


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run every case over two gloo processes; return what each of them found."""
    folder = tmp_path_factory.mktemp("ranks")
    code = f"import sys; from {__name__} import _rank; _rank(int(sys.argv[1]), sys.argv[2])"
    words = [[warm.python(), "-c", code, str(number), str(folder)] for number in (0, 1)]
    ranks = [subprocess.Popen(each) for each in words]
    assert [process.wait(120) for process in ranks] == [0, 0]
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in (0, 1)]


@pytest.mark.parametrize("name", CASES)
def test_ranks_agree(both: list[dict[str, Any]], name: str) -> None:
    """Ranks with other centroids would write labels that do not belong together."""
    for key in (name, f"rounds of {name}", f"pca of {name}"):
        for first, second in zip(both[0][key].values(), both[1][key].values(), strict=True):
            assert torch.equal(torch.as_tensor(first), torch.as_tensor(second))


@pytest.mark.parametrize("name", CASES)
def test_sums_over_two_ranks_equal_those_over_one(both: list[dict[str, Any]], name: str) -> None:
    """Sums are all that travels; empty clusters move to the farthest frame of any rank."""
    frames, _ = CASES[name]
    expected = lloyd(frames, start(frames), iterations=3, tolerance=0.0)
    found = both[0][f"rounds of {name}"]
    assert torch.allclose(found["centroids"], expected.centroids, atol=1e-4)
    assert found["inertia"] == pytest.approx(expected.inertia, rel=1e-5, abs=1e-5)
    pca, found = fit_pca(frames, variance=0.8), both[0][f"pca of {name}"]
    assert torch.allclose(found["components"], pca.components, atol=1e-4)
    assert found["explained"] == pytest.approx(pca.explained)
    # Only the total counts: a rank may have few frames, and clusters are as good as those of one.
    alone = fit_kmeans(frames, 15, iterations=20, tolerance=1e-4, seed=0)
    assert both[0][name]["centroids"].shape == (15, frames.shape[1])
    assert both[0][name]["inertia"] <= 1.25 * alone.inertia
    assert len(set(assign(frames, both[0][name]["centroids"])[0].tolist())) == 15


def test_too_few_frames_stop_both_ranks(both: list[dict[str, Any]]) -> None:
    """14 frames in all: both ranks must say so, or one of them would wait for ever."""
    assert "15 clusters got 14 frames" in both[0]["error"]
    assert both[0]["error"] == both[1]["error"]
