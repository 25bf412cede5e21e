"""Tags: what a split's figures can be broken down by, such as gender, dialect or genre."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lhotse.cut import Cut

    from harness_bench.cuts.store import Row

# As `leakage.KINDS`, of a row in place of a cut.
ROW_KINDS: dict[str, Callable[[Row], str | None]] = {
    "speaker": lambda row: row["supervisions"][0].get("speaker"),
    "cluster": lambda row: row["supervisions"][0].get("custom", {}).get("cluster"),
    "recording": lambda row: row["recording"]["sources"][0]["source"],
    "audio": lambda row: row.get("custom", {}).get(DIGEST),
    "text": lambda row: row["supervisions"][0].get("text"),
}
_PLAIN_FIELDS = ("speaker", "language", "gender", "text")


def text_of(cut: Cut) -> str:
    """Return a cut's raw transcript; a cut without one is a `ValueError` that names it."""
    text = _supervision(cut).text
    if not text:
        raise ValueError(
            f"Cut {cut.id!r} has no transcript. Prepare its corpus with `--require text`."
        )
    return str(text)


def label_of(cut: Cut, field: str) -> str:
    """Return a cut's label: a custom field, or speaker, language or gender.

    Raises:
        ValueError: the cut has no such field; names the cut and the fields it has.
    """
    known = fields_of(cut)
    if field not in known:
        raise ValueError(
            f"Cut {cut.id!r} has no field {field!r}; it has {', '.join(sorted(known)) or 'none'}. "
            f"Prepare its corpus with `--require {field}` to leave such cuts out."
        )
    return str(known[field])


def group_of(cut: Cut) -> str:
    """Return a cut's natural cluster for resampling: `cluster` if given, speaker, or recording."""
    supervision = _supervision(cut)
    cluster = (supervision.custom or {}).get("cluster")
    return str(cluster or supervision.speaker or cut.recording_id)


def fields_of(cut: Cut) -> dict[str, Any]:
    """Return what is known of a cut: text, speaker, language, gender, and its custom fields."""
    supervision = _supervision(cut)
    plain = {name: getattr(supervision, name) or None for name in _PLAIN_FIELDS}
    known = {**plain, **(supervision.custom or {})}
    return {name: value for name, value in known.items() if value is not None}


def _supervision(cut: Cut) -> Any:
    """Return a cut's only supervision."""
    if len(cut.supervisions) != 1:
        raise ValueError(
            f"Cut {cut.id!r} has {len(cut.supervisions)} supervisions; exactly one is expected. "
            "Trim cuts to their supervisions, or prepare the corpus with `harness-bench prepare`."
        )
    return cut.supervisions[0]


COPY_FIELD = "harness_copy"  # in a repeated cut's `custom`: which repetition it is
UNKNOWN = "unknown"  # the language of utterances that do not say


def identity(cut: Cut) -> str:
    """Return what tells a cut from every other, its samples included where they were digested."""
    samples = (cut.custom or {}).get(DIGEST, "")
    return f"{cut.id} {cut.start:.6f} {cut.duration:.6f} {samples}"


def language_of(cut: Cut) -> str:
    """Return a cut's language, or "unknown"."""
    languages = (supervision.language for supervision in cut.supervisions)
    return next((str(language) for language in languages if language), UNKNOWN)


def with_custom(cut: Cut, **values: Any) -> Cut:
    """Return a copy of a cut with more fields in its `custom`; the original stays as it is."""
    from lhotse.utils import fastcopy  # noqa: PLC0415 - imports torch

    return fastcopy(cut, custom={**(cut.custom or {}), **values})


def spoken(cut: Cut, language: str | None) -> Cut:
    """Return a cut in a language where it does not say one itself."""
    if language is None or language_of(cut) != UNKNOWN:
        return cut
    from lhotse.utils import fastcopy  # noqa: PLC0415 - imports torch

    said = [fastcopy(supervision, language=language) for supervision in cut.supervisions]
    return fastcopy(cut, supervisions=said)


DIGEST = "audio_digest"  # the field of a prepared cut's `custom` with its samples' digest


def _custom(cut: Cut, field: str) -> str | None:
    value = (cut.supervisions[0].custom or {}).get(field)
    return None if value is None else str(value)


def _source(cut: Cut) -> str:
    return str(cut.recording.sources[0].source)


def _digest(cut: Cut) -> str | None:
    return (cut.custom or {}).get(DIGEST)


# Kind of thing that sets may share -> the value of a prepared cut, None where it has none.
CUT_KINDS: dict[str, Callable[[Cut], str | None]] = {
    "speaker": lambda cut: cut.supervisions[0].speaker,
    "cluster": lambda cut: _custom(cut, "cluster"),
    "recording": _source,
    "audio": _digest,
    "text": lambda cut: cut.supervisions[0].text,
}
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
