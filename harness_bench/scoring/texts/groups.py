"""Groups of utterances: by a field, by a file of ids and names, by id, or by script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.scoring.profiles.kaldi_mgb2 import TAGS
from harness_bench.scoring.texts.readers import read_transcripts

if TYPE_CHECKING:
    from harness_bench.scoring.texts.joining import Joined

CODE_SWITCHED = "code-switched"
NONE = "(none)"  # the group of utterances that have no value
_NATURAL = ("group", "recording", "speaker")  # fields that name a corpus's natural cluster
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")


def group_values(spec: str, joined: Joined) -> tuple[str, dict[str, str]]:
    """Return a grouping's name and the group of each utterance.

    Args:
        spec: `FIELD` of the first reference; `NAME=FILE` with lines `id value` such as utt2spk;
            `NAME:N`, the first N parts of the id between `_` or `-`; or `code-switched`, yes where
            a reference has Latin letters.
        joined: the utterances.

    Raises:
        ValueError: a grouping that gives no utterance a value; lists the fields there are.
    """
    name, by_file, path = spec.partition("=")
    if by_file:
        values = _from_file(Path(path))
    elif match := re.fullmatch(r"(.+):([1-9]\d*)", spec):
        name = match[1]
        values = {key: _prefix(key, int(match[2])) for key in joined.hypotheses}
    elif spec == CODE_SWITCHED:
        references = joined.references.values()
        values = {
            key: code_switched(" ".join(texts[key] for texts in references))
            for key in joined.hypotheses
        }
    else:
        rows = joined.fields.items()
        values = {key: fields[spec] for key, fields in rows if spec in fields}
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
    found = read_transcripts(path, kind="text")
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
