"""The place of this process among the ranks of a run; one rank where nothing is distributed."""

from __future__ import annotations

import torch.distributed as dist


def world() -> tuple[int, int]:
    """Return (rank, number of ranks)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def barrier() -> None:
    """Wait for all ranks."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
