"""Transcripts in every format: the same words from each, and broken lines named."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.scoring.profiles._arabic import to_buckwalter
from harness_bench.scoring.texts.formats import Source, read_all
from harness_bench.scoring.texts.readers import (
    CtmWord,
    StmSegment,
    Transcripts,
    overlapping,
    read_transcripts,
    spread,
)

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {
    "text": "u1 قال أحمد\nu2\n\nu3 سؤال <UNK>\n",
    "trn": "قال أحمد (u1)\n(u2)\nسؤال <UNK> (u3)\n",
    "jsonl": (
        '{"id": "u1", "text": "قال أحمد"}\n{"id": "u2", "text": ""}\n'
        '{"id": "u3", "text": "سؤال <UNK>"}\n'
    ),
}
EXPECTED = {"u1": "قال أحمد", "u2": "", "u3": "سؤال <UNK>"}


def written(folder: Path, text: str, name: str = "file") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, role: str = "text") -> Transcripts:
    """Read one file alone, by its name and lines."""
    (found,) = read_all([Source(path, role=role)])
    return found


@pytest.mark.parametrize("kind", sorted(TEXTS))
@pytest.mark.parametrize("named", [True, False])
def test_formats_agree(kind: str, *, named: bool, tmp_path: Path) -> None:
    """The format is told by the name or by the lines, and never changes the words."""
    path = written(tmp_path, TEXTS[kind], f"file.{kind}" if named else "file")
    assert read(path).texts == EXPECTED


@pytest.mark.parametrize("kind", sorted(TEXTS))
def test_buckwalter_is_turned_into_arabic(kind: str, tmp_path: Path) -> None:
    """Tags and words marked as Latin are no Buckwalter: translated they would be nonsense."""
    latin = TEXTS[kind].replace("أحمد", ">Hmd").replace("قال", "qAl").replace("سؤال", "s&Al")
    latin = latin.replace("<UNK>", "<UNK> @@LATIBM")
    found = read_transcripts(written(tmp_path, latin), kind=kind, encoding="buckwalter").texts
    assert found == EXPECTED | {"u3": "سؤال <UNK> @@LATIBM"}


@pytest.mark.parametrize("text", ["\ufeffu1 قال\r\n", "u1 قال\u2028في بيت\n"])
def test_marks_make_no_other_id(text: str, tmp_path: Path) -> None:
    """A byte order mark is no part of an id; splitlines would start one after U+2028."""
    assert set(read(written(tmp_path, text)).texts) == {"u1"}


def test_tags_of_predictions_are_fields(tmp_path: Path) -> None:
    """A file of this project's predictions can be broken down by `--group genre` too."""
    line = '{"id": "u1", "ref": "قال", "group": "p1", "tags": {"genre": "news", "id": "x"}}\n'
    (fields,) = read(written(tmp_path, line), role="ref").fields.values()
    assert (fields["genre"], fields["group"], fields["id"]) == ("news", "p1", "u1")


STM = """;; comment
rec A spk1 0.00 1.00 <o,f0,male> قال أحمد
rec A spk2 1.00 2.50 <UNK> في
rec A spk2 2.50 3.00 <o,f0,female> IGNORE_TIME_SEGMENT_IN_SCORING
rec A spk2 3.00 4.00
rec A spk2 4.00 5.00 <> في <UNK>
rec A spk2 5.00 6.00 <NA> في
"""


def test_stm(tmp_path: Path) -> None:
    """What begins with `<` is the label, with a comma or without, even if it is a tag: counted."""
    found = read(written(tmp_path, STM))
    first, second, third, fourth, fifth, sixth = found.texts
    texts = [found.texts[key] for key in (first, second, fourth, fifth, sixth)]
    assert texts == ["قال أحمد", "في", "", "في <UNK>", "في"]
    assert (found.fields[first]["label3"], found.fields[second]["speaker"]) == ("male", "spk2")
    assert ("label1" in found.fields[fifth], found.fields[sixth]["label1"]) == (False, "NA")
    assert [key for key, one in found.segments.items() if one.ignored] == [third]
    assert found.tag_labels == 1


def test_ctm_without_segments_is_joined_by_recording(tmp_path: Path) -> None:
    """Words come in order of time, whatever their order in the file; channels are not mixed."""
    lines = ["r1 1 0.5 0.2 في 0.9", "r1 1 0.1 0.2 قال", "r2 A 0 0.1 بيت", "r2 B 0 0.1 كتاب"]
    found = read(written(tmp_path, "\n".join(lines)))
    assert found.texts == {"r1": "قال في", "r2_A": "بيت", "r2_B": "كتاب"}


@given(
    times=st.lists(st.floats(0, 9.99), max_size=30),
    cuts=st.lists(st.floats(0.01, 9.99), max_size=6, unique=True),
)
def test_spread_loses_no_word(times: list[float], cuts: list[float]) -> None:
    """Segments that cover the time take each word exactly once, at its middle."""
    edges = [0.0, *sorted(cuts), 10.0]
    segments = [StmSegment("r", "A", a, b) for a, b in itertools.pairwise(edges)]
    if len({one.id for one in segments}) < len(segments):
        return  # nearer than the millisecond that ids tell apart
    words = [CtmWord("r", "A", time, 0.0, str(place)) for place, time in enumerate(times)]
    texts, outside = spread(words, segments)
    assert not outside
    assert sorted(" ".join(texts.values()).split()) == sorted(word.text for word in words)
    for segment in segments:
        inside = {word.text for word in words if segment.start <= word.start < segment.end}
        assert set(texts[segment.id].split()) == inside


def test_overlapping_segments_are_counted_by_channel() -> None:
    """One within another, one that crosses its end; not those that touch, nor other channels."""
    times = [(0, 5), (1, 2), (4, 6), (6, 7)]
    segments = [StmSegment("r", "A", *each) for each in times] + [StmSegment("r", "B", 0, 9)]
    assert overlapping(reversed(segments)) == 2


def test_spread_reports_words_of_no_segment() -> None:
    words = [CtmWord("r", "A", 1.0, 0.2, "قال"), CtmWord("r", "B", 0.0, 0.2, "في")]
    texts, outside = spread(words, [StmSegment("r", "A", 0, 1)])
    assert (list(texts.values()), outside) == ([""], words)


BROKEN = {
    "stm short": ("stm", "rec A spk 0.0\n", ":1 .*expected `recording channel"),
    "stm order": ("stm", "rec A spk 2.0 1.0 قال\n", ":1 .*ends at 1.0"),
    "stm time": ("stm", "rec A spk x 1.0 قال\n", ":1 .*'x' is no time"),
    "stm label": ("stm", "rec A spk 0 1 <o f0> قال\n", ":1 .*'<o' is no label"),
    "stm open": ("stm", "rec A spk 0 1 { قال / في\n", ":1 .*not closed"),
    "stm close": ("stm", "rec A spk 0 1 قال } في\n", ":1 .*closes no alternative"),
    "stm empty": ("stm", "rec A spk 0 1 { قال / } في\n", ":1 .*alternative is empty"),
    "stm glued": ("stm", "rec A spk 0 1 و{ قال / في }\n", ":1 .*is inside a word"),
    "ctm alternative": ("ctm", "rec A * * <ALT_BEGIN>\nrec A 0 1 في\n", ":2 .*without <ALT_END>"),
    "ctm stray": ("ctm", "rec A * * <ALT>\n", ":1 .*no alternative is open"),
    "ctm none": ("ctm", "r A * * <ALT_BEGIN>\nr A * * <ALT_END>\n", ":2 .*no alternative has a"),
    "ctm short": ("ctm", "rec A 0.1 0.2 قال\nrec A 0.1 0.2\n", ":2 .*expected `recording"),
    "ctm time": ("ctm", "rec A * * قال\n", r":1 .*'\*' is no time"),
    "trn": ("trn", "قال (u1)\nفي\n", r":2 .*expected `words \(id\)`"),
    "deep": ("jsonl", '{"id": "u1", "text": "قال"}\n' + "[" * 100_000, ":2 .*not JSON"),
    "json": ("jsonl", '{"id": "u1", "text": "قال"}\n{"id"\n', ":2 .*not JSON"),
    "json list": ("jsonl", "[1]\n", ":1 .*object with a string `id`"),
    "json text": ("jsonl", '{"id": "u1", "text": 3}\n', ":1 .*'u1' has no string"),
    "empty": ("text", "\n \n", "holds no utterance"),
    "format": ("mlf", "u1 قال\n", "Unknown format 'mlf'; there are: text"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_broken_lines_are_named(case: str, tmp_path: Path) -> None:
    kind, text, message = BROKEN[case]
    with pytest.raises(ValueError, match=message):
        read_transcripts(written(tmp_path, text), kind=kind)


def test_lines_that_end_with_carriage_returns_alone_are_refused(tmp_path: Path) -> None:
    """All words of the file would be those of its first utterance."""
    (tmp_path / "hyp").write_bytes("u1 قال\ru2 في\r".encode())
    with pytest.raises(ValueError, match="carriage returns only"):
        read_transcripts(tmp_path / "hyp")
    (tmp_path / "hyp").write_bytes("u1 قال\r\nu2 في\r\n".encode())
    assert read_transcripts(tmp_path / "hyp").texts == {"u1": "قال", "u2": "في"}


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    """A file in windows-1256 must not be scored as gibberish."""
    path = tmp_path / "file"
    path.write_bytes(b"u1 a\n" + "u2 قال".encode("cp1256"))
    with pytest.raises(ValueError, match=r"file:2 is not UTF-8.*iconv"):
        read_transcripts(path, kind="text")
    with pytest.raises(ValueError, match="Unknown encoding 'latin'"):
        read_transcripts(path, kind="text", encoding="latin")
    with pytest.raises(ValueError, match="is a folder; name a file"):
        read_transcripts(tmp_path, kind="text")


@given(text=st.text(alphabet="قالأحمدإلى", min_size=1))
def test_buckwalter_round_trip_through_a_file(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = written(tmp_path_factory.mktemp("b"), f"u1 {to_buckwalter(text)}\n")
    assert read_transcripts(path, encoding="buckwalter", kind="text").texts == {"u1": text}


@pytest.mark.parametrize(("duration", "texts"), [(0.18, ["قال", ""]), (0.22, ["", "قال"])])
def test_a_word_across_a_border_goes_where_its_middle_is(duration: float, texts: list[str]) -> None:
    """By start or by end it would move an error from one segment to the other."""
    segments = [StmSegment("r", "A", 0, 1), StmSegment("r", "A", 1, 2)]
    assert list(spread([CtmWord("r", "A", 0.9, duration, "قال")], segments)[0].values()) == texts
