"""What a corpus file provides: the class `Corpus`, which reads one layout on disk.

A corpus is one module of `layouts`, found by its name. Its class `Corpus` is a frozen dataclass
(`config=STRICT`): the fields are the options a user may set, the docstring's first line is its
description, and `utterances` yields what the files on disk say. It decodes no audio: `prepare`
checks all audio in one way. For a split of its own it may read lengths off the headers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USUAL_SPLITS = ("train", "dev", "test")
# Custom fields of this beginning are one more transcript each; `prepare` writes them as text.
REFERENCE = "reference_"
AUDIO = "audio"  # folder of a prepared one for audio that a corpus keeps inside other files


class Reason(StrEnum):
    """Why an utterance was left out."""

    BAD_ROW = "bad row"
    BAD_SPLIT = "bad split"
    DUPLICATE_ID = "duplicate id"
    MISSING_FIELD = "missing field"
    UNKNOWN_LABEL = "unknown label"
    MISSING_FILE = "missing file"
    UNREADABLE = "unreadable audio"
    EMPTY = "empty audio"
    CUT_OFF = "cut-off audio"
    NOT_FINITE = "NaN or infinite samples"
    SCALE = "samples far above full scale"
    CANCELS = "channels cancel each other"
    SILENT = "silent"
    TOO_SHORT = "too short"
    TOO_LONG = "too long"
    WRONG_DURATION = "duration differs from the manifest"
    OUTSIDE = "past the end of its recording"
    BY_RULE = "left out by the corpus's rule"  # as its users do; no fault of the data
    EXCLUDED = "on a list to leave out"  # no fault of the data either
    OTHER_FILES = "no audio by their suffix"  # files, listed by suffix; no utterances
    READ_ELSEWHERE = "a folder that is read elsewhere"  # a link to it; no utterance


@dataclass(frozen=True)
class Skipped:
    """One utterance that was left out, and why."""

    id: str
    reason: Reason
    detail: str
    audio: str = ""
    where: str = ""  # the file and line that named it
    seconds: float = 0.0  # its length by what the corpus says; 0 where it says nothing

    @property
    def fault(self) -> bool:
        """Whether the data are to blame, and not a choice."""
        return self.counts and self.reason not in (Reason.BY_RULE, Reason.EXCLUDED)

    @property
    def counts(self) -> bool:
        """Whether this is an utterance at all."""
        return self.reason not in (Reason.OTHER_FILES, Reason.READ_ELSEWHERE)


@dataclass(frozen=True)
class Utterance:
    """One utterance as the corpus describes it; nothing of it has been checked."""

    id: str
    audio: Path
    split: str = "train"
    start: float = 0.0  # seconds from the beginning of the file
    duration: float | None = None  # seconds; None reads to the end of the file
    stated_duration: float | None = None  # seconds the corpus claims, to be compared
    text: str | None = None
    speaker: str | None = None
    language: str | None = None
    gender: str | None = None
    custom: dict[str, str] = field(default_factory=dict)
    where: str = ""  # the file and line that named it

    def field(self, name: str) -> str | None:
        """Return a field by name, custom or not; None when it is absent."""
        if name in ("text", "speaker", "language", "gender"):
            value: str | None = getattr(self, name)
            return value
        return self.custom.get(name)

    def skipped(self, reason: Reason, detail: str) -> Skipped:
        """Return the record that says why this utterance is left out."""
        seconds = self.duration or self.stated_duration or 0.0
        return Skipped(self.id, reason, detail, printable(self.audio), self.where, seconds)


type Found = Iterator[Utterance | Skipped]


class Corpus(Protocol):
    """One corpus layout; the class of this name in each corpus module follows it.

    It may also have `limits` (`check.Limits`, where its audio differs from the usual),
    `split_rule` (`splits.SplitRule`, where a split is not the corpus's own but made here), and
    `opened(root: str, audio: Path) -> Opened`, where users may name something else than a folder,
    or where audio stands inside other files: it is then written below the folder `audio`, which
    `prepare` keeps as `AUDIO` beside the cuts, and nowhere else. Names that it knows are listed,
    with a line on each, by `named() -> dict[str, str]`.
    """

    @property
    def splits(self) -> tuple[str, ...]:
        """The split names this corpus may have."""
        ...

    def utterances(self, root: Path) -> Found:
        """Yield every utterance the corpus names below `root`, or why a row of it is unusable.

        A `root` that has not this layout at all is a `ValueError` that says what was expected.
        """
        ...


class Opened(Corpus, Protocol):
    """A corpus that was found where its users said; `utterances` is then asked for `root`."""

    @property
    def root(self) -> Path:
        """Where it lies on disk."""
        ...

    @property
    def called(self) -> str:
        """What the report calls its place: its path, or a pinned OWNER/NAME@COMMIT."""
        ...

    @property
    def options(self) -> dict[str, str]:
        """Options that finding it settled, such as the preset of its name."""
        ...


def printable(path: Path | str) -> str:
    """Return a path or name as text that can be written: what UTF-8 cannot hold is escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def utterance_id(relative: str) -> str:
    """Turn a path relative to the corpus into an id: no suffix, no separators, no spaces.

    >>> utterance_id("audio/two words/001_01.flac")
    'audio_two_words_001_01'
    """
    head, dot, suffix = relative.rpartition(".")
    stem = head if dot and "/" not in suffix and head else relative
    return "_".join(stem.replace("/", " ").replace("\\", " ").split())
