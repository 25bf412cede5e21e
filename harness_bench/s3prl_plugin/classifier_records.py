"""What a classifier said about one split: its measures and its predictions file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness_bench.predictions import ClassPrediction, write_predictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class SplitRecords:
    """All outputs gathered since the last log."""

    losses: NDArray[np.float32]  # (batches,)
    probs: NDArray[np.float32]  # (utterances, classes)
    truths: NDArray[np.int64]  # (utterances,)
    ids: list[str]
    groups: list[str]

    @classmethod
    def gather(cls, records: Mapping[str, Any]) -> SplitRecords:
        """Collect what `add_batch` put into s3prl's records."""
        return cls(
            losses=torch.stack(records["losses"]).float().cpu().numpy(),
            probs=torch.cat(records["probs"]).float().cpu().numpy(),
            truths=torch.cat(records["truths"]).cpu().numpy(),
            ids=records["ids"],
            groups=records["groups"],
        )

    def measures(self) -> dict[str, float]:
        """Return loss, accuracy and macro-F1 (each a plain number, accuracy and F1 in 0..1)."""
        confusion = confusion_matrix(self.truths, self.probs.argmax(1), self.probs.shape[1])
        return {
            "loss": float(self.losses.mean()),
            "accuracy": float(np.trace(confusion) / confusion.sum()),
            "macro_f1": macro_f1(confusion),
        }

    def write(self, path: Path, classes: Sequence[str]) -> None:
        """Write the predictions file."""
        rows = zip(self.ids, self.truths, self.probs, self.groups, strict=True)
        write_predictions(
            path,
            [
                ClassPrediction(
                    id=key,
                    truth=classes[truth],
                    pred=classes[int(probs.argmax())],
                    probs=dict(zip(classes, probs.tolist(), strict=True)),
                    group=group,
                )
                for key, truth, probs, group in rows
            ],
        )


def add_batch(
    records: dict[str, Any],
    *,
    loss: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    ids: Sequence[str],
    groups: Sequence[str],
) -> None:
    """Add a batch's outputs to s3prl's records, left on the device until they are read.

    Args:
        records: s3prl's `defaultdict(list)`.
        loss: scalar.
        logits: (B, classes).
        labels: (B,) int64.
        ids: utterances.
        groups: their clusters.
    """
    records["losses"].append(loss.detach())
    records["probs"].append(logits.detach().softmax(-1))
    records["truths"].append(labels)
    records["ids"] += ids
    records["groups"] += groups


def confusion_matrix(
    truths: NDArray[np.int64], preds: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Count (truth, prediction) pairs: (classes, classes) int64, truths in rows."""
    return np.bincount(truths * classes + preds, minlength=classes**2).reshape(classes, classes)


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Return the mean F1 over classes that occur as truth or prediction, as scikit-learn's.

    Own code because importing scikit-learn would cost every probe a second at start.
    """
    hits = np.diagonal(confusion)
    total = confusion.sum(0) + confusion.sum(1)  # predicted + true
    return float(np.mean(2 * hits[total > 0] / total[total > 0]))
