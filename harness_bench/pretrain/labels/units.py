"""Known units of speech beside labels of the same frames, counted while a training validates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness_bench.core.distributed import sum_over_ranks
from harness_bench.pretrain.data.batches import NO_LABEL
from harness_bench.pretrain.labels.quality import agreement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.pretrain.data.batches import MaskedBatch
    from harness_bench.pretrain.data.windows import Window
    from harness_bench.pretrain.labels.quality import UnitReader
    from harness_bench.pretrain.labels.store import Labels

KINDS = ("masked", "unmasked")


class UnitCounts:
    """Counts of (unit, label) over masked and over unmasked frames of held-out utterances.

    Args:
        reader: gives the units; those of an utterance are read once.
        cuts: the whole utterances.
        labels: of all of them.
        windows: of the utterances, on which they are validated.
        clusters: number of label classes.
    """

    def __init__(
        self, reader: UnitReader, cuts: Sequence[Cut], labels: Labels, windows: Sequence[Window],
        clusters: int,
    ) -> None:  # fmt: skip
        self.reader, self.labels, self.clusters = reader, labels, clusters
        self.windows = {window.id: window for window in windows}
        # Of all cuts, so that the ranks agree on them.
        names = sorted({name for cut in cuts for name in reader.names(cut)})
        self.rows = {name: row for row, name in enumerate(names)}
        self.known: dict[str, Tensor] = {}
        self.joint: dict[str, Tensor] = {}

    def start(self, names: Mapping[str, Tensor], device: torch.device) -> None:
        """Begin to count anew, for labels of these names."""
        shape = (len(KINDS), len(self.rows), self.clusters)
        self.joint = {name: torch.zeros(shape, dtype=torch.int64, device=device) for name in names}

    @property
    def names(self) -> list[str]:
        """Return what `figures` can be called, once counting has begun."""
        return [f"{name}_{kind}" for name in self.joint for kind in KINDS]

    def add(self, batch: MaskedBatch, named: Mapping[str, Tensor]) -> None:
        """Count the frames of one batch by unit and by labels (B, F) of each name."""
        units = self._units(batch).to(batch.labels.device)
        known = (units != NO_LABEL) & (batch.labels != NO_LABEL)
        for kind, frames in enumerate((known & batch.mask, known & ~batch.mask)):
            for name, labels in named.items():
                places = units[frames] * self.clusters + labels[frames]
                self.joint[name][kind].view(-1).index_add_(0, places, torch.ones_like(places))

    def _units(self, batch: MaskedBatch) -> Tensor:
        """Return the number of each frame's unit, or NO_LABEL, (B, F) int64 on the CPU."""
        found = torch.full(batch.labels.shape, NO_LABEL)
        for row, name in enumerate(batch.ids):
            window = self.windows[name]
            if window.utterance not in self.known:
                units = self.reader.of(window.cut, len(self.labels.of(window.cut)))
                rows = [NO_LABEL if unit is None else self.rows[unit] for unit in units]
                self.known[window.utterance] = torch.tensor(rows, dtype=torch.int32)
            known = self.known[window.utterance][window.first :][: found.shape[1]]
            found[row, : len(known)] = known
        return found

    def figures(self) -> dict[str, float]:
        """Return PNMI by name and kind of frames over all ranks; none of frames of one unit."""
        found = {}
        for name, joint in self.joint.items():
            for kind, counts in zip(KINDS, sum_over_ranks(joint).cpu(), strict=True):
                if int((counts.sum(1) > 0).sum()) > 1:
                    found[f"{name}_{kind}"] = agreement(counts).pnmi
        return found
