"""All figures of a hypothesis against one or several references, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.results.record import Metric
from harness_bench.scoring.bootstrap import RESAMPLES, intervals
from harness_bench.scoring.statistics import (
    DELETIONS,
    HITS,
    INSERTIONS,
    SUBSTITUTIONS,
    Array,
    error_rate,
)
from harness_bench.scoring.texts.groups import clusters, group_values
from harness_bench.scoring.texts.joining import join
from harness_bench.scoring.texts.multiref import MultiReferenceScores, score_multi_reference
from harness_bench.scoring.texts.readers import read_transcripts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.scoring.texts.joining import Joined

AGAINST = "wer_against_"  # and the annotator: the WER against that one alone
_COUNTS = {"ins": INSERTIONS, "del": DELETIONS, "sub": SUBSTITUTIONS, "cor": HITS}


class WordlessError(ValueError):
    """A text profile that leaves no word in a reference: there is no rate of it."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """What to read, and how."""

    hypothesis: Path
    references: tuple[Path, ...]
    formats: tuple[str, ...] = ("auto",)  # one for all, or one per file, the hypothesis first
    encodings: tuple[str, ...] = ("utf8",)  # the same
    ids: str = "strict"


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """By what to group, and what to resample; see `groups.group_values`."""

    groups: tuple[str, ...] = ()
    cluster: str | None = None
    seed: int = 0
    resamples: int = field(default=RESAMPLES)


def read_joined(files: Files) -> Joined:
    """Read and join all files.

    Raises:
        ValueError: a broken line, ids that do not join, or a wrong number of formats.
    """
    paths = [files.hypothesis, *files.references]
    formats = _one_each("--format", files.formats, len(paths))
    encodings = _one_each("--encoding", files.encodings, len(paths))
    roles = ["hyp", *["ref"] * len(files.references)]
    read = [
        read_transcripts(path, kind=kind, encoding=encoding, role=role)
        for path, kind, encoding, role in zip(paths, formats, encodings, roles, strict=True)
    ]
    return join(read[0], read[1:], files.ids)


def score_joined(
    joined: Joined, profile: str, breakdown: Breakdown
) -> tuple[MultiReferenceScores, dict[str, Any]]:
    """Score under one profile -> counts per utterance, and the object that `--json` prints.

    Raises:
        ValueError: unknown profile or group, nothing shared, or (`WordlessError`) a reference
            without any word.
    """
    scores = score_multi_reference(joined.hypotheses, joined.references, profile=profile)
    everything = np.ones(len(scores.ids), dtype=bool)
    found = figures(scores, everything) | {
        "references": list(joined.references),
        "profile": scores.profile,
        "ids": joined.left_out,
    }
    if None in (*found["wer"], found["cer"], found["mr_wer"]):
        raise WordlessError(
            f"A reference is empty in all {len(scores.ids)} utterances after normalisation by "
            f"{profile!r}. Check the transcripts or choose another text profile."
        )
    found["intervals"] = _intervals(scores, clusters(breakdown.cluster, joined), breakdown)
    if breakdown.groups:
        grouped = dict(group_values(spec, joined) for spec in breakdown.groups)
        found["groups"] = {name: _per_group(scores, of) for name, of in grouped.items()}
    return scores, found


def result_metrics(found: Mapping[str, Any], profile: str = "") -> dict[str, Metric]:
    """Return what `score_joined` gave as the metrics of a result.

    With one reference `wer` and `cer`; with several `mr_wer`, `av_wer`, `av_cer`, and against
    each annotator `wer_against_NAME`, never `wer`: that name is of figures with one reference.

    Args:
        found: of one profile.
        profile: makes names such as `mr_wer_PROFILE`, and leaves single annotators out.
    """
    known = found["intervals"]
    if len(found["references"]) == 1:
        rows = {"wer": (found["wer"][0], known["wer"][0]), "cer": (found["cer"], known["cer"])}
    else:
        rows = {name: (found[name], known[name]) for name in ("mr_wer", "av_wer")}
        rows["av_cer"] = (found["cer"], known["cer"])
        each = zip(found["references"], found["wer"], known["wer"], strict=True)
        if not profile:
            rows |= {f"{AGAINST}{name}": (value, spans) for name, value, spans in each}
    suffix = f"_{profile}" if profile else ""
    made = {}
    for name, (value, (first, *others)) in rows.items():
        made[f"{name}{suffix}"] = Metric.model_validate(
            {"value": value, "higher_is_better": False, "interval": first,
             "other_intervals": others}
        )  # fmt: skip
    return made


def figures(scores: MultiReferenceScores, chosen: Array) -> dict[str, Any]:
    """Return rates in percent and counts of the chosen utterances (N,); no words give None.

    `wer` is jiwer's, one per reference, and `av_wer` its mean; `cer` is the mean over references.
    The counts are those of MR-WER, and with a single reference those of its WER. `authors_costs`
    holds the single-reference WERs with the substitution cost 2 of MR-WER's authors.
    """
    wer = [_rate(counts, chosen) for counts in scores.standard.values()]
    single = [_rate(counts, chosen) for counts in scores.single.values()]
    counted = scores.merged if len(wer) > 1 else next(iter(scores.standard.values()))
    totals = counted[chosen].sum(axis=0)
    return {
        "wer": wer,
        "av_wer": _mean(wer),
        "mr_wer": _rate(scores.merged, chosen),
        "cer": _mean([_rate(counts, chosen) for counts in scores.characters.values()]),
        **{name: int(totals[place]) for name, place in _COUNTS.items()},
        "counts_of": "mr_wer" if len(wer) > 1 else "wer",
        "authors_costs": {"wer": single, "av_wer": _mean(single)},
        "utterances": int(np.count_nonzero(chosen)),
        "words": [
            int(counts[chosen][:, [HITS, SUBSTITUTIONS, DELETIONS]].sum())
            for counts in scores.standard.values()
        ],
    }


def _per_group(scores: MultiReferenceScores, of: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Score each group by itself, by name."""
    names = np.array([of[key] for key in scores.ids])
    return {str(name): figures(scores, names == name) for name in sorted(set(names.tolist()))}


def _intervals(
    scores: MultiReferenceScores, of: Mapping[str, str], breakdown: Breakdown
) -> dict[str, Any]:
    """Return the intervals of every rate: by clusters first, by utterances beside it."""
    words, characters = list(scores.standard.values()), list(scores.characters.values())
    many = len(words)
    stacked = np.stack([*words, *characters, scores.merged], axis=1)  # (N, 2 R + 1, 4)
    metrics: dict[str, Callable[[Array], Array]] = {
        "av_wer": lambda totals: error_rate(totals[..., :many, :]).mean(axis=-1),
        "mr_wer": lambda totals: error_rate(totals[..., -1, :]),
        "cer": lambda totals: error_rate(totals[..., many:-1, :]).mean(axis=-1),
    }
    metrics |= {f"wer {place}": _one(place) for place in range(many)}
    found = intervals(
        stacked,
        [of[key] for key in scores.ids],
        metrics,
        seed=breakdown.seed,
        resamples=breakdown.resamples,
    )
    plain = {name: [one.model_dump() for one in ones] for name, ones in found.items()}
    return {"wer": [plain.pop(f"wer {place}") for place in range(many)], **plain}


def _one(place: int) -> Callable[[Array], Array]:
    """Return the error rate of one of the stacked counts."""
    return lambda totals: error_rate(totals[..., place, :])


def _rate(counts: Array, chosen: Array) -> float | None:
    """Return the error rate in percent of counts (N, 4); None where there is no word."""
    value = float(error_rate(counts[chosen].sum(axis=0)))
    return None if np.isnan(value) else value


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _one_each(option: str, values: Sequence[str], files: int) -> list[str]:
    """Spread one value over all files, or take one per file."""
    if len(values) not in (1, files):
        raise ValueError(
            f"{option} is given {len(values)} times for {files} files; give it once for all of "
            "them, or once per file: the hypothesis first, then the references."
        )
    return list(values) * (files if len(values) == 1 else 1)
