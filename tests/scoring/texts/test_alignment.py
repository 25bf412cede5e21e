"""Alignment views: columns that line up, figures that agree with the WER, and escaped text."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.scoring.texts.alignment import (
    AlignedUtterance,
    as_text,
    utterances,
    write_alignment,
)
from harness_bench.scoring.texts.multiref import score_multi_reference
from tests.leaderboard.test_page import Page

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.scoring.texts.multiref import MultiReferenceScores

WORDS = st.lists(st.sampled_from(["كِتَابٌ", "بيت", "في", "IBM", "漢字"]), max_size=40).map(" ".join)
ISOLATES = re.compile("[\u2066-\u2069]")


def scored(hyps: list[str], *references: list[str]) -> MultiReferenceScores:
    ids = [f"u{number}" for number in range(len(hyps))]
    named = {f"ref{n}": dict(zip(ids, one, strict=True)) for n, one in enumerate(references)}
    return score_multi_reference(dict(zip(ids, hyps, strict=True)), named, profile="none")


def rows(hyps: list[str], *references: list[str]) -> list[AlignedUtterance]:
    return utterances(scored(hyps, *references))


@given(pairs=st.lists(st.tuples(WORDS, WORDS), max_size=5))
@settings(deadline=None, max_examples=50)
def test_views_show_the_words_and_the_errors_of_the_score(pairs: list[tuple[str, str]]) -> None:
    """What is seen adds up to what is printed, empty references included."""
    refs, hyps = map(list, zip(*pairs, ("قال", "قال"), strict=True))
    scores = scored(hyps, refs)
    seen = utterances(scores)
    for row, ref, hyp in zip(seen, refs, hyps, strict=True):
        (one,) = row.alignments
        assert [c.ref for c in one.columns if c.ref] == ref.split()
        assert [c.hyp for c in one.columns if c.hyp] == hyp.split()
        assert row.errors == one.count("S") + one.count("D") + one.count("I")
        assert all((c.ref == c.hyp) == (c.mark == "") for c in one.columns)
    assert sum(row.errors for row in seen) == scores.standard["ref0"][:, 0, 1:].sum()


def shown_width(text: str) -> int:
    """Count the columns of a terminal by Unicode's own tables."""
    marks = ("Mn", "Me", "Cf")
    kept = [char for char in text if unicodedata.category(char) not in marks]
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in kept)


@given(ref=WORDS.filter(lambda text: bool(re.search("[\u0600-\u06ff]", text))), hyp=WORDS)
@settings(deadline=None, max_examples=50)
def test_columns_line_up(ref: str, hyp: str) -> None:
    """Vowel signs and isolates take no place, Han letters two; no line gets endless."""
    lines = as_text(rows([hyp], [ref]), "t", "s").splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("REF:"))
    for above, below, marks in zip(*(iter(lines[start:]),) * 3, strict=True):
        widths = {shown_width(line) for line in (above, below, marks)}
        if "\u2067" in above:
            assert len(widths) == 1
            assert above.count("\u2068") == below.count("\u2068") == marks.count("\u2068")
            assert above.count("\u2069") == above.count("\u2068") + 1
        assert max(widths) <= 110


def test_text_view_of_latin_words_is_plain() -> None:
    text = as_text(rows(["a x c e"], ["a b c d"]), "title", "WER 50 %")
    assert "REF:  a  b  c  d" in text
    assert "HYP:  a  x  c  e" in text
    assert re.search(r"EVAL:    +S +S", text)
    assert not ISOLATES.search(text)


def page(path: Path, *texts: list[str]) -> Page:
    write_alignment(path, scored(*texts), "summary")
    return Page(path.read_text(encoding="utf-8"))


def test_page_is_escaped_and_loads_nothing(tmp_path: Path) -> None:
    """Transcripts come from anywhere: a word that is markup shows as text."""
    evil = "<script>alert(1)</script> &amp; <img/src=x>"
    found = page(tmp_path / "a.html", [evil, "قال"], [evil + " b", "قال في"])
    assert len(found.all("script")) == 1
    assert "<script>alert(1)</script>" in found.words
    assert "&amp;" in found.words
    assert not {tag for tag, _ in found.tags} & {"img", "link", "iframe", "a"}
    assert not [attrs for _, attrs in found.tags if {"src", "href"} & set(attrs)]


def test_page_sets_the_direction_by_script(tmp_path: Path) -> None:
    """Arabic runs from the right, Latin from the left; marks are letters, not colours alone."""
    found = page(tmp_path / "a.html", ["قال بيت", "a"], ["قال في بيت", "b"])
    lines = [attrs for tag, attrs in found.tags if attrs.get("class") == "line"]
    assert [line["dir"] for line in lines] == ["rtl", "ltr"]
    assert [one["data-errors"] for one in found.all("article")] == ["1", "1"]
    assert [len(found.all(kind)) for kind in ("del", "ins")] == [2, 1]
    assert found.words.count("substituted") == 1


def test_script_digest_fits_the_script(tmp_path: Path) -> None:
    """With a wrong digest the browser would run nothing, and sorting would be dead."""
    script = page(tmp_path / "a.html", ["a"], ["b"]).raw["script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_several_references_are_all_shown(tmp_path: Path) -> None:
    """The errors to sort by are those of MR-WER then."""
    found = page(tmp_path / "a.html", ["a b"], ["a c"], ["x b"])
    assert "ref0" in found.words
    assert "ref1" in found.words
    assert [one["data-errors"] for one in found.all("article")] == ["0"]
