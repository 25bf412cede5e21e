"""Counts of each utterance without its transcripts: to share, to score and to compare again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness_bench.results.predictions import TextCounts, TextPrediction
from harness_bench.scoring.registry import get_profile
from harness_bench.scoring.statistics import DELETIONS, HITS, SUBSTITUTIONS, Array
from harness_bench.scoring.texts.joining import GROUP, ONLY, Joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REFERENCE = [HITS, SUBSTITUTIONS, DELETIONS]  # add up to the tokens of a reference


def counts_to_share(
    counted: Mapping[str, tuple[Sequence[str], Array]],
    references: Sequence[str],
    groups: Mapping[str, str],
    tags: Mapping[str, Mapping[str, str]],
) -> list[TextCounts]:
    """Make rows of counts: profile's label -> ids and counts (N, 1 + 3 R, 4).

    Only utterances that every profile scores are shared; `tags` is name -> id -> value.
    """
    by_id = {
        label: dict(zip(ids, counts.astype(int).tolist(), strict=True))
        for label, (ids, counts) in counted.items()
    }
    common = sorted(set.intersection(*(set(rows) for rows in by_id.values())))
    return [
        TextCounts(
            id=key,
            group=groups[key],
            tags={name: values[key] for name, values in tags.items()},
            references=tuple(references) if len(references) > 1 else (),
            counts={label: rows[key] for label, rows in by_id.items()},
        )
        for key in common
    ]


def labels_of(rows: Sequence[TextCounts], name: str) -> dict[str, str]:
    """Return the profiles that all rows have counts under, name -> label; `all` or one of them."""
    labels = set.intersection(*(set(row.counts) for row in rows))
    held = {label.partition(" v")[0]: label for label in sorted(labels)}
    if name == "all":
        return held
    if name not in held:
        get_profile(name)  # an unknown one is said first
        way = f"give the profile {' or '.join(held)}, or " if held else ""
        raise ValueError(
            f"These counts were made under {', '.join(sorted(labels)) or 'no common profile'}, "
            f"not under {name!r}: {way}count the transcripts again under {name!r}."
        )
    return {name: held[name]}


def counts_under(rows: Sequence[TextCounts], label: str) -> Array:
    """Return the counts of a profile (N, 1 + 3 R, 4), utterances ordered by id."""
    many = len(annotators_of(rows))
    ordered = sorted(rows, key=lambda row: row.id)
    if odd := [row for row in ordered if len(row.counts[label]) != 1 + 3 * many]:
        raise ValueError(
            f"{odd[0].id!r} has {len(odd[0].counts[label])} lines of counts under {label!r}; "
            f"expected {1 + 3 * many} of {many} references."
        )
    return np.array([row.counts[label] for row in ordered], dtype=float)


def annotators_of(rows: Sequence[TextCounts]) -> tuple[str, ...]:
    """Return the names of the references, the same for all utterances."""
    if odd := [row for row in rows if row.references != rows[0].references]:
        raise ValueError(f"{odd[0].id!r} has other references than {rows[0].id!r}.")
    return rows[0].references or (ONLY,)


def joined_counts(rows: Sequence[TextCounts]) -> Joined:
    """Return ids, clusters and tags as the scorer takes them; there are no texts."""
    return Joined(
        hypotheses=dict.fromkeys(sorted(row.id for row in rows), ""),
        references={name: {} for name in annotators_of(rows)},
        fields={row.id: {**row.tags, GROUP: row.group} for row in rows},
        left_out={},
    )


def stand_ins(rows: Sequence[TextCounts], label: str) -> list[TextPrediction]:
    """Return predictions whose references say their lengths, which systems must have in common."""
    names = annotators_of(rows)
    made = []
    ordered = sorted(rows, key=lambda row: row.id)
    for row, counts in zip(ordered, counts_under(rows, label).astype(int), strict=True):
        words, characters = (
            counts[1 + unit * len(names) :][: len(names), _REFERENCE].sum(1) for unit in (0, 1)
        )
        lengths = [f"{w} words, {c} characters" for w, c in zip(words, characters, strict=True)]
        several = dict(zip(names, lengths, strict=True)) if len(names) > 1 else {}
        made.append(
            TextPrediction(
                id=row.id,
                ref=lengths[0],
                hyp="",
                references=several,
                group=row.group,
                tags=row.tags,
            )
        )
    return made
