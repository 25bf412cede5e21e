"""Lines of manifests as Open ASR's and Open Universal Arabic's boards and NeMo write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_HYPOTHESES = ("hyp", "pred_text", "prediction")
_REFERENCES = ("ref", "text", "sentence")
_IDS = ("id", "audio_filepath", "path")


def id_of(row: Mapping[str, Any]) -> str | None:
    """Return an utterance's id: `id`, or else its audio file, with `offset` where there is one."""
    name = next((name for name in _IDS if isinstance(row.get(name), str) and row[name]), None)
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
    return next((row[name] for name in names if isinstance(row.get(name), str)), None)
