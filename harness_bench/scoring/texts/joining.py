"""Join a hypothesis with its references by utterance id, say what did not join, and group it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.files import check_given
from harness_bench.results.predictions import TextPrediction
from harness_bench.scoring.profiles._arabic import looks_buckwalter
from harness_bench.scoring.profiles.kaldi_mgb2 import TAGS
from harness_bench.scoring.texts.alternatives import choose, parse
from harness_bench.scoring.texts.readers import overlapping, read_transcripts, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from harness_bench.scoring.texts.readers import Transcripts

GROUP = "group"  # the field that holds the cluster
ONLY = "ref"  # name of the reference where there is one
CODE_SWITCHED = "code-switched"
NONE = "(none)"  # the group of utterances that have no value
IDS = ("strict", "common")
_FIRST = 5  # ids that a message names
_REASONS = ("missing", "extra", "unreferenced", "duplicate", "ignored", "words_outside")
_NATURAL = ("group", "recording", "speaker")  # fields that name a corpus's natural cluster
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")


@dataclass(frozen=True)
class Joined:
    """Hypotheses and references of the same utterances, and the counts of all others."""

    hypotheses: dict[str, str]  # id -> raw text
    references: dict[str, dict[str, str]]  # name -> id -> raw text
    fields: dict[str, dict[str, str]]  # id -> fields of the first reference
    left_out: dict[str, int]  # reason -> utterances, or words of a CTM
    unscorable: str = "none"  # rule of what is left out before scoring, as `unscorable` names it
    marked: frozenset[str] = frozenset()  # ids whose reference has sclite's marks
    notes: tuple[str, ...] = ()  # what a reader of the figures should know of the files


def annotators(rows: Sequence[TextPrediction]) -> tuple[str, ...]:
    """Return the names of the annotators, the same for all utterances; none if there are none."""
    first = tuple(sorted(rows[0].references)) if rows else ()
    if odd := [row for row in rows if tuple(sorted(row.references)) != first]:
        named = ", ".join(sorted(odd[0].references)) or "none"
        raise ValueError(
            f"{rows[0].id!r} has references of {', '.join(first) or 'none'}, and {len(odd)} others "
            f"do not: {odd[0].id!r} has {named}. Keep the utterances that all annotators have."
        )
    return first


def joined_rows(rows: Sequence[TextPrediction]) -> Joined:
    """Join predictions for `score_joined`: all references, tags and cluster as fields."""
    if not rows:
        raise ValueError("There is no prediction to score; is the prediction file empty?")
    found = {row.id: row for row in rows}
    if len(found) < len(rows):
        raise ValueError(f"{len(rows) - len(found)} ids are given twice; keep one row of each.")
    names = annotators(rows)
    references = {name: {key: row.references[name] for key, row in found.items()} for name in names}
    sides = {"hypotheses": (row.hyp for row in rows), "references": (row.ref for row in rows)}
    return Joined(
        hypotheses={key: row.hyp for key, row in found.items()},
        references=references or {ONLY: {key: row.ref for key, row in found.items()}},
        fields={key: {**row.tags, GROUP: row.group} for key, row in found.items()},
        left_out=dict.fromkeys(_REASONS, 0),
        notes=tuple(
            f"the {side} look like Buckwalter, whose letters no text profile touches; write them "
            "in Arabic script (`to_arabic` in docs/scoring.md)"
            for side, texts in sides.items()
            if looks_buckwalter(texts)
        ),
    )


def predicted(joined: Joined, groups: Iterable[str], cluster: str | None) -> list[TextPrediction]:
    """Return joined files as predictions: what `joined_rows` reads, groupings as tags.

    References with alternatives or optional words are a `ValueError`: a prediction has one text.
    """
    if joined.marked:
        raise ValueError(
            f"{len(joined.marked)} references have alternatives or optional words, first "
            f"{min(joined.marked)!r}, and a result keeps one text of each annotator. Write one "
            "transcript per file, or score without a result."
        )
    of = clusters(cluster, joined)
    tags = dict(group_values(spec, joined) for spec in groups if spec != CODE_SWITCHED)
    texts = {key: {name: one[key] for name, one in joined.references.items()} for key in of}
    return [
        TextPrediction(
            id=key,
            ref=next(iter(texts[key].values())),
            hyp=hyp,
            references=texts[key] if len(texts[key]) > 1 else {},
            group=of[key],
            tags={name: values[key] for name, values in tags.items()},
        )
        for key, hyp in joined.hypotheses.items()
    ]


def join(hypothesis: Transcripts, references: Sequence[Transcripts], ids: str = "strict") -> Joined:
    """Keep the utterances that all files have.

    Segments that an STM marks as `ignore_time_segment_in_scoring` are never scored. Words of a
    CTM go to the segments of the first STM among the references. With `strict`, ids that are
    missing, extra or given twice are a `ValueError`.
    """
    check_ids(ids)
    everything = [hypothesis, *references]
    marked = _marked(references)
    everything, outside = _cut_to_segments(everything)
    hypothesis, *references = everything
    ignored = {key for file in references for key, one in file.segments.items() if one.ignored}
    heard, *written = (set(file.texts) - ignored for file in everything)
    repeated = {key for file in everything for key in file.repeated} - ignored
    known = set().union(*written)
    unjoined = {
        "missing": known - heard,
        "extra": heard - known,
        "unreferenced": {key for file in written for key in known - file} & heard,
        "duplicate": repeated,
    }
    refuse_unjoined(unjoined, hypothesis.path.name, ids, outside)
    common = sorted(heard.intersection(*written) - repeated)
    counted = [*map(len, unjoined.values()), len(ignored), len(outside)]
    return Joined(
        hypotheses={key: hypothesis.texts[key] for key in common},
        references={
            name: {key: file.texts[key] for key in common}
            for name, file in zip(_names(references), references, strict=True)
        },
        fields={key: references[0].fields.get(key, {}) for key in common},
        left_out=dict(zip(_REASONS, counted, strict=True)),
        marked=marked.intersection(common),
        notes=tuple(_notes(everything)),
    )


def _notes(files: Sequence[Transcripts]) -> Iterator[str]:
    """Say what a reader of the figures should know of a hypothesis and its references."""
    for file in files[1:]:
        if file.tag_labels:
            yield (
                f"{file.tag_labels} segments of {file.path.name} begin with a tag such as <UNK>, "
                "which is their label and no word, as sclite reads it"
            )
    cut = next((file for file in files[1:] if file.segments), None)
    crossing = overlapping(cut.segments.values()) if cut else 0
    if cut and crossing and any(file.words for file in files):
        yield (
            f"{crossing} segments of {cut.path.name} begin before another of their channel ends; "
            "timed words there go to the first segment that holds their middle"
        )


def _marked(references: Sequence[Transcripts]) -> frozenset[str]:
    """Return the ids of a lone reference with alternatives or optional words."""
    if len(references) > 1 and (with_marks := [file for file in references if file.marked]):
        file = with_marks[0]
        raise ValueError(
            f"{file.path} has alternatives or optional words, first in {min(file.marked)}, and "
            f"there are {len(references)} references. Score only this reference, or write one "
            "transcript per file."
        )
    return frozenset(references[0].marked)


def resolve(joined: Joined, normalise: Callable[[str], str]) -> tuple[Joined, int]:
    """Choose the way nearest to the hypothesis in every reference with marks.

    Returns the texts, and the number of optional words that were not said.
    """
    if not joined.marked:
        return joined, 0
    ((name, texts),) = joined.references.items()
    hypotheses, references = dict(joined.hypotheses), dict(texts)
    same, not_said = cache(normalise), 0
    for key in joined.marked:
        words = hypotheses[key].split()
        pairs = choose(parse(texts[key]), words, same)
        not_said += sum(hyp is not None for _, hyp in pairs) - len(words)
        references[key] = " ".join(ref for ref, _ in pairs if ref is not None)
        hypotheses[key] = " ".join(hyp for _, hyp in pairs if hyp is not None)
    return replace(joined, hypotheses=hypotheses, references={name: references}), not_said


def check_ids(ids: str) -> None:
    """Refuse a way to join that there is not."""
    if ids not in IDS:
        raise ValueError(f"Unknown way to join ids {ids!r}; there are: {', '.join(IDS)}.")


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
    parts = [
        f"{len(keys)} {meaning}: {', '.join(keys[:_FIRST])}{', ...' * (len(keys) > _FIRST)}"
        for meaning, keys in found.items()
        if keys
    ]
    if parts and ids == "strict":
        raise ValueError(
            f"The files do not hold the same utterances: {'; '.join(parts)}. Make them again, or "
            "score what they share with `--ids common`."
        )


def _cut_to_segments(files: Sequence[Transcripts]) -> tuple[list[Transcripts], list[str]]:
    """Give timed words to the first STM's segments -> files cut so, and words of no segment.

    A segment without words stands for silence, but a recording without any word is missing.
    """
    segments = next((list(file.segments.values()) for file in files[1:] if file.segments), [])
    found: list[Transcripts] = []
    outside: list[str] = []
    for file in files:
        if not (segments and file.words):
            found.append(file)
            continue
        heard = {(word.recording, word.channel) for word in file.words}
        known = [one for one in segments if (one.recording, one.channel) in heard]
        texts, strays = spread(file.words, known)
        found.append(replace(file, texts=texts, fields={}, repeated=[]))
        outside += [f"{word.text} at {word.start} s of {word.recording}" for word in strays]
    return found, outside


def _names(references: Sequence[Transcripts]) -> list[str]:
    """Name references by their files, with numbers where two files have one name."""
    names = [file.path.name for file in references]
    return [
        name if names.count(name) == 1 else f"{name} ({place})"
        for place, name in enumerate(names, start=1)
    ]


def group_values(spec: str, joined: Joined) -> tuple[str, dict[str, str]]:
    """Return a grouping's name and the group of each utterance.

    A grouping is `FIELD` of the first reference; `NAME=FILE` with lines `id value` such as
    utt2spk; `NAME:N`, the first N parts of the id between `_` or `-`; or `code-switched`, yes
    where a reference has Latin letters. One that gives no utterance a value is a `ValueError`.
    """
    name, by_file, path = spec.partition("=")
    if by_file:
        check_given(Path(path), f"group or cluster {name}, file", "file")
        values = _from_file(Path(path))
    elif match := re.fullmatch(r"(.+):([1-9]\d*)", spec):
        name = match[1]
        values = {key: _prefix(key, int(match[2])) for key in joined.hypotheses}
    elif spec == CODE_SWITCHED:
        written = joined.references.values()
        values = {
            key: code_switched(" ".join(texts[key] for texts in written))
            for key in joined.hypotheses
        }
    else:
        values = {key: own[spec] for key, own in joined.fields.items() if spec in own}
    if not values.keys() & joined.hypotheses.keys():
        known = sorted({name for fields in joined.fields.values() for name in fields})
        raise ValueError(
            f"Group {spec!r} fits no utterance. Fields of the first reference: "
            f"{', '.join(known) or 'none'}; otherwise NAME=FILE with lines `id value`, NAME:N for "
            f"the first N parts of the id, or {CODE_SWITCHED}."
        )
    return name, {key: values.get(key) or NONE for key in joined.hypotheses}


def clusters(spec: str | None, joined: Joined) -> dict[str, str]:
    """Return the cluster of each utterance for intervals; without any, each is its own."""
    if spec:
        return group_values(spec, joined)[1]
    for name in _NATURAL:
        if joined.fields and all(fields.get(name) for fields in joined.fields.values()):
            return {key: fields[name] for key, fields in joined.fields.items()}
    return {key: key for key in joined.hypotheses}


def _from_file(path: Path) -> dict[str, str]:
    found = read_transcripts(path, kind="text", encoding="utf8")
    if found.repeated:
        raise ValueError(f"{path} gives {found.repeated[0]!r} twice; keep one line per utterance.")
    return found.texts


def _prefix(key: str, parts: int) -> str:
    """Return the first parts of an id: `comedy_75_first` is `comedy_75` with two."""
    ends = [match.start() for match in re.finditer("[_-]", key)]
    return key[: ends[parts - 1]] if len(ends) >= parts else key


def code_switched(reference: str) -> str:
    """Tell by `yes` or `no` whether a reference has Latin letters outside tags such as <UNK>."""
    words = reference.split()
    return "yes" if any(_LATIN.search(word) for word in words if word.upper() not in TAGS) else "no"
