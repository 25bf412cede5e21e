"""Lines of manifests as Open ASR's and Open Universal Arabic's boards and NeMo write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.files import read_jsonl
from harness_bench.results.predictions import TextPrediction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HYPOTHESES = ("hyp", "pred_text", "prediction")
_REFERENCES = ("ref", "text", "sentence")
_GROUPS = ("group", "speaker")
_IDS = ("id", "audio_filepath", "path")


def id_of(row: Mapping[str, Any]) -> str | None:
    """Return an utterance's id: `id`, or else its audio file, with `offset` where there is one."""
    name = next((name for name in _IDS if _named(row, name)), None)
    if name is None:
        return None
    offset = row.get("offset")
    timed = name != "id" and isinstance(offset, int | float) and not isinstance(offset, bool)
    return f"{row[name]}@{offset:.3f}" if timed and offset else str(row[name])


def text_of(row: Mapping[str, Any], role: str) -> str | None:
    """Return the text of a role; a hypothesis is never the reference beside it.

    The role `hyp` is `hyp`, `pred_text` or `prediction`, another `ref`, `text` or `sentence`. A
    file of one side alone may call either `text`.
    """
    names = (*_HYPOTHESES, "text") if role == "hyp" else (role, *_REFERENCES)
    text = next((row[name] for name in names if name in row), None)
    return text if isinstance(text, str) else None


def names_hypothesis(row: Mapping[str, Any]) -> bool:
    """Tell whether a line has a hypothesis under a name that no reference has."""
    return any(name in row for name in _HYPOTHESES)


def is_manifest(row: Any) -> bool:
    """Tell whether a line has a reference and a hypothesis under names of manifests."""
    return (
        isinstance(row, dict)
        and any(name in row for name in _REFERENCES[1:])
        and any(name in row for name in _HYPOTHESES[1:])
    )


def read_manifest(path: Path) -> list[TextPrediction]:
    """Read a manifest with references and hypotheses; a broken line or repeated id is an error.

    The cluster is `group` or `speaker`, and else each utterance is its own; lines without an id
    or a file of audio are called by their number.
    """
    rows: dict[str, TextPrediction] = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        ref, hyp = (
            (text_of(row, role) for role in ("ref", "hyp")) if is_manifest(row) else (None,) * 2
        )
        if ref is None or hyp is None:
            raise ValueError(
                f"{path}: row {number} has no string of {', '.join(_REFERENCES)} and of "
                f"{', '.join(_HYPOTHESES)}; expected both in every line of a manifest."
            )
        key = id_of(row) or f"line {number}"
        if key in rows:
            raise ValueError(
                f"{path}: row {number} repeats {key!r}; give each utterance an `id` or an `offset`."
            )
        named = (str(row[name]) for name in _GROUPS if _named(row, name))
        rows[key] = TextPrediction(id=key, ref=ref, hyp=hyp, group=next(named, key))
    return list(rows.values())


def _named(row: Mapping[str, Any], field: str) -> bool:
    """Tell whether a field holds a name: a text, or a whole number as in tables of speakers."""
    value = row.get(field)
    return value != "" and isinstance(value, str | int) and not isinstance(value, bool)
