"""Formats told by all lines and both sides: the reading that makes sense, or a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from harness_bench.scoring.texts.formats import Source, read_all
from harness_bench.scoring.texts.readers import Transcripts

if TYPE_CHECKING:
    from pathlib import Path

WORDS = st.lists(st.sampled_from(["قال", "1", "25", "<UNK>", "أحمد", "(noise)"]), max_size=8)
SPOKEN = st.lists(
    st.sampled_from(["قال", "1", "2.5", "أحمد", "(noise)", "A"]), min_size=1, max_size=8
)
DIGITS = st.lists(st.sampled_from([*"0123456789", "15", "700"]), min_size=4, max_size=8)


def read(folder: Path, hyp: str, *refs: str, suffix: str = "") -> list[Transcripts]:
    sources = []
    for place, text in enumerate((hyp, *refs)):
        path = folder / f"file{place}{suffix}"
        path.write_text(text, encoding="utf-8")
        sources.append(Source(path, role="ref" if place else "hyp"))
    return read_all(sources)


def kaldi(rows: list[list[str]], *more: str) -> str:
    return "".join(f"u{place} {' '.join((*row, *more))}\n" for place, row in enumerate(rows))


@given(rows=st.lists(DIGITS, min_size=2, max_size=6))
def test_digits_are_words(rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Telephone numbers fit STM and CTM line by line, and are neither."""
    text = kaldi(rows)
    for found in read(tmp_path_factory.mktemp("f"), text, text):
        assert found.texts == {f"u{place}": " ".join(row) for place, row in enumerate(rows)}


@example(rows=[["قال", "1", "2.5", "قال"]] * 2, layout="ctm, text")
@given(
    rows=st.lists(DIGITS | SPOKEN, min_size=1, max_size=5),
    layout=st.sampled_from(["ctm, stm", "ctm, text", "text, stm", "trn, trn", "text, text"]),
)
def test_no_pair_is_misread(
    rows: list[list[str]], layout: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the words: each file is read as it was written, or the format is asked for."""
    # Lines of `recording A 1 2.5 word`, or with 1 for A, are CTM to any reader.
    assume(not all(row[0].isascii() and {"2.5"} & {*row[1:3]} for row in rows))
    texts = {f"r{place}": " ".join(row) for place, row in enumerate(rows)}
    segments = {f"{key}_A_0.000_{len(text) + 1:.3f}": text for key, text in texts.items()}
    written = {
        "text": ("".join(f"{key} {text}\n" for key, text in texts.items()), texts),
        "trn": ("".join(f"{text} ({key})\n" for key, text in texts.items()), texts),
        "stm": ("".join(f"{key} A s 0.00 {len(text) + 1:.2f} {text}\n"
                        for key, text in texts.items()), segments),
        "ctm": ("".join(f"{key} A {place}.10 0.20 {word}\n" for key, text in texts.items()
                        for place, word in enumerate(text.split())), texts),
    }  # fmt: skip
    pair = [written[name] for name in layout.split(", ")]
    try:
        found = read(tmp_path_factory.mktemp("f"), *(text for text, _ in pair))
    except ValueError as error:
        assert "--format" in str(error)  # noqa: PT017 - a question, or what was written
    else:
        assert layout != "text, stm", "their ids are others"
        assert [one.texts for one in found] == [texts for _, texts in pair]


@given(rows=st.lists(WORDS, min_size=2, max_size=6))
def test_words_that_look_like_marks_stay_words(
    rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A text whose lines all end like `(noise)` is no trn: its ids would all be equal."""
    text = kaldi(rows, "(noise)")
    (found, _) = read(tmp_path_factory.mktemp("f"), text, text)
    assert [text.split() for text in found.texts.values()] == [[*row, "(noise)"] for row in rows]


CTM = "r A 0.10 0.2 قال\nr A 0.60 0.2 محمد\n"
PAIRS = {
    # hypothesis, reference, ids of both
    "ctm, stm": (CTM, "r A s 0.0 1.0 قال أحمد\n", {"r"}, {"r_A_0.000_1.000"}),
    "ctm, stm of whole times": (CTM, "r A s 0 1 قال أحمد\n", {"r"}, {"r_A_0.000_1.000"}),
    "ctm, text": (CTM, "r قال أحمد\n", {"r"}, {"r"}),
    "ctm, ctm": (CTM, CTM, {"r"}, {"r"}),
    "a word a recording": ("r A 0.1 0.2 قال\n", "r A s 0.0 1.0 قال\n", {"r"}, {"r_A_0.000_1.000"}),
    "trn, text": ("قال (u1)\nفي (u2)\n", "u1 قال\nu2 في\n", {"u1", "u2"}, {"u1", "u2"}),
    "trn of one line": ("قال (u1)\n", "كان (u1)\n", {"u1"}, {"u1"}),
    "trn, trn": ("a (noise) (u1)\nb (u2)\n", "a (u1)\nb (u2)\n", {"u1", "u2"}, {"u1", "u2"}),
    # As an STM the first line has a label that is none.
    "text of decimals": ("u1 a b 0.1 0.2 <a b\n",) * 2 + ({"u1"},) * 2,
    "jsonl, text": ('{"id": "u1", "text": "a"}\n', "u1 a\n", {"u1"}, {"u1"}),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(PAIRS))
def test_pairs_are_told(case: str, tmp_path: Path) -> None:
    *texts, first, second = PAIRS[case]
    hyp, ref = read(tmp_path, *map(str, texts))
    assert (set(hyp.texts), set(ref.texts)) == (first, second)


ASKED = {
    # An STM of an utterance per recording, whose recordings are the ids of a Kaldi text.
    "text, stm": (
        "u1 قال أحمد\nu2 في\n", "u1 A s 0.00 3.20 قال أحمد\nu2 A s 0.00 1.50 في\n",
        ("file1", "as text", "as stm", "2 utterances of 11 words", "u1: 'A s 0.00 3.20"),
    ),
    "decimals": ("u1 3 2.5 7.1 8\n",) * 2 + (("file0", "as text", "as ctm"),),
    "one line that ends like a trn": ("u1 a (noise)\n",) * 2 + (("as trn", "as text"),),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(ASKED))
def test_two_readings_are_a_question(case: str, tmp_path: Path) -> None:
    """Both readings are named with what each would give, and the way out."""
    hyp, ref, told = ASKED[case]
    with pytest.raises(ValueError, match="--format") as error:
        read(tmp_path, hyp, ref)
    assert all(part in str(error.value) for part in told)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u1 A s 0.0 1.0 قال\nu2 A s 0.0 1.5 في\nu3 A s 0.0 x بيت\n", "file0:3 is no line of stm"),
        (";; a\nr A 0.1 0.2 قال\nr A 0.3\nr A 0.5 0.2 في\n", "file0:3 is no line of ctm"),
        (";; a\n;; b\n", "only comments"),
        ('{"id": "u1", "text": "a"}\n{"id"\n', "file0:2 .*not JSON"),
    ],
)
def test_one_broken_line_makes_no_other_format(text: str, message: str, tmp_path: Path) -> None:
    """An STM with a typing error would be read as Kaldi text, whose ids are its recordings."""
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_a_format_that_is_said_is_taken(tmp_path: Path) -> None:
    """The way out of the question works, and so does a file's name."""
    hyp, ref, _ = ASKED["text, stm"]
    paths = [tmp_path / "hyp", tmp_path / "ref"]
    for path, text in zip(paths, (hyp, ref), strict=True):
        path.write_text(text, encoding="utf-8")
    found = read_all([Source(paths[0], "text", role="hyp"), Source(paths[1], "stm", role="ref")])
    assert set(found[1].texts) == {"u1_A_0.000_3.200", "u2_A_0.000_1.500"}
    assert set(read(tmp_path, ref, suffix=".stm")[0].texts) == set(found[1].texts)


def test_what_is_read_already_decides_too(tmp_path: Path) -> None:
    """A mapping of a notebook has ids as a file has."""
    path = tmp_path / "ref"
    path.write_text("u1 a (noise)\n", encoding="utf-8")
    mine = Transcripts(tmp_path, {"u1": "a"}, {"u1": {}})
    assert read_all([mine, Source(path, role="ref")])[1].texts == {"u1": "a (noise)"}


BUCKWALTER = "u1 qAl >Hmd Al<slAm\nu2 AlmdrsAp fy $ArE\n"


def test_buckwalter_is_noticed(tmp_path: Path) -> None:
    """Read as UTF-8 it would be scored letter by letter, with no profile touching it."""
    with pytest.raises(ValueError, match="--encoding buckwalter") as error:
        read(tmp_path, BUCKWALTER, "u1 قال\nu2 في\n")
    assert "file0" in str(error.value)
    latin = read_all([Source(tmp_path / "file0", encoding="utf8")])
    assert latin[0].texts["u1"] == "qAl >Hmd Al<slAm"


@pytest.mark.parametrize(
    "text",
    [
        "u1 iPhone\n",
        "u1 THE QUICK BROWN FOX\n",
        "u1 the iPhone and McDonald's opened <UNK> today at nine o'clock sharp\n",
        "u1 AT&T and R&B were on the radio all day long in the city of light tonight\n",
        "u1 قال AlmdrsAp >Hmd\n",
        "u1\n",
    ],
)
def test_latin_and_mixed_texts_are_no_buckwalter(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text)[0].texts
