"""Manifests of boards and NeMo: the same figures as jiwer's, and lines that are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jiwer
import pytest

from harness_bench.scoring.registry import get_profile, profile_names
from harness_bench.scoring.score import compare, read_rows, score

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PAIRS = [
    ("قال «أحمد» IBM", "قال أحمد ibm"), ("و كتاب", "وكتاب في"), ("بيت", "بيت"), ("", "نعم"),
    ("ignore_time_segment_in_scoring", "لا"), ("<UNK> ###", "في"),
]  # fmt: skip
NAMES = {
    "NeMo": ("text", "pred_text"), "Open ASR": ("text", "pred_text"),
    "evaluate": ("sentence", "prediction"), "text": ("text", "prediction"),
}  # fmt: skip


def written(
    folder: Path, names: tuple[str, str] = NAMES["NeMo"], pairs: Sequence[tuple[str, str]] = PAIRS
) -> Path:
    path = folder / "manifest.json"
    rows = [
        {"audio_filepath": f"wav/{place}.wav", "duration": 1.5, names[0]: ref, names[1]: hyp}
        for place, (ref, hyp) in enumerate(pairs)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("names", sorted(NAMES))
def test_every_profile_over_a_manifest_equals_jiwer(names: str, tmp_path: Path) -> None:
    pairs = PAIRS[:3]
    path = written(tmp_path, NAMES[names], pairs)
    for profile in (*profile_names(), "unicode-clean+oual-2026"):
        normalise = get_profile(profile).normalise
        texts = ([normalise(side) for side in sides] for sides in zip(*pairs, strict=True))
        assert score(path, profile=profile)["wer"].value == pytest.approx(100 * jiwer.wer(*texts))


def test_a_manifest_of_two_files(tmp_path: Path, command: Any) -> None:
    """A hypothesis is `pred_text` and never the reference beside it, which would give 0 %."""
    path = written(tmp_path, pairs=[("قال", "في")])
    found = json.loads(command("asr", "--hyp", path, "--ref", path, "--json")[1])
    assert (found["wer"], found["sub"]) == ([100], 1)


@pytest.mark.parametrize("first", [True, False])
def test_a_line_without_its_hypothesis_is_no_perfect_one(*, first: bool, tmp_path: Path) -> None:
    """Its `text` is the reference: taken for the hypothesis it would have no error."""
    rows = [{"id": "u", "text": "a", "pred_text": "b"}, {"id": "v", "text": "a"}]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows[:: 1 if first else -1])), encoding="utf-8")
    with pytest.raises(ValueError, match=r"m.jsonl:2 .*'[uv]' has (no|a) hypothesis"):
        score(path, path)


@pytest.mark.parametrize(("rule", "left_out"), [("none", 0), ("open-asr", 2), ("only-tags", 3)])
def test_unscorable_references_are_left_out_and_counted(
    rule: str, left_out: int, tmp_path: Path, command: Any
) -> None:
    """By a rule that is named; the figures are those of the other utterances, by jiwer."""
    bad = {"none": (), "open-asr": (3, 4), "only-tags": (3, 4, 5)}[rule]
    how = ("--profile", "none", "--unscorable", rule, "--json")
    found = json.loads(command("asr", "--predictions", written(tmp_path), *how)[1])
    kept = [pair for place, pair in enumerate(PAIRS) if place not in bad]
    refs, hyps = (list(side) for side in zip(*kept, strict=True))
    if rule != "none":  # jiwer refuses an empty reference
        assert found["wer"]["value"] == pytest.approx(100 * jiwer.wer(refs, hyps))
    noted = [note for note in found.get("notes", []) if "names unscorable" in note]
    assert [note.split()[0] for note in noted] == ([str(left_out)] if left_out else [])
    assert all(rule in note for note in noted)


def test_a_rule_that_is_not_there(tmp_path: Path, command: Any) -> None:
    error = command("asr", "--predictions", written(tmp_path), "--unscorable", "mine")[2]
    assert "'mine'" in error
    assert "open-asr" in error


def test_ids_tell_segments_of_one_file_apart(tmp_path: Path) -> None:
    rows = [
        {"audio_filepath": "a.wav", "offset": offset, "text": "a", "pred_text": "a", "speaker": "s"}
        for offset in (0.0, 1.25)
    ]
    rows += [{"text": "b", "pred_text": "b"}, {"id": "u", "text": "c", "pred_text": "c"}]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = read_rows(path)
    assert [row.id for row in found] == ["a.wav", "a.wav@1.250", "line 3", "u"]
    assert [row.group for row in found] == ["s", "s", "line 3", "u"]


def test_numbers_of_utterances_and_speakers_are_names(tmp_path: Path) -> None:
    """Otherwise utterances of one speaker would pass for independent."""
    rows = [{"id": place, "text": "a", "pred_text": "a", "speaker": 0} for place in range(2)]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = read_rows(path)
    assert [(row.id, row.group) for row in found] == [("0", "0"), ("1", "0")]


BROKEN: dict[str, tuple[list[dict[str, Any]], str]] = {
    "repeated": ([{"id": "u", "text": "a", "pred_text": "b"}] * 2, "row 2 repeats 'u'"),
    "null": ([{"id": "u", "text": "a", "pred_text": None}], "row 1 has no string"),
    "one side": (
        [{"id": "u", "text": "a", "pred_text": "b"}, {"id": "v", "text": "a"}],
        "row 2 has no string",
    ),
    "references alone": ([{"id": "u", "text": "a"}], "holds no predictions"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_broken_manifests_are_named(case: str, tmp_path: Path) -> None:
    rows, message = BROKEN[case]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_rows(path)


def test_manifests_of_two_models_are_compared(tmp_path: Path) -> None:
    """Boards' users compare others' hypotheses; the utterances are joined by their audio."""
    paths = []
    for name, hyp in (("good", "قال"), ("bad", "في")):
        (tmp_path / name).mkdir()
        pairs = [("قال", "قال"), ("قال", hyp), ("بيت", "بيت"), ("قال", hyp), ("نعم", hyp)]
        paths.append(written(tmp_path / name, pairs=pairs))
    assert compare(paths, profile="none").names == ("good", "bad")
