"""Stop a run that went wrong before it spoils its weights, and keep what it went wrong on."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from harness_bench.files import atomic_path, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from harness_bench.pretrain.data import Batch

FOLDER = "diverged"


class Guard:
    """Watches the gradient norm of every update and the loss of every line of the log."""

    def __init__(self, out: Path, clusters: int, divergence: float, rank: int) -> None:
        self.out, self.rank = out, rank
        # In bits, as the log has it: guessing among all clusters costs log2 of their number.
        self.chance = math.log2(clusters)
        self.limit = divergence * self.chance

    def check_gradients(self, norm: Tensor, group: list[Batch], update: int) -> None:
        """Raise `RuntimeError` where the norm is not finite; the weights are untouched then."""
        if not bool(torch.isfinite(norm)):
            what = f"Update {update + 1}: the gradient norm is {float(norm)}."
            self._stop(f"{what} Weights are unchanged.", group, {"grad_norm": str(float(norm))})

    def check_loss(self, row: dict[str, Any] | None, group: list[Batch]) -> None:
        """Raise `RuntimeError` where the masked loss is far above that of guessing."""
        if row is None or row["loss_masked"] <= self.limit:
            return
        what = (
            f"Update {row['update']}: the masked loss is {row['loss_masked']:.1f} bits, and "
            f"guessing costs {self.chance:.1f} (pretrain.divergence)."
        )
        self._stop(what, group, row)

    def _stop(self, what: str, group: list[Batch], facts: dict[str, Any]) -> None:
        """Write this rank's batches and end the run."""
        folder = self.out / FOLDER
        for number, batch in enumerate(group):
            tensors = {name: getattr(batch, name).cpu().contiguous() for name in batch._fields[1:]}
            with atomic_path(folder / f"batch-{self.rank}-{number}.safetensors") as partial:
                save_file(tensors, partial, metadata={"ids": json.dumps(batch.ids)})
        ids = [name for batch in group for name in batch.ids]
        write_json(folder / f"report-{self.rank}.json", {"what": what, "ids": ids, **facts})
        raise RuntimeError(
            f"{what} The batch is in {folder}; the last saved state is in {self.out}. It held "
            f"{', '.join(ids[:8])}. Lower lr or clip_norm (a new run then: --restart), or look at "
            "these utterances."
        )
