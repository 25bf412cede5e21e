"""Predictions made by chance, and the real multi-reference data where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness_bench.predictions import ClassPrediction, TextPrediction

MULTIREF = Path(__file__).parents[3] / "shared" / "data" / "mgb3_dev_multiref"
WORDS = ("كتاب", "بيت", "مدرسة", "أحمد", "إلى", "على", "قال", "سؤال", "و", "في")


@pytest.fixture(scope="session")
def multiref() -> Path:
    if not MULTIREF.is_dir():
        pytest.skip(f"{MULTIREF} is absent: the real MGB-3 texts are not part of the repository")
    return MULTIREF


def class_rows(
    *, count: int, seed: int, groups: int = 8, right: float = 0.6
) -> list[ClassPrediction]:
    """Draw classified utterances of four classes, unequally frequent."""
    draw = np.random.default_rng(seed)
    labels = ("EGY", "GLF", "LEV", "MSA")
    truths = draw.choice(labels, size=count, p=(0.4, 0.3, 0.2, 0.1)).tolist()
    speakers = draw.integers(groups, size=count).tolist()  # both the same whatever `right` is
    rows = []
    for index, (truth, speaker) in enumerate(zip(truths, speakers, strict=True)):
        pred = truth if draw.random() < right else str(draw.choice(labels))
        probs = {label: 0.7 if label == pred else 0.1 for label in labels}
        rows.append(
            ClassPrediction(
                id=f"u{index:04}", truth=truth, pred=pred, probs=probs, group=f"speaker{speaker}"
            )
        )
    return rows


def text_rows(*, count: int, seed: int, groups: int = 8) -> list[TextPrediction]:
    """Draw transcripts with word errors of every kind."""
    draw = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        ref = [str(word) for word in draw.choice(WORDS, size=draw.integers(1, 9))]
        hyp = [word for word in ref if draw.random() < 0.8]
        hyp = [str(draw.choice(WORDS)) if draw.random() < 0.2 else word for word in hyp]
        group = f"programme{draw.integers(groups)}"
        rows.append(
            TextPrediction(id=f"u{index:04}", ref=" ".join(ref), hyp=" ".join(hyp), group=group)
        )
    return rows
