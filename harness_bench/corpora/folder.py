"""Any tree of audio files, without transcripts or labels: all of it is training speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from harness_bench.config import STRICT
from harness_bench.corpora.base import AUDIO_SUFFIXES, Utterance, utterance_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """Any tree of audio files; the whole tree is one split.

    Expects audio files at any depth below the folder given; hidden files and folders are not read.

    Attributes:
        split: the split that all files go into.
        language: language tag of all speech here, if known.
        speaker_level: how many folder names below the root name the speaker (1 takes
            `root/SPEAKER/...`); 0 leaves the speaker unknown.
    """

    split: str = "train"
    language: str | None = None
    speaker_level: int = 0

    @property
    def splits(self) -> tuple[str, ...]:
        """The one split of this tree."""
        return (self.split,)

    def utterances(self, root: Path) -> Iterator[Utterance]:
        """Yield every audio file below `root`, by path; hidden files and folders are not read."""
        if not root.is_dir():
            raise ValueError(f"{root} is not a folder; give the root of a tree of audio files.")
        count = 0
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            hidden = any(part.startswith(".") for part in relative.parts)
            if hidden or path.suffix.lower() not in AUDIO_SUFFIXES or not path.is_file():
                continue
            count += 1
            folders = relative.parts[:-1][: self.speaker_level]
            yield Utterance(
                id=utterance_id(relative.as_posix()),
                audio=path,
                split=self.split,
                language=self.language,
                speaker="_".join(folders) or None,
                where=str(root),
            )
        if not count:
            kinds = ", ".join(sorted(AUDIO_SUFFIXES))
            raise ValueError(f"{root} holds no audio file; looked for {kinds} at any depth.")
