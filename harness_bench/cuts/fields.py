"""What a cut says: one accessor for lhotse's cuts and for rows, their form on disk.

A row is what `cut.to_dict()` gives and what a file of cuts holds: reading it costs a tenth of
building a cut. Every function here takes either and answers alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lhotse.cut import Cut

type Row = dict[str, Any]

OWN_FIELDS = ("text", "speaker", "language", "gender")  # lhotse's; all others are custom
TAG_FIELDS = ("gender", "dialect", "emotion", "genre", "language", "overlap")
DIGEST = "audio_digest"  # custom field of a prepared cut: the digest of its samples
UNKNOWN = "unknown"  # the language of utterances that do not say


def member(thing: Any, name: str) -> Any:
    """Return a member of a row's object or of lhotse's; None where it has none."""
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def supervision_of(cut: Cut | Row) -> Any:
    """Return a cut's only supervision; none or several are a `ValueError`."""
    found = member(cut, "supervisions") or []
    if len(found) != 1:
        raise ValueError(
            f"Cut {member(cut, 'id')!r} has {len(found)} supervisions; exactly one is expected. "
            "Trim cuts to their supervisions, or prepare the corpus with `harness-bench prepare`."
        )
    return found[0]


def field_of(cut: Cut | Row, name: str) -> str | None:
    """Return one field of the first supervision; None where it is absent or empty."""
    found = member(cut, "supervisions")
    if not found:
        return None
    value = member(found[0], name) if name in OWN_FIELDS else _custom(found[0]).get(name)
    return None if value in (None, "") else str(value)


def fields_of(cut: Cut | Row) -> dict[str, str]:
    """Return all fields of a cut's only supervision by name.

    A custom field may be empty: an annotator's transcript without words is one. It never hides a
    field of lhotse's own.
    """
    said = supervision_of(cut)
    own = {name: member(said, name) or None for name in OWN_FIELDS}
    known = {**_custom(said), **own}
    return {name: str(value) for name, value in known.items() if value is not None}


def text_of(cut: Cut | Row) -> str:
    """Return a cut's raw transcript; a cut without one is a `ValueError` that names it."""
    supervision_of(cut)
    if (text := field_of(cut, "text")) is None:
        raise ValueError(
            f"Cut {member(cut, 'id')!r} has no transcript. Prepare its corpus with `--require "
            "text`."
        )
    return text


def label_of(cut: Cut | Row, field: str) -> str:
    """Return a field that must be there, such as a task's label; else a ValueError."""
    known = fields_of(cut)
    if field not in known:
        raise ValueError(
            f"Cut {member(cut, 'id')!r} has no field {field!r}; it has "
            f"{', '.join(sorted(known)) or 'none'}. Prepare its corpus with `--require {field}` to "
            "leave such cuts out."
        )
    return known[field]


def group_of(cut: Cut | Row) -> str:
    """Return a cut's natural cluster for resampling: `cluster` if given, speaker, or recording."""
    supervision_of(cut)
    recording = member(member(cut, "recording"), "id")
    return field_of(cut, "cluster") or field_of(cut, "speaker") or str(recording)


def language_of(cut: Cut | Row) -> str:
    """Return the first language that a cut says, or "unknown"."""
    languages = (member(said, "language") for said in member(cut, "supervisions") or ())
    return next((str(language) for language in languages if language), UNKNOWN)


def digest_of(cut: Cut | Row) -> str | None:
    """Return the digest of a prepared cut's samples; None where it was not computed."""
    digest: str | None = _custom(cut).get(DIGEST) or None
    return digest


def source_of(cut: Cut | Row) -> str | None:
    """Return the path of a cut's audio file; None where the audio lies in a shard."""
    sources = member(member(cut, "recording"), "sources")
    if not sources or member(sources[0], "type") != "file":
        return None
    return str(member(sources[0], "source"))


def span_of(cut: Cut | Row) -> tuple[float, float]:
    """Return start and end in the recording, in seconds."""
    start = float(member(cut, "start") or 0.0)
    return start, start + float(member(cut, "duration") or 0.0)


def identity(cut: Cut | Row) -> str:
    """Return what tells a cut from every other, its samples included where they were digested."""
    start, duration = member(cut, "start"), member(cut, "duration")
    return f"{member(cut, 'id')} {start:.6f} {duration:.6f} {digest_of(cut) or ''}"


def tags_of(
    cuts: Sequence[Cut | Row], labels: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """Return the tags of a split's cuts: what the figures of predictions can be broken down by.

    A field that is the same for all cuts tells nothing and is left out, and so is one that is the
    task's label (`labels`: utterance id -> label) under whatever name: figures by the true class
    are another table.

    Returns:
        Utterance id -> field of `TAG_FIELDS` -> value; a cut without a field lacks that tag alone.
    """
    by_id = {str(member(cut, "id")): cut for cut in cuts}
    tags: dict[str, dict[str, str]] = {uid: {} for uid in by_id}
    for field in TAG_FIELDS:
        values = {uid: value for uid, cut in by_id.items() if (value := field_of(cut, field))}
        varies = len({values.get(uid) for uid in tags}) > 1
        if varies and values != labels:
            for uid, value in values.items():
                tags[uid][field] = value
    return tags


def with_custom(cut: Cut, **values: Any) -> Cut:
    """Return a copy of a cut with more fields in its `custom`; the original stays as it is."""
    from lhotse.utils import fastcopy  # noqa: PLC0415 - imports torch

    return fastcopy(cut, custom={**(cut.custom or {}), **values})


def spoken(cut: Cut, language: str | None) -> Cut:
    """Return a cut in a language where it does not say one itself."""
    if language is None or language_of(cut) != UNKNOWN:
        return cut
    from lhotse.utils import fastcopy  # noqa: PLC0415 - imports torch

    said: Iterable[Any] = (fastcopy(each, language=language) for each in cut.supervisions)
    return fastcopy(cut, supervisions=list(said))


def _custom(thing: Any) -> Mapping[str, Any]:
    return member(thing, "custom") or {}
