"""k-means and PCA over two processes against one."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch
import torch.distributed as dist

from harness_bench.pretrain.labels.kmeans import assign, fit_kmeans, lloyd
from harness_bench.pretrain.labels.pca import fit_pca
from tests.pretrain.labels.conftest import blobs, speechlike

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
        found[f"rounds of {name}"] = lloyd(
            mine, start(frames), iterations=3, tolerance=0.0
        )._asdict()
        found[f"pca of {name}"] = fit_pca([mine], variance=0.8)._asdict()
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
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_rank, args=(number, str(folder))) for number in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in (0, 1)]


@pytest.mark.parametrize("name", CASES)
def test_ranks_agree(both: list[dict[str, Any]], name: str) -> None:
    """Ranks with other centroids would write labels that do not belong together."""
    for key in (name, f"rounds of {name}", f"pca of {name}"):
        for first, second in zip(both[0][key].values(), both[1][key].values(), strict=True):
            assert torch.equal(torch.as_tensor(first), torch.as_tensor(second))


@pytest.mark.parametrize("name", CASES)
def test_rounds_over_two_ranks_equal_those_over_one(both: list[dict[str, Any]], name: str) -> None:
    """Sums are all that travels; empty clusters move to the farthest frame of any rank."""
    frames, _ = CASES[name]
    expected = lloyd(frames, start(frames), iterations=3, tolerance=0.0)
    found = both[0][f"rounds of {name}"]
    assert torch.allclose(found["centroids"], expected.centroids, atol=1e-4)
    assert found["inertia"] == pytest.approx(expected.inertia, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_rank_may_have_few_frames(both: list[dict[str, Any]], name: str) -> None:
    """Only the total counts: the clusters are as good as one process makes them."""
    frames, _ = CASES[name]
    alone = fit_kmeans(frames, 15, iterations=20, tolerance=1e-4, seed=0)
    assert both[0][name]["centroids"].shape == (15, frames.shape[1])
    assert both[0][name]["inertia"] <= 1.25 * alone.inertia
    assert len(set(assign(frames, both[0][name]["centroids"])[0].tolist())) == 15


@pytest.mark.parametrize("name", CASES)
def test_pca_over_two_ranks_equals_one(both: list[dict[str, Any]], name: str) -> None:
    """The components of all frames, though each rank saw its own alone."""
    expected = fit_pca([CASES[name][0]], variance=0.8)
    found = both[0][f"pca of {name}"]
    assert torch.allclose(found["components"], expected.components, atol=1e-4)
    assert found["explained"] == pytest.approx(expected.explained)


def test_too_few_frames_stop_both_ranks(both: list[dict[str, Any]]) -> None:
    """14 frames in all: both ranks must say so, or one of them would wait for ever."""
    assert "15 clusters got 14 frames" in both[0]["error"]
    assert both[0]["error"] == both[1]["error"]
