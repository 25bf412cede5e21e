"""What ranks tell each other, over three processes and alone."""

import multiprocessing

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from harness_bench.core.distributed import (
    barrier,
    counts_of_ranks,
    from_first,
    gather_rows,
    sum_over_ranks,
    together,
    world,
)

RANKS = 3
CPU = torch.device("cpu")
WORDS = "disk full: \u0642\u0631\u0635"
ROWS = [2, 0, 3]  # of each rank: one has none


def own(rank: int) -> Tensor:
    """Return a rank's tensor (2, 3), which does not lie in memory in its own order."""
    return (10.0 * rank + torch.arange(6.0)).view(3, 2).T


def rows(rank: int) -> Tensor:
    return 100.0 * rank + torch.arange(2.0 * ROWS[rank]).view(-1, 2)


def fail_on_one(rank: int) -> None:
    if rank == 1:
        raise OSError(WORDS)


def _rank(rank: int, folder: str) -> None:
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=RANKS)
    given = own(rank).contiguous()
    summed = sum_over_ranks(given)
    barrier()
    found = {
        "world": torch.tensor(world()),
        "sum": summed,
        "in place": given,
        "first": from_first(own(rank)),
        "counts": torch.tensor(counts_of_ranks(ROWS[rank], CPU)),
        "rows": gather_rows(rows(rank)),
    }
    with together():
        pass
    with pytest.raises((OSError, RuntimeError)) as caught, together():
        fail_on_one(rank)
    found["error"] = torch.tensor(list(f"{caught.type.__name__} {caught.value}".encode()))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """Return what each of three gloo processes got."""
    folder = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_rank, args=(rank, str(folder))) for rank in range(RANKS)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0] * RANKS
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


def test_all_ranks_get_the_same(found: list[dict[str, Tensor]]) -> None:
    """The sum of all, the first one's, the counts and the rows in the order of ranks."""
    expected = {
        "sum": own(0) + own(1) + own(2),
        "in place": own(0) + own(1) + own(2),
        "first": own(0),
        "counts": torch.tensor(ROWS),
        "rows": torch.cat([rows(rank) for rank in range(RANKS)]),
    }
    for rank, each in enumerate(found):
        assert each["world"].tolist() == [rank, RANKS]
        assert all(torch.equal(each[name], value) for name, value in expected.items())


def test_alone_everything_stays_as_it_is() -> None:
    """Without torch.distributed there is one rank, the first."""
    assert world() == (0, 1)
    barrier()
    assert torch.equal(sum_over_ranks(own(1)), own(1))
    assert torch.equal(from_first(own(1)), own(1))
    assert counts_of_ranks(7, CPU) == [7]
    assert torch.equal(gather_rows(rows(2)), rows(2))


def test_an_error_of_one_rank_ends_the_block_on_all(found: list[dict[str, Tensor]]) -> None:
    """Or the others would wait for it for days; it is told in its own words everywhere."""
    said = [bytes(each["error"].tolist()).decode() for each in found]
    other = f"RuntimeError Stopped by rank 1: {WORDS}"
    assert said == [other, f"OSError {WORDS}", other]
    with pytest.raises(KeyError), together():  # alone
        raise KeyError
