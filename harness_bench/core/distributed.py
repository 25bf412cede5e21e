"""The ranks of a run: this process's place among them and what they exchange; alone, one rank."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor


def _group() -> Any:
    """Return torch.distributed once a process group exists, else None; never imports torch."""
    dist = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_available() and dist.is_initialized() else None


def world() -> tuple[int, int]:
    """Return (rank, number of ranks)."""
    dist = _group()
    return (0, 1) if dist is None else (dist.get_rank(), dist.get_world_size())


def barrier() -> None:
    """Wait for all ranks."""
    if (dist := _group()) is not None:
        dist.barrier()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum a tensor, of one shape on all ranks, over them; in place, and returned."""
    if world()[1] > 1:
        _group().all_reduce(tensor)
    return tensor


def from_first(tensor: Tensor) -> Tensor:
    """Give rank 0's tensor to all ranks; theirs, of the same shape, are overwritten."""
    tensor = tensor.contiguous()
    if world()[1] > 1:
        _group().broadcast(tensor, src=0)
    return tensor


def counts_of_ranks(count: int, device: torch.device) -> list[int]:
    """Return every rank's count, in the order of ranks; `device` is one they can talk on."""
    import torch  # noqa: PLC0415 - `world` serves processes without torch too

    rank, ranks = world()
    counts = torch.zeros(ranks, dtype=torch.int64, device=device)
    counts[rank] = count
    return [int(each) for each in sum_over_ranks(counts).tolist()]


def gather_rows(rows: Tensor) -> Tensor:
    """Join the rows (n, D) of all ranks, in the order of ranks; every rank may have another n."""
    if world()[1] == 1:
        return rows
    import torch  # noqa: PLC0415 - as above

    sizes = counts_of_ranks(len(rows), rows.device)
    padded = rows.new_zeros(max(sizes), rows.shape[1])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    _group().all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


@contextmanager
def together() -> Iterator[None]:
    """End the block on all ranks where it ends with an error on any: or the others would wait.

    Every rank has to enter it. A rank that met nothing itself raises what the others met.

    Raises:
        RuntimeError: another rank's error, which it names.
    """
    own: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised below, once the others know
        own = error
    others = _texts_of_ranks("" if own is None else f"rank {world()[0]}: {own}\n")
    if own is not None:
        raise own
    if others:
        raise RuntimeError(f"Stopped by {others.strip()}")


def _texts_of_ranks(text: str) -> str:
    """Join the texts of all ranks, in their order."""
    if world()[1] == 1:
        return text
    import torch  # noqa: PLC0415 - as above

    own = torch.tensor(list(text.encode()), dtype=torch.uint8)
    if not sum(counts_of_ranks(len(own), own.device)):
        return ""
    return bytes(gather_rows(own[:, None]).flatten().tolist()).decode()
