"""Predictions made by chance, the real multi-reference data where they are, the command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness_bench.cli import app
from harness_bench.results.predictions import ClassPrediction, TextPrediction

if TYPE_CHECKING:
    from collections.abc import Callable

MULTIREF = Path(__file__).parents[3] / "shared" / "data" / "mgb3_dev_multiref"
WORDS = ("كتاب", "بيت", "مدرسة", "أحمد", "إلى", "على", "قال", "سؤال", "و", "في")


@pytest.fixture(scope="session")
def multiref() -> Path:
    if not MULTIREF.is_dir():
        pytest.skip(f"{MULTIREF} is absent: the real MGB-3 texts are not part of the repository")
    return MULTIREF


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `harness-bench score ...`: (exit status, output, errors)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness-bench", "score", *map(str, arguments)])
        code = 0
        try:
            app.main()
        except SystemExit as done:
            code = int(done.code or 0)
        return code, *capsys.readouterr()

    return run


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
