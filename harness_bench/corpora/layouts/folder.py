"""Any tree of audio files, without transcripts, such as crawled speech: all of it is trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.audio.io import AUDIO_SUFFIXES
from harness_bench.core.config import STRICT
from harness_bench.core.files import Aside, paths_below
from harness_bench.core.log import say
from harness_bench.corpora.base import (
    Reason,
    Skipped,
    Utterance,
    printable,
    utterance_id,
)

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.corpora.base import Found

# What usually lies beside audio, by suffix or by name: listed, and not worth a line.
_BESIDE_AUDIO = frozenset(
    {".txt", ".json", ".jsonl", ".lab", ".textgrid", ".trn", ".ctm", ".stm", ".srt", ".vtt", ".xml"}
    | {".csv", ".tsv", ".md", ".html", ".pdf", ".jpg", ".png", ".yaml", ".log", ".md5", ".sha256"}
    | {"license", "readme", "thumbs.db", "desktop.ini"}
)


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """Any tree of audio files; the whole tree is one split.

    Expects audio files at any depth below the folder given; hidden files and folders are not read.
    Links to folders are followed, each folder once. Files of other suffixes are listed by suffix.

    Attributes:
        split: the split that all files go into.
        language: language tag of all speech here, if known.
        speaker_level: how many folder names below the root name the speaker (1 takes
            `root/SPEAKER/...`); 0 leaves the speaker unknown.
        tag_level: which folder below the root is a tag of all audio in it, such as a country (1
            takes `root/TAG/...`); 0 for none. Audio that lies above it has no tag.
        tag: the field that the tag goes into, such as country, dialect or language.
    """

    split: str = "train"
    language: str | None = None
    speaker_level: int = Field(default=0, ge=0)
    tag_level: int = Field(default=0, ge=0)
    tag: str = Field(default="country", pattern=r"^[a-z_]+$")

    def __post_init__(self) -> None:
        """Refuse tags that would be read as absent: a cut has these beside its other fields."""
        if self.tag in ("speaker", "text"):
            raise ValueError(
                f"tag = {self.tag!r} is not a tag; speaker_level reads speakers from folders"
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """The one split of this tree."""
        return (self.split,)

    def utterances(self, root: Path) -> Found:
        """Yield every audio file below `root`, by path, and what could not be read."""
        if not root.is_dir():
            raise ValueError(f"{root} is not a folder; give the root of a tree of audio files.")
        aside, empty = Aside(), True
        for path in paths_below(root, AUDIO_SUFFIXES, aside):
            empty = False
            yield self._utterance(root, path.relative_to(root))
        if empty:
            kinds = ", ".join(sorted(AUDIO_SUFFIXES))
            raise ValueError(
                f"{root} holds no audio file; looked for {kinds} at any depth; found "
                f"{aside.held()}."
            )
        yield from _passed_over(root, aside)

    def _utterance(self, root: Path, relative: Path) -> Utterance | Skipped:
        uid, audio = utterance_id(relative.as_posix()), root / relative
        if printable(uid) != uid:
            unnamed = Utterance(printable(uid), audio, where=printable(root))
            return unnamed.skipped(Reason.UNREADABLE, "its path is not UTF-8; rename it")
        folders = relative.parts[:-1]
        tag = dict(enumerate(folders, start=1)).get(self.tag_level)
        known = {self.tag: tag} if tag else {}
        plain = {name: known.pop(name, None) for name in ("language", "gender")}
        return Utterance(
            id=uid,
            audio=audio,
            split=self.split,
            language=plain["language"] or self.language,
            gender=plain["gender"],
            speaker="_".join(folders[: self.speaker_level]) or None,
            custom=known,
            where=printable(audio),
        )


def _passed_over(root: Path, aside: Aside) -> Found:
    """Yield what stands in the tree and is no utterance, or may have held some."""

    def skipped(path: Path, reason: Reason, detail: str) -> Skipped:
        name = printable(path.relative_to(root))
        return Skipped(name, reason, printable(detail), printable(path), printable(root))

    for path, why in aside.lost:
        missing = path.is_symlink() and not path.exists()
        yield skipped(
            path, Reason.MISSING_FILE if missing else Reason.UNREADABLE, f"it cannot be read: {why}"
        )
    for path, other in aside.again:
        yield skipped(path, Reason.READ_ELSEWHERE, f"a link to {other}")
    for suffix, (count, first) in sorted(aside.others.items()):
        files = f"{count} file{'s' * (count > 1)}"
        item = skipped(first, Reason.OTHER_FILES, f"{files} such as {first.relative_to(root)}")
        yield replace(item, id=f"{printable(suffix) or 'no suffix'}: {files}")
    unusual = sum(
        count
        for suffix, (count, first) in aside.others.items()
        if suffix not in _BESIDE_AUDIO and first.name.lower() not in _BESIDE_AUDIO
    )
    if unusual:
        say(f"{root}: {unusual} files have no suffix of audio and are not read ({aside.kinds()})")
