"""Predictions by chance or by hand, the real multi-reference data, pairs, the command."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness_bench.results.predictions import ClassPrediction, TextPrediction
from harness_bench.results.record import Result
from harness_bench.scoring.bootstrap import PairedTest, paired
from harness_bench.scoring.registry import get_metric
from harness_bench.scoring.systems import systems_statistics
from tests.cli.conftest import run  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MULTIREF = Path(__file__).parents[3] / "shared" / "data" / "mgb3_dev_multiref"
ANNOTATORS = ("Ali", "Omar", "Alaa", "Mohamed")
WORDS = ("كتاب", "بيت", "مدرسة", "أحمد", "إلى", "على", "قال", "سؤال", "و", "في")

type Rows = Sequence[ClassPrediction] | Sequence[TextPrediction]
TEMPLATE = partial(
    Result, model="tiny", model_kind="pretrained", task="did", corpus="tones", split="test",
    synthetic=True, parameters=1234, learning_rates={"1e-3": 61.5},
)  # fmt: skip


@pytest.fixture(scope="session")
def multiref() -> Path:
    if not MULTIREF.is_dir():
        pytest.skip(f"{MULTIREF} is absent: the real MGB-3 texts are not part of the repository")
    return MULTIREF


@pytest.fixture
def command(request: pytest.FixtureRequest) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `harness-bench score ...`: (exit status, output, errors)."""
    return partial(request.getfixturevalue("run"), "score")


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
        key, group = f"u{index:04}", f"speaker{speaker}"
        rows.append(ClassPrediction(id=key, truth=truth, pred=pred, probs=probs, group=group))
    return rows


def text_rows(*, count: int, seed: int, groups: int = 8) -> list[TextPrediction]:
    """Draw transcripts with word errors of every kind."""
    draw = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        ref = draw.choice(WORDS, size=draw.integers(1, 9)).tolist()
        kept = [word for word in ref if draw.random() < 0.8]
        hyp = [str(draw.choice(WORDS)) if draw.random() < 0.2 else word for word in kept]
        key, group = f"u{index:04}", f"programme{draw.integers(groups)}"
        rows.append(TextPrediction(id=key, ref=" ".join(ref), hyp=" ".join(hyp), group=group))
    return rows


def compare_pair(
    first: Sequence[Any],
    second: Sequence[Any],
    *,
    metric: str,
    profile: str | None = None,
    **how: Any,
) -> PairedTest:
    """Compare two systems alone, which tables of many must agree with."""
    plugin = get_metric(metric)
    groups, (one, other) = systems_statistics({"first": first, "second": second}, plugin, profile)
    return paired(one, other, groups, plugin.value, **how)


def annotated(uid: str, *texts: str, group: str = "g", **tags: str) -> TextPrediction:
    """Make a row of one reference per annotator, and the hypothesis last."""
    *refs, hyp = texts
    references = dict(zip(ANNOTATORS, refs, strict=False))
    return TextPrediction(
        id=uid, ref=refs[0], hyp=hyp, references=references, group=group, tags=tags
    )


def naive_alignment(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """Align by the whole table of costs; if equal, diagonal, deletion, insertion."""
    rows, columns = len(reference) + 1, len(hypothesis) + 1
    cost = [[row + column for column in range(columns)] for row in range(rows)]
    for row in range(1, rows):
        for column in range(1, columns):
            same = reference[row - 1] == hypothesis[column - 1]
            one = min(cost[row - 1][column], cost[row][column - 1]) + 1
            cost[row][column] = min(cost[row - 1][column - 1] + (0 if same else 2), one)
    row, column, path = len(reference), len(hypothesis), ""
    while row or column:
        same = bool(row and column) and reference[row - 1] == hypothesis[column - 1]
        here = cost[row][column]
        if row and column and here == cost[row - 1][column - 1] + (0 if same else 2):
            step = "c" if same else "s"
        else:
            step = "d" if row and here == cost[row - 1][column] + 1 else "i"
        path = step + path
        row, column = row - (step != "i"), column - (step != "d")
    return path
