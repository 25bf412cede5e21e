"""A classifier's outputs on one split: measures and predictions file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness_bench.results.predictions import ClassPrediction, write_predictions
from harness_bench.scoring.metrics import accuracy, macro_f1
from harness_bench.scoring.statistics import class_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SplitRecords:
    """All outputs gathered since the last log."""

    classes: list[str]  # in the order of the head's outputs
    losses: NDArray[np.float32]  # (batches,)
    probs: NDArray[np.float32]  # (utterances, classes)
    truths: list[str]
    ids: list[str]
    groups: list[str]

    @classmethod
    def gather(cls, records: Mapping[str, Any], classes: list[str]) -> SplitRecords:
        """Collect what the batches put into s3prl's records."""
        truths = torch.cat(records["truths"]).tolist()
        return cls(
            classes=classes,
            losses=torch.stack(records["losses"]).float().cpu().numpy(),
            probs=torch.cat(records["probs"]).float().cpu().numpy(),
            truths=[classes[number] for number in truths],
            ids=records["ids"],
            groups=records["groups"],
        )

    def measures(self) -> dict[str, float]:
        """Return the mean loss, and accuracy and macro F1 in percent."""
        totals = class_statistics(self.truths, self.preds, self.classes).sum(axis=0)
        return {
            "loss": float(self.losses.mean()),
            "accuracy": float(accuracy.value(totals)),
            "macro_f1": float(macro_f1.value(totals)),
        }

    @property
    def preds(self) -> list[str]:
        """The most probable class of each utterance."""
        return [self.classes[best] for best in self.probs.argmax(axis=1)]

    def write(self, path: Path, tags: Mapping[str, dict[str, str]]) -> None:
        """Write the predictions file, with the tags of each utterance."""
        columns = (self.ids, self.truths, self.preds, self.probs.tolist(), self.groups)
        rows = [
            ClassPrediction(
                id=key, truth=truth, pred=pred, group=group, tags=tags[key],
                probs=dict(zip(self.classes, probs, strict=True)),
            )
            for key, truth, pred, probs, group in zip(*columns, strict=True)
        ]  # fmt: skip
        write_predictions(path, rows)
