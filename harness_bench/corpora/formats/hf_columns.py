"""Which column of a dataset says what, and a row's values as text."""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Any

from harness_bench.corpora.formats.hf_rows import (
    AudioKind,
    audio_at,
    class_names,
    features_of,
    is_scalar,
    kind_of,
)
from harness_bench.corpora.formats.tables import ABSENT, SYNONYMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from harness_bench.corpora.formats.hf_rows import Audio

OWN = ("text", "speaker", "gender", "language")  # fields of an utterance
CUSTOM = ("label", "dialect", "emotion", "cluster")
NONE, SAME = "-", "="  # an option: no column; a value for all rows
PATH = "audio.path"  # the name of the audio file, as a column
# Columns taken for a field that no option names, the likeliest first.
LIKELY = {
    "audio": ("audio", "waveform", "speech", *SYNONYMS["path"], "path"),
    "id": ("utt_id", "utterance_id", "seg_id", "segment_id"),
    "text": (*SYNONYMS["transcript"], "transcript"),
    "speaker": ("speaker", *SYNONYMS["speaker"], "spk_id"),
    "gender": ("gender", "sex", "speaker_gender"),
    "language": ("language", *SYNONYMS["language"]),
    "sampling_rate": ("sampling_rate", "sample_rate", "sr"),
    **{name: (name,) for name in CUSTOM},
}
GENDERS = {"m": "male", "f": "female", "male_masculine": "male", "female_feminine": "female"}


class Columns:
    """The columns of one file, by what they say."""

    def __init__(
        self,
        schema: pa.Schema,
        options: Mapping[str, str],  # field -> column, "" where it is to be looked for
        more: Iterable[str],  # further columns that are there by other means
        where: str,
    ) -> None:
        """Find every field's column; one that an option names and is not there: ValueError."""
        self.schema, self.where = schema, where
        if twice := {name for name in schema.names if schema.names.count(name) > 1}:
            raise ValueError(
                f"{where} has more than one column {min(twice)!r}. Rename all but one."
            )
        self.classes = class_names(features_of(schema))
        self.scalars = [each.name for each in schema if is_scalar(each.type)]
        more = [*more]
        self.known = [*schema.names, *more]
        self._said = {*self.scalars, *more}  # columns whose values are text here
        self.of: dict[str, str] = {}  # field -> column, or = and a value
        self.dropped = [field for field, given in options.items() if given == NONE]
        for field, given in options.items():
            if field != "audio" and (column := self._column(field, given)) is not None:
                self.of[field] = column
        given = options.get("audio", "")
        self.audio = (self._column("audio", given) if given else None) or self._audio()
        kind = kind_of(schema.field(self.audio).type)
        if kind is None:
            raise ValueError(
                f"{where}: column {self.audio!r} is of type {schema.field(self.audio).type}, which "
                "holds no audio. Name another one with the option audio=COLUMN."
            )
        self.kind: AudioKind = kind
        self._has_path = kind is AudioKind.ENCODED and "path" in _fields(schema, self.audio)
        rate = self.of.get("sampling_rate")
        if kind is AudioKind.SAMPLES and rate is None:
            raise ValueError(
                f"{where}: column {self.audio!r} holds bare samples, and none says their rate. "
                "Give a column as sampling_rate=COLUMN, or sampling_rate==16000."
            )

    def read(self, *, whole: bool) -> list[str]:
        """Return the columns to read, of the audio only its path unless it is needed whole."""
        audio = [self.audio] if whole or self.kind is AudioKind.PATH else []
        if not whole and self._has_path:
            audio = [f"{self.audio}.path"]
        return [*(name for name in self.scalars if name != self.audio), *audio]

    def path_at(self, batch: pa.RecordBatch, at: int) -> str | None:
        """Return the name of the audio of a row of a batch, where one is said."""
        if self.kind is AudioKind.PATH:
            return as_text(batch.column(self.audio)[at].as_py())
        if not self._has_path:
            return None
        value = batch.column(self.audio)[at]
        return as_text(value["path"].as_py()) if value.is_valid else None

    def audio_at(self, batch: pa.RecordBatch, at: int) -> Audio:
        """Return the audio of a row of a batch."""
        return audio_at(batch.column(self.audio), at, self.kind)

    def rows(self, batch: pa.RecordBatch) -> Iterator[dict[str, str]]:
        """Yield the values of each row as text, without those that are absent."""
        names = [name for name in self.scalars if name in batch.schema.names]
        lists = [batch.column(name).to_pylist() for name in names]
        classes = [self.classes.get(name) for name in names]
        for values in zip(*lists, strict=True) if lists else ({},) * batch.num_rows:
            texts = map(as_text, values, classes)
            yield {name: text for name, text in zip(names, texts, strict=True) if text is not None}

    def field(self, name: str, row: Mapping[str, str]) -> str | None:
        """Return what a row says of a field."""
        column = self.of.get(name)
        if column is None or column.startswith(SAME):
            return column and column.removeprefix(SAME)
        return row.get(column)

    def rest(self, row: Mapping[str, str]) -> dict[str, str]:
        """Return the values of columns that are no field, under their own names."""
        used = {*self.of.values(), *self.dropped, *OWN, self.audio, PATH}
        return {name: text for name, text in row.items() if name not in used}

    def _column(self, field: str, given: str) -> str | None:
        if given == NONE:
            return None
        if not given:
            likely = (name for name in LIKELY.get(field, ()) if name in self._said)
            return next(likely, None)
        fit = self.known if field == "audio" else self._said
        if given.startswith(SAME) or given in fit:
            return given
        if given in self.known:
            raise ValueError(
                f"{self.where}: column {given!r} ({field}={given}) is of type "
                f"{self.schema.field(given).type}; expected text, numbers or classes."
            )
        near = difflib.get_close_matches(given, fit, n=1, cutoff=0.5)
        hint = f" Did you mean {field}={near[0]}?" if near else ""
        raise ValueError(
            f"{self.where} has no column {given!r} ({field}={given}); it has "
            f"{', '.join(self.known)}.{hint}"
        )

    def _audio(self) -> str:
        """Find what datasets notes, else the only column that holds any, else a likely name."""
        features = features_of(self.schema)
        noted = [name for name, about in features.items() if _is_audio(about)]
        noted = [name for name in noted if name in self.schema.names]
        text = (None, AudioKind.PATH)
        held = [each.name for each in self.schema if kind_of(each.type) not in text]
        likely = [name for name in LIKELY["audio"] if name in (noted or held or self.schema.names)]
        for found in (noted, held, likely):
            if len(found) == 1 or (found and found is likely):
                return found[0]
        raise ValueError(
            f"{self.where}: which column is the audio? It has {', '.join(self.schema.names)}. "
            "Name it with the option audio=COLUMN."
        )


def as_text(value: Any, classes: Sequence[str] | None = None) -> str | None:
    """Return a value as text; None where it is absent. A class's number becomes its name.

    >>> as_text(1, ["EGY", "GLF"]), as_text(" - "), as_text(2.5)
    ('GLF', None, '2.5')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if classes is not None and isinstance(value, int):
        return classes[value] if 0 <= value < len(classes) else None
    text = str(value).strip()
    return None if text in ABSENT else text


def gender_of(value: str | None) -> str | None:
    """Return a gender as it is called here: male, female, or whatever else was said."""
    return value and GENDERS.get(value.lower(), value.lower())


def groups_of(pattern: str) -> list[str]:
    """Return the names of a pattern's groups."""
    return [*re.compile(pattern).groupindex]


def _is_audio(about: Any) -> bool:
    return isinstance(about, dict) and about.get("_type") == "Audio"


def _fields(schema: pa.Schema, column: str) -> list[str]:
    kind = schema.field(column).type
    return [kind.field(number).name for number in range(kind.num_fields)]
