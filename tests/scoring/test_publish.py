"""From predictions to a result file and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.results.predictions import ClassPrediction, read_predictions
from harness_bench.results.record import load_results
from harness_bench.scoring.publish import class_result, publish, split_digest, text_result
from harness_bench.scoring.texts.score import score_rows
from tests.scoring.conftest import TEMPLATE, class_rows, text_rows

if TYPE_CHECKING:
    from pathlib import Path


def test_published_result_comes_back(tmp_path: Path) -> None:
    """The leaderboard reads what scoring wrote, predictions beside it under a relative name."""
    rows = class_rows(count=30, seed=0)
    result = class_result(rows, TEMPLATE, main_metric="uar", resamples=50)
    assert list(result.metrics) == ["accuracy", "macro_f1", "uar"]
    path = publish(result, rows, tmp_path)
    found, problems = load_results(tmp_path)
    assert not problems
    loaded = found[path]
    assert loaded.main == result.metrics["uar"]
    assert loaded.utterances == 30
    assert loaded.learning_rates == {"1e-3": 61.5}
    assert loaded.versions["python"]
    assert loaded.predictions
    assert read_predictions(tmp_path / loaded.predictions, ClassPrediction) == rows


def test_split_digest_ignores_order() -> None:
    """Two systems scored the same split when the ids are the same, in whatever order."""
    assert split_digest(["b", "a"]) == split_digest(["a", "b"]) != split_digest(["ab"])


def test_text_result_names_its_profile() -> None:
    """A WER without its text profile cannot be compared; the CSV lists what ranks first."""
    rows = text_rows(count=9, seed=0)
    result = text_result(rows, TEMPLATE, score_rows(rows, "mgb3", ["none"])[0])
    assert result.normaliser == "mgb3 v1"
    assert result.main_metric == "wer"
    assert list(result.metrics) == ["wer", "cer", "wer_none", "cer_none"]


def test_main_metric_of_the_wrong_kind() -> None:
    """Ranking dialects by WER is a mistake in a config."""
    with pytest.raises(ValueError, match="'wer'"):
        class_result(class_rows(count=3, seed=0), TEMPLATE, main_metric="wer")
