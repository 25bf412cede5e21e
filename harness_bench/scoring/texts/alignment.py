"""Alignments to look at: plain text in SCLITE's manner, and a page for the browser.

Both show the normalised words under jiwer's alignment (all costs 1), so that the errors seen add
up to the WER that is printed.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import write_text
from harness_bench.core.html import render as render_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness_bench.scoring.texts.multiref import MultiReferenceScores

SUFFIXES = (".html", ".txt")
_HERE = Path(__file__).parent
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
# Unicode isolates keep columns in order where the viewer itself lays out Arabic, right to left.
_RIGHT_TO_LEFT, _ANY, _END = "\u2067", "\u2068", "\u2069"
_WIDTH = 100  # columns of a line of text before it is continued below
_MARKS = {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}


@dataclass(frozen=True)
class AlignmentStep:
    """One step of an alignment."""

    mark: str  # S, D, I, or empty where the words are equal
    ref: str  # empty for an insertion
    hyp: str  # empty for a deletion


@dataclass(frozen=True)
class ReferenceAlignment:
    """One utterance against one reference."""

    reference: str  # its name
    columns: tuple[AlignmentStep, ...]

    @property
    def right_to_left(self) -> bool:
        """Whether the words are in Arabic (or Hebrew) script."""
        return any(_RTL.search(column.ref + column.hyp) for column in self.columns)

    def count(self, mark: str) -> int:
        """Count the columns of a mark; of the empty one, the correct words."""
        return sum(column.mark == mark for column in self.columns)


@dataclass(frozen=True)
class AlignedUtterance:
    """One utterance against every reference."""

    id: str
    alignments: tuple[ReferenceAlignment, ...]
    errors: int  # by MR-WER where there are several references
    words: int

    @property
    def rate(self) -> float:
        """Error rate in percent; an utterance without reference words counts as one word."""
        return 100 * self.errors / max(self.words, 1)


def write_alignment(path: Path, scores: MultiReferenceScores, summary: str) -> None:
    """Write the view that the file's name asks for; see `check_view`."""
    title = f"Alignment under {scores.profile}"
    render = _page if path.suffix == ".html" else as_text
    write_text(path, render(utterances(scores), title, summary))


def check_view(path: Path) -> None:
    """Refuse a name that tells no kind of view, before any work is done."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--align {path}: the name must end in {' or '.join(SUFFIXES)}.")


def utterances(scores: MultiReferenceScores) -> list[AlignedUtterance]:
    """Align every utterance with every reference, in the order of `scores.ids`."""
    lines = [
        [ReferenceAlignment(name, tuple(steps)) for steps in aligned(texts, scores.hypotheses)]
        for name, texts in scores.references.items()
    ]
    counts = scores.statistics[:, 0 if len(lines) > 1 else 1].astype(int).tolist()
    rows = []
    for key, alignments, row in zip(scores.ids, zip(*lines, strict=True), counts, strict=True):
        hits, substitutions, deletions, insertions = row
        errors = substitutions + deletions + insertions
        rows.append(AlignedUtterance(key, alignments, errors, hits + substitutions + deletions))
    return rows


def as_text(rows: Sequence[AlignedUtterance], title: str, summary: str) -> str:
    """Lay out utterances one below the other, words in columns of equal display width."""
    legend = "S substituted, D deleted, I inserted; *** stands where a word is missing."
    blocks = [f"{title}\n{summary}\n{legend}"]
    for row in rows:
        head = f"id: {row.id}\n{row.errors} errors in {row.words} words"
        blocks.append("\n".join([head, *(_text_of(one, row) for one in row.alignments)]))
    return "\n\n".join(blocks) + "\n"


def _text_of(one: ReferenceAlignment, row: AlignedUtterance) -> str:
    correct, subs, dels, inss = (one.count(mark) for mark in ("", "S", "D", "I"))
    name = f"{one.reference}: " if len(row.alignments) > 1 else ""
    lines = [f"{name}(C S D I) {correct} {subs} {dels} {inss}"]
    for columns in _wrapped(one.columns):
        cells = [(c.ref or "***", c.hyp or "***", c.mark) for c in columns]
        widths = [max(map(_width, cell)) for cell in cells]
        for label, words in zip(("REF: ", "HYP: ", "EVAL:"), zip(*cells, strict=True), strict=True):
            lines.append(f"{label} {_padded(words, widths, right_to_left=one.right_to_left)}")
    return "\n".join(lines)


def _padded(words: Sequence[str], widths: Sequence[int], *, right_to_left: bool) -> str:
    spaces = [" " * (width - _width(word)) for word, width in zip(words, widths, strict=True)]
    if not right_to_left:
        return "  ".join(map("".join, zip(words, spaces, strict=True))).rstrip()
    cells = [f"{_ANY}{word}{_END}{space}" for word, space in zip(words, spaces, strict=True)]
    return f"{_RIGHT_TO_LEFT}{'  '.join(cells)}{_END}"


def _wrapped(columns: Sequence[AlignmentStep]) -> Iterator[list[AlignmentStep]]:
    line: list[AlignmentStep] = []
    used = 0
    for column in columns:
        wide = max(_width(column.ref), _width(column.hyp), 3) + 2
        if line and used + wide > _WIDTH:
            yield line
            line, used = [], 0
        line.append(column)
        used += wide
    if line:
        yield line


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes: vowel signs none, Han letters two."""
    from rich.cells import cell_len  # noqa: PLC0415 - loaded for views only.

    return cell_len(text)


def aligned(references: Sequence[str], hypotheses: Sequence[str]) -> Iterator[list[AlignmentStep]]:
    """Align texts by jiwer; an empty reference, which it refuses, makes insertions."""
    import jiwer  # noqa: PLC0415 - only text scoring pays for it.

    for ref, hyp in zip(references, hypotheses, strict=True):
        if ref:
            (chunks,) = jiwer.process_words(ref, hyp).alignments
            yield [
                column for chunk in chunks for column in _columns(chunk, ref.split(), hyp.split())
            ]
        else:
            yield [AlignmentStep("I", "", word) for word in hyp.split()]


def _columns(chunk: Any, ref: list[str], hyp: list[str]) -> Iterator[AlignmentStep]:
    above = ref[chunk.ref_start_idx : chunk.ref_end_idx]
    below = hyp[chunk.hyp_start_idx : chunk.hyp_end_idx]
    for words in itertools.zip_longest(above, below, fillvalue=""):
        yield AlignmentStep(_MARKS[chunk.type], *words)


def _page(rows: Sequence[AlignedUtterance], title: str, summary: str) -> str:
    """Render the page; every text is escaped, and nothing is loaded from elsewhere."""
    template, style, script = (
        (_HERE / f"alignment.{suffix}").read_text(encoding="utf-8").strip()
        for suffix in ("html.j2", "css", "js")
    )
    return render_page(
        template, rows=rows, title=title, summary=summary, style=style, script=script
    )
