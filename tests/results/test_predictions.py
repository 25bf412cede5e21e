"""Predictions are joined by utterance id and by nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness_bench.results.predictions import (
    ClassPrediction,
    TextPrediction,
    read_predictions,
    write_predictions,
)

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [TextPrediction(id=key, ref="قال", hyp="", group="g") for key in ("b", "a")]


def test_written_sorted_and_read_back(tmp_path: Path) -> None:
    """The file's order is that of ids, so that equal predictions are equal files."""
    path = tmp_path / "p.jsonl"
    assert write_predictions(path, ROWS) == 2
    assert read_predictions(path, TextPrediction) == sorted(ROWS, key=lambda row: row.id)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "a", "ref": "", "hyp": "", "group": ""}', "row 3 repeats id 'a'"),
        ('{"id": "c", "ref": ""}', "row 3, field 'hyp'"),
        ('{"id": "c", "ref": 1, "hyp": "", "group": ""}', "row 3, field 'ref'"),
        ("{oops", "p.jsonl:3 is not valid JSON"),
    ],
)
def test_bad_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    """A broken or repeated line would otherwise shift or double a score."""
    path = tmp_path / "p.jsonl"
    write_predictions(path, ROWS)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    with pytest.raises(ValueError, match=said):
        read_predictions(path, TextPrediction)


def test_kinds_are_not_mixed_up(tmp_path: Path) -> None:
    """Transcripts scored as classes would be a score of nothing."""
    path = tmp_path / "p.jsonl"
    write_predictions(path, ROWS)
    with pytest.raises(ValueError, match="field"):
        read_predictions(path, ClassPrediction)
