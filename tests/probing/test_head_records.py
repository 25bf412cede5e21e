"""Measures of the classifier against scikit-learn, and its predictions file."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from harness_bench.probing.head.records import SplitRecords
from harness_bench.results.predictions import ClassPrediction, read_predictions

if TYPE_CHECKING:
    from pathlib import Path


def test_gathered_measures_and_predictions(tmp_path: Path) -> None:
    """Two uneven batches: every utterance counts once, and the file says what was measured."""
    torch.manual_seed(0)
    records: dict[str, Any] = defaultdict(list)
    for start, stop in ((0, 4), (4, 7)):
        records["losses"].append(torch.tensor(1.0 + start))
        records["probs"].append(torch.randn(stop - start, 3).softmax(-1))
        records["truths"].append(torch.arange(start, stop) % 3)
        records["ids"] += [f"u{number}" for number in range(start, stop)]
        records["groups"] += [f"g{number % 2}" for number in range(start, stop)]
    gathered = SplitRecords.gather(records, ["a", "b", "c"])
    tags = {f"u{number}": {"gender": "female"} if number % 2 else {} for number in range(7)}
    gathered.write(tmp_path / "predictions.jsonl", tags)
    rows = read_predictions(tmp_path / "predictions.jsonl", ClassPrediction)
    assert [(row.id, row.truth, row.group) for row in rows] == [
        (f"u{number}", "abc"[number % 3], f"g{number % 2}") for number in range(7)
    ]
    assert {row.id: row.tags for row in rows} == tags
    assert all(row.pred == max(row.probs, key=row.probs.__getitem__) for row in rows)
    measures = gathered.measures()
    truths, preds = [row.truth for row in rows], [row.pred for row in rows]
    assert measures["accuracy"] == pytest.approx(100 * accuracy_score(truths, preds))
    expected = f1_score(truths, preds, average="macro", zero_division=0)
    assert measures["macro_f1"] == pytest.approx(100 * expected)
    assert measures["loss"] == pytest.approx(3.0)
