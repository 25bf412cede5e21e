"""Join a hypothesis with its references by utterance id, and say what did not join."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from harness_bench.scoring.texts.readers import spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness_bench.results.predictions import TextPrediction
    from harness_bench.scoring.texts.readers import Transcripts

GROUP = "group"  # the field that holds the cluster
ONLY = "ref"  # name of the reference where there is one
Ids = Literal["strict", "common"]
_FIRST = 5  # ids that a message names


def annotators(rows: Sequence[TextPrediction]) -> tuple[str, ...]:
    """Return the names of the annotators that every utterance has; none where there are none.

    Raises:
        ValueError: utterances of other annotators than the first one; names them.
    """
    first = tuple(sorted(rows[0].references)) if rows else ()
    if odd := [row for row in rows if tuple(sorted(row.references)) != first]:
        named = ", ".join(sorted(odd[0].references)) or "none"
        raise ValueError(
            f"{rows[0].id!r} has references of {', '.join(first) or 'none'}, and {len(odd)} others "
            f"do not: {odd[0].id!r} has {named}. Keep the utterances that all annotators have."
        )
    return first


def joined_rows(rows: Sequence[TextPrediction]) -> Joined:
    """Join predictions for `score_joined`: all references, tags and cluster as fields.

    Raises:
        ValueError: no row, an id given twice, or not the same annotators everywhere.
    """
    if not rows:
        raise ValueError("There is no prediction to score; is the prediction file empty?")
    found = {row.id: row for row in rows}
    if len(found) < len(rows):
        raise ValueError(f"{len(rows) - len(found)} ids are given twice; keep one row of each.")
    names = annotators(rows)
    references = {name: {key: row.references[name] for key, row in found.items()} for name in names}
    reasons = ("missing", "extra", "unreferenced", "duplicate", "ignored", "words_outside")
    return Joined(
        hypotheses={key: row.hyp for key, row in found.items()},
        references=references or {ONLY: {key: row.ref for key, row in found.items()}},
        fields={key: {**row.tags, GROUP: row.group} for key, row in found.items()},
        left_out=dict.fromkeys(reasons, 0),
    )


@dataclass(frozen=True)
class Joined:
    """Hypotheses and references of the same utterances, and the counts of all others."""

    hypotheses: dict[str, str]  # id -> raw text
    references: dict[str, dict[str, str]]  # name -> id -> raw text
    fields: dict[str, dict[str, str]]  # id -> fields of the first reference
    left_out: dict[str, int]  # reason -> utterances, or words of a CTM


def join(hypothesis: Transcripts, references: Sequence[Transcripts], ids: str = "strict") -> Joined:
    """Keep the utterances that all files have.

    Segments that an STM marks as `ignore_time_segment_in_scoring` are never scored. Words of a
    CTM go to the segments of the first STM among the references.

    Raises:
        ValueError: with `strict`, ids that are missing, extra or given twice; nothing in common.
    """
    check_ids(ids)
    outside = _cut_to_segments([hypothesis, *references])
    ignored = {
        key for file in references for key, segment in file.segments.items() if segment.ignored
    }
    files = [set(file.texts) - ignored for file in (hypothesis, *references)]
    repeated = {key for file in (hypothesis, *references) for key in file.repeated} - ignored
    known = set().union(*files[1:])
    unjoined = {
        "missing": known - files[0],
        "extra": files[0] - known,
        "unreferenced": {key for file in files[1:] for key in known - file} & files[0],
        "duplicate": repeated,
    }
    refuse_unjoined(unjoined, hypothesis.path.name, ids, outside)
    common = sorted(set.intersection(*files) - repeated)
    return Joined(
        {key: hypothesis.texts[key] for key in common},
        {
            name: {key: file.texts[key] for key in common}
            for name, file in zip(_names(references), references, strict=True)
        },
        {key: references[0].fields.get(key, {}) for key in common},
        {reason: len(keys) for reason, keys in unjoined.items()}
        | {"ignored": len(ignored), "words_outside": len(outside)},
    )


def check_ids(ids: str) -> None:
    """Refuse a way to join that there is not."""
    if ids not in get_args(Ids):
        raise ValueError(f"Unknown way to join ids {ids!r}; there are: strict, common.")


def refuse_unjoined(
    unjoined: dict[str, set[str]], name: str, ids: str, outside: Iterable[str] = ()
) -> None:
    """Raise for ids that do not join, unless the common ones were asked for."""
    meanings = {
        "missing": f"missing from {name}",
        "extra": f"in {name} but not in the truth",
        "unreferenced": "missing from one of the references",
        "duplicate": "given twice",
    }
    found = {meanings[reason]: sorted(keys) for reason, keys in unjoined.items()}
    found["(words) outside every segment"] = list(outside)
    parts = [_first_of(keys, meaning) for meaning, keys in found.items() if keys]
    if parts and ids == "strict":
        raise ValueError(
            f"The files do not hold the same utterances: {'; '.join(parts)}. Make them again, or "
            "score what they share with `--ids common`."
        )


def _first_of(keys: list[str], meaning: str) -> str:
    more = ", ..." if len(keys) > _FIRST else ""
    return f"{len(keys)} {meaning}: {', '.join(keys[:_FIRST])}{more}"


def _cut_to_segments(files: Sequence[Transcripts]) -> list[str]:
    """Give timed words to the first STM's segments, in place -> words of no segment.

    A segment without words stands for silence, but a recording without any word is missing.
    """
    segments = next((list(file.segments.values()) for file in files[1:] if file.segments), [])
    outside: list[str] = []
    for file in files if segments else ():
        if not file.words:
            continue
        heard = {(word.recording, word.channel) for word in file.words}
        known = [one for one in segments if (one.recording, one.channel) in heard]
        file.texts, strays = spread(file.words, known)
        file.fields, file.repeated = {}, []
        outside += [f"{word.text} at {word.start} s of {word.recording}" for word in strays]
    return outside


def _names(references: Sequence[Transcripts]) -> list[str]:
    """Name references by their files, with numbers where two files have one name."""
    names = [file.path.name for file in references]
    return [
        name if names.count(name) == 1 else f"{name} ({place})"
        for place, name in enumerate(names, start=1)
    ]
