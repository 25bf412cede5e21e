"""Counts that are shared give the figures of the transcripts, and hold none of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness_bench.results.predictions import TextCounts, read_predictions, write_predictions
from harness_bench.scoring.registry import get_profile
from harness_bench.scoring.score import compare, score
from tests.scoring.conftest import annotated, text_rows

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.results.predictions import TextPrediction

PROFILES = ("mgb2", "none")


def several(count: int, seed: int) -> list[TextPrediction]:
    """Make rows of two annotators of rows of one."""
    rows = text_rows(count=count, seed=seed)
    return [annotated(row.id, row.ref, f"{row.ref} قال", row.hyp, group=row.group) for row in rows]


@pytest.fixture
def shared(tmp_path: Path, command: Any) -> Any:
    """Return a function that writes rows and their counts: paths of both."""

    def run(rows: list[TextPrediction], name: str, profile: str = "all") -> tuple[Path, Path]:
        texts, counts = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.counts.jsonl"
        write_predictions(texts, rows)
        how = ("--profile", profile, "--counts", counts)
        assert command("asr", "--predictions", texts, *how)[0] == 0
        return texts, counts

    return run


@pytest.mark.parametrize("make", [text_rows, several])
def test_figures_and_intervals_are_those_of_the_transcripts(make: Any, shared: Any) -> None:
    """To the last digit, under each of the profiles they hold."""
    texts, counts = shared(make(count=40, seed=1), "model")
    for profile in PROFILES:
        assert score(counts, profile=profile) == score(texts, profile=profile)


@pytest.mark.parametrize("how", [("--json",), (), ("--profile", "all")])
def test_the_command_reads_counts_as_it_reads_transcripts(
    how: Any, shared: Any, command: Any
) -> None:
    texts, counts = shared(text_rows(count=20, seed=1), "model")
    code, printed, _ = command("asr", "--predictions", counts, *how)
    assert (code, printed) == (0, command("asr", "--predictions", texts, *how)[1])


def test_a_profile_that_leaves_no_word_costs_the_others_nothing(shared: Any, command: Any) -> None:
    """As with transcripts: under `all` it is a note, alone an error."""
    rows = [row.model_copy(update={"ref": "..."}) for row in text_rows(count=3, seed=1)]
    _, counts = shared(rows, "model")
    code, printed, _ = command("asr", "--predictions", counts, "--profile", "all")
    assert code == 0
    assert "wer_none" in printed
    assert "Note: A reference is empty" in printed
    assert "wer_mgb2" not in printed
    assert command("asr", "--predictions", counts, "--profile", "mgb2")[0] != 0


def test_no_transcript_is_shared(shared: Any) -> None:
    """No word of either side, and no field but ids, clusters, tags and numbers."""
    rows = text_rows(count=20, seed=1)
    _, counts = shared(rows, "model")
    written = counts.read_text(encoding="utf-8")
    assert not any(word in written for row in rows for word in f"{row.ref} {row.hyp}".split())
    found = read_predictions(counts, TextCounts)
    assert [(row.id, row.group) for row in found] == [(row.id, row.group) for row in rows]
    assert get_profile("mgb2").label in found[0].counts


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(("make", "metric"), [(text_rows, "wer"), (several, "mr_wer")])
def test_comparing_counts_is_comparing_transcripts(
    make: Any, metric: str, *, mixed: bool, shared: Any
) -> None:
    """Also where one system shares its counts and the other its transcripts."""
    first = make(count=40, seed=1)
    second = [row.model_copy(update={"hyp": f"{row.hyp} قال"}) for row in first]
    (one, counted), (other, again) = (
        shared(rows, name) for rows, name in ((first, "a"), (second, "b"))
    )
    expected = compare({"a": one, "b": other}, metric=metric, profile="mgb2")
    found = compare({"a": counted, "b": other if mixed else again}, metric=metric, profile="mgb2")
    assert (found.names, found.ranks) == (expected.names, expected.ranks)
    np.testing.assert_array_equal(found.p_values, expected.p_values)
    np.testing.assert_array_equal(found.differences, expected.differences)


def test_counts_of_files(tmp_path: Path, command: Any) -> None:
    """Clusters and groups that were asked for go along; other fields may be transcripts."""
    (tmp_path / "hyp").write_text("a_1 قال\na_2 في\n", encoding="utf-8")
    (tmp_path / "ref").write_text("a_1 قال\na_2 بيت\n", encoding="utf-8")
    files = ("--hyp", tmp_path / "hyp", "--ref", tmp_path / "ref", "--group", "show:1")
    code, *_ = command("asr", *files, "--cluster", "show:1", "--counts", tmp_path / "out.jsonl")
    (first, second) = read_predictions(tmp_path / "out.jsonl", TextCounts)
    assert (code, first.group, first.tags) == (0, "a", {"show": "a"})
    assert second.counts[get_profile("mgb2").label][1] == (0, 1, 0, 0)


def test_what_counts_cannot_tell_is_refused(shared: Any, tmp_path: Path) -> None:
    """A profile they were not made under, versions that differ, other references, broken lines."""
    rows = text_rows(count=5, seed=1)
    _, counts = shared(rows, "model", "mgb2")
    with pytest.raises(ValueError, match=r"made under mgb2 v.*not under 'none'"):
        score(counts, profile="none")
    old = tmp_path / "old.jsonl"
    label = get_profile("mgb2").label
    old.write_text(counts.read_text(encoding="utf-8").replace(label, "mgb2 v2"), encoding="utf-8")
    assert score(old)["wer"] == score(counts)["wer"], "old counts stay readable"
    with pytest.raises(ValueError, match=r"different profiles.*mgb2 v2"):
        compare([counts, old])
    lines = [json.loads(line) for line in counts.read_text(encoding="utf-8").splitlines()]
    lines[0]["counts"][label][1][0] += 1
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(ValueError, match="differ in 1 utterances"):
        compare([counts, other])
    lines[0]["counts"][label].pop()
    other.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(ValueError, match="3 lines of counts"):
        score(other)
    lines[0]["counts"][label][0][0] = -1
    other.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(ValueError, match="row 1, field"):
        score(other)
    with pytest.raises(ValueError, match="another kind"):
        compare([counts, counts.parent / "model.jsonl"], metric="mr_wer")
