"""WER against several reference transcripts: MR-WER, AV-WER and best-of-N, side by side.

Dialectal Arabic has no fixed spelling, so MGB-3 gives four transcripts of everything. The rule of
MR-WER is Ali et al., "Multi-reference WER for evaluating ASR for languages with no orthographic
rules" (ASRU 2015). Standard WER (all costs 1) comes from jiwer and is printed beside the
authors' own (substitution 2), which differs by up to 0.2 points on MGB-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.scoring.registry import get_profile
from harness_bench.scoring.statistics import CHARACTERS, WORDS, Array, error_rate, text_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EQUAL, _SUBSTITUTE, _DELETE, _INSERT = _STEPS = "csdi"


@dataclass(frozen=True)
class MultiReferenceScores:
    """Normalised texts of the same utterances, and how they align.

    Counts (N, 4) are laid out HITS, SUBSTITUTIONS, DELETIONS, INSERTIONS, and made when first
    asked for: predictions of one reference need no MR-WER. Rates are in percent.
    """

    ids: tuple[str, ...]  # the utterances that every file has, sorted
    profile: str  # name and version
    left_out: tuple[str, ...]  # ids that some file lacks: never scored
    hypotheses: list[str]  # (N,)
    references: dict[str, list[str]]  # name -> (N,)

    @cached_property
    def _paths(self) -> dict[str, list[str]]:
        """The authors' alignment of every utterance with each reference."""
        hyps = [text.split() for text in self.hypotheses]
        return {
            name: [align(ref.split(), hyp) for ref, hyp in zip(texts, hyps, strict=True)]
            for name, texts in self.references.items()
        }

    @cached_property
    def merged(self) -> Array:
        """Word counts by the rule of MR-WER."""
        return np.array([merge(paths) for paths in zip(*self._paths.values(), strict=True)])

    @cached_property
    def single(self) -> dict[str, Array]:
        """Word counts against each reference, substitution cost 2."""
        return {
            name: np.array([[path.count(step) for step in _STEPS] for path in paths])
            for name, paths in self._paths.items()
        }

    @cached_property
    def standard(self) -> dict[str, Array]:
        """Counts (N, 2, 4) of WORDS and CHARACTERS against each reference, by jiwer (costs 1)."""
        return {
            name: text_statistics(texts, self.hypotheses) for name, texts in self.references.items()
        }

    @property
    def statistics(self) -> Array:
        """What every utterance adds to sums (N, 1 + 2 R, 4), as `scoring.statistics` says."""
        each = self.standard.values()
        parts = [self.merged, *(c[:, WORDS] for c in each), *(c[:, CHARACTERS] for c in each)]
        return np.stack(parts, axis=1)

    @property
    def mr_wer(self) -> float:
        """Multi-reference WER."""
        return _rate(self.merged)

    @property
    def av_wer(self) -> float:
        """Mean over the references of the single-reference WER (substitution cost 2)."""
        return float(np.mean([self.wer(name) for name in self.references]))

    @property
    def best_of(self) -> float:
        """WER where each utterance is held against the reference nearest to it."""
        stacked = np.stack([counts[:, WORDS] for counts in self.standard.values()])  # (R, N, 4)
        nearest = np.argmin(np.nan_to_num(error_rate(stacked), nan=np.inf), axis=0)
        return _rate(stacked[nearest, np.arange(len(self.ids))])

    def wer(self, reference: str) -> float:
        """Single-reference WER, substitution cost 2 as the authors' tool."""
        return _rate(self.single[reference])

    def standard_wer(self, reference: str) -> float:
        """Single-reference WER, all costs 1."""
        return _rate(self.standard[reference][:, WORDS])


def _rate(counts: Array) -> float:
    return float(error_rate(counts.sum(axis=0)))


def score_multi_reference(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Mapping[str, str]],
    *,
    profile: str = "mgb3",
) -> MultiReferenceScores:
    """Normalise hypotheses (id -> text) and named references (name -> id -> text)."""
    files = [hypotheses, *references.values()]
    common = sorted(set.intersection(*(set(file) for file in files)))
    if not references or not common:
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} hypotheses share {len(common)} "
            "utterance ids; at least one reference and one shared id are needed."
        )
    normalise = get_profile(profile).normalise
    return MultiReferenceScores(
        ids=tuple(common),
        profile=get_profile(profile).label,
        left_out=tuple(sorted(set().union(*files) - set(common))),
        hypotheses=[normalise(hypotheses[key]) for key in common],
        references={
            name: [normalise(file[key]) for key in common] for name, file in references.items()
        },
    )


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """Align words at least cost -> one letter per step: c(orrect), s, d(elete), i(nsert).

    Substitution costs 2, deletion and insertion 1. Among equally cheap alignments the authors'
    is taken: read from the end, a match or substitution before a deletion before an insertion.
    """
    seen = _in_common(reference, hypothesis)
    row, column = len(reference), len(hypothesis)
    steps: list[str] = []
    while row and column:
        here, left = (1 << column) - 1, (1 << (column - 1)) - 1
        # Cost = row + column - 2 x words in common, so equal numbers of them decide every step.
        common = column - (seen[row] & here).bit_count()
        if reference[row - 1] == hypothesis[column - 1]:
            step = _EQUAL
        elif common == column - 1 - (seen[row - 1] & left).bit_count():
            step = _SUBSTITUTE
        elif common == column - (seen[row - 1] & here).bit_count():
            step = _DELETE
        else:
            step = _INSERT
        steps.append(step)
        row -= step != _INSERT
        column -= step != _DELETE
    return _DELETE * row + _INSERT * column + "".join(reversed(steps))


def merge(paths: Sequence[str]) -> tuple[int, int, int, int]:
    """Merge one hypothesis's alignments with each reference -> hits, substitutions, dels, ins.

    A hypothesis word is correct if it is so against any reference, else substituted if it is so
    against any, else inserted. A deletion counts only where every reference has one at the same
    place: after the same hypothesis word, with the same number of deletions before it.
    """
    words = zip(*(path.replace(_DELETE, "") for path in paths), strict=True)
    verdicts = "".join(min(votes, key=_STEPS.index) for votes in words)
    hits, substitutions, _, insertions = map(verdicts.count, _STEPS)
    return hits, substitutions, len(set.intersection(*map(_deletions, paths))), insertions


def _in_common(reference: Sequence[str], hypothesis: Sequence[str]) -> list[int]:
    """Count words in common -> len(reference) + 1 numbers, one bit per hypothesis word.

    The zeros among the lowest J bits of number I are the length of the longest common subsequence
    of the first I and J words: Allison and Dix's bit-parallel row (Hyyrö, 2004), all columns of a
    row in a few operations on one integer.
    """
    rows = [everything := (1 << len(hypothesis)) - 1]
    places: dict[str, int] = {}
    for place, word in enumerate(hypothesis):
        places[word] = places.get(word, 0) | 1 << place
    for word in reference:
        equal = rows[-1] & places.get(word, 0)
        rows.append(((rows[-1] + equal) | (rows[-1] - equal)) & everything)
    return rows


def _deletions(path: str) -> set[tuple[int, int]]:
    """Return the places of deletions: (hypothesis words before, deletions up to here)."""
    places: set[tuple[int, int]] = set()
    words = 0
    for step in path:
        if step == _DELETE:
            places.add((words, len(places) + 1))
        else:
            words += 1
    return places
