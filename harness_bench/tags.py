"""Tags: what a split's figures can be broken down by, such as gender, dialect or genre."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lhotse.cut import Cut

FIELDS = ("gender", "dialect", "emotion", "genre", "language", "overlap")


def tags_of(
    cuts: Sequence[Cut], labels: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """Return the tags of a split's cuts, for their predictions.

    A field that is the same for all cuts tells nothing and is left out, and so is one that is the
    task's label under whatever name: figures by the true class are another table.

    Args:
        cuts: a whole split, each with one supervision.
        labels: utterance id -> label, where the task has one.

    Returns:
        Utterance id -> field of `FIELDS` -> value; a cut without a field lacks that tag alone.
    """
    tags: dict[str, dict[str, str]] = {cut.id: {} for cut in cuts}
    for field in FIELDS:
        values = {cut.id: value for cut in cuts if (value := _value(cut, field))}
        varies = len({values.get(key) for key in tags}) > 1
        if varies and values != labels:
            for key, value in values.items():
                tags[key][field] = value
    return tags


def _value(cut: Cut, field: str) -> str:
    """Return a field's value; empty where the cut has none."""
    supervision = cut.supervisions[0]
    value = (supervision.custom or {}).get(field, getattr(supervision, field, None))
    return "" if value is None else str(value)
