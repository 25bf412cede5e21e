"""Per-utterance predictions: one JSON line each, joined by utterance id and by nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness_bench.core.files import read_jsonl, write_jsonl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_PREDICTIONS = 256 << 20  # bytes of a file that is checked, compared or copied
# What figures are broken down by, such as {"genre": "sports"}: names and values.
Tags = Annotated[dict[str, str], Field(max_length=20)]


def _several(references: dict[str, str]) -> dict[str, str]:
    """Refuse one reference among several: an MR-WER of it would be a plain WER."""
    if len(references) == 1:
        raise ValueError(
            f"there is only one, {next(iter(references))!r}; give two or more, or none and `ref`"
        )
    return references


# Transcripts of several annotators, by name: none, or two and more.
References = Annotated[dict[str, str], Field(max_length=20), AfterValidator(_several)]


class ClassPrediction(BaseModel):
    """One classified utterance (SER, DID and the like)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    truth: str
    pred: str
    # What further heads say, trained with other seeds; figures are means over all of them.
    others: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    probs: dict[str, float]  # label -> probability, all labels of the head
    group: str  # the corpus's natural cluster: speaker, programme or video
    tags: Tags = {}


class TextPrediction(BaseModel):
    """One transcribed utterance, raw text on both sides (normalisation is the scorer's)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    ref: str
    hyp: str
    # Of every annotator where there are several, raw too; `ref` is then one of them for readers.
    references: References = {}
    group: str
    tags: Tags = {}

    @property
    def written(self) -> tuple[str, ...]:
        """All references: those of several annotators, or the only one."""
        return tuple(self.references.values()) or (self.ref,)


type _Count = Annotated[int, Field(ge=0)]


class TextCounts(BaseModel):
    """What one utterance adds to the sums of text metrics, to share without its transcripts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    group: str
    tags: Tags = {}
    references: Annotated[tuple[str, ...], Field(max_length=20)] = ()  # annotators, if several
    # Profile and version -> lines of hits, substitutions, deletions, insertions: of words by the
    # rule of MR-WER; against each of R references of words, of characters, of words by the
    # authors' costs: 1 + 3 R lines.
    counts: dict[str, tuple[tuple[_Count, _Count, _Count, _Count], ...]]


type Prediction = ClassPrediction | TextPrediction | TextCounts


def write_predictions(path: Path, rows: Iterable[Prediction]) -> int:
    """Write predictions sorted by id, atomically; return their number."""
    ordered = sorted(rows, key=lambda row: row.id)
    return write_jsonl(path, (row.model_dump(exclude_defaults=True) for row in ordered))


def read_predictions[P: (ClassPrediction, TextPrediction, TextCounts)](
    path: Path, kind: type[P]
) -> list[P]:
    """Read predictions of one kind; a broken line or a duplicate id is a `ValueError` with both."""
    rows: dict[str, P] = {}
    for number, value in enumerate(read_jsonl(path), start=1):
        try:
            row = kind.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path}: row {number}, field {where!r}: {first['msg']}.") from None
        if row.id in rows:
            raise ValueError(
                f"{path}: row {number} repeats id {row.id!r}; keep one row per utterance."
            )
        rows[row.id] = row
    return list(rows.values())
