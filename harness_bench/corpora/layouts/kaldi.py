"""Data folders of Kaldi and ESPnet: wav.scp, text, utt2spk, segments; a folder for each split."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.core.log import say
from harness_bench.core.sanitize import visible
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance, printable
from harness_bench.corpora.formats.kaldi import Span, keyed, read_segments
from harness_bench.corpora.formats.raw_files import folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.corpora.base import Found

_SCP = "wav.scp"
_ABOVE = 3  # how far above the folder given relative paths may start: dump/raw/org of a recipe
_GENDERS = {"m": "male", "f": "female"}
_NOT_RUN = (
    "a command, and commands of data are not run; write its output to a file (ESPnet's stage 3 has "
    "done so: give its folder dump/raw)"
)
_ARK = "a place inside an archive of Kaldi; write audio files (asr.sh --audio_format flac)"


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """Data folders of Kaldi or ESPnet: wav.scp, text, utt2spk, segments of train, dev and test.

    Expects `{train,dev,test}/wav.scp` below the folder given, such as the `data` or `dump/raw` of a
    recipe, and beside it `text`, `utt2spk`, `segments` and `spk2gender` where they exist. Relative
    paths of wav.scp start at the folder given or up to three above it. A split without a folder is
    left out. wav.scp has to name files: its commands (`sox ... |`) are not run.

    Attributes:
        train: name of the data folder that becomes train.
        dev: name of the one that becomes dev, such as valid.
        test: name of the one that becomes test, such as eval.
        language: language tag of all speech here, if known.
    """

    splits: ClassVar = USUAL_SPLITS

    train: str = "train"
    dev: str = "dev"
    test: str = "test"
    language: str | None = None

    def utterances(self, root: Path) -> Found:
        """Yield what the data folders name, split by split, in their order."""
        names = {"train": self.train, "dev": self.dev, "test": self.test}
        there = {split: name for split, name in names.items() if (root / name / _SCP).is_file()}
        others = [each.name for each in folders(root) if (each / _SCP).is_file()]
        unread = visible(", ".join(sorted({*others} - {*there.values()})))
        if not there:
            raise ValueError(_expected(root, names, unread))
        if unread:
            say(f"{root}: not read: {unread}; options such as dev=NAME choose other data folders")
        for split, name in there.items():
            yield from _DataFolder(root, name, split, self.language).utterances()


def _expected(root: Path, names: dict[str, str], unread: str) -> str:
    """Return what is wrong with a root that has none of the data folders."""
    if (root / _SCP).is_file():
        return (
            f"{root} is one data folder. Give the folder above it, {root.absolute().parent}, and "
            f"say which split it is by an option such as test={root.absolute().name}."
        )
    places = ", ".join(f"{name}/{_SCP}" for name in names.values())
    found = f"data folders {unread}" if unread else "no data folder"
    return (
        f"{root} has none of {places}; found {found}. Name them by options: train=NAME, dev=NAME, "
        "test=NAME."
    )


class _DataFolder:
    """One data folder: recordings, and what its other files say of them."""

    def __init__(self, root: Path, name: str, split: str, language: str | None) -> None:
        self.folder, self.split, self.language = root / name, split, language
        above = root.absolute()
        self.bases = [above, *above.parents][: _ABOVE + 1]
        self.texts = self._map("text")
        self.speakers = self._map("utt2spk")
        self.genders = self._map("spk2gender")

    def utterances(self) -> Iterator[Utterance | Skipped]:
        """Yield the segments, or the whole recordings where there is no `segments`."""
        seen = set()
        for item in self._segments() if (self.folder / "segments").is_file() else self._whole():
            seen.add(item.id)
            yield item
        lost = [uid for uid in self.texts if uid not in seen]
        if lost:
            say(
                f"{self.folder}: {len(lost)} lines of text have no audio, such as "
                f"{visible(lost[0])}"
            )

    def _map(self, name: str) -> dict[str, str]:
        path = self.folder / name
        found: dict[str, str] = {}
        for key, text, _ in keyed(path) if path.is_file() else ():
            found.setdefault(key, text)
        return found

    def _recordings(self) -> Iterator[tuple[str, str, str]]:
        path = self.folder / _SCP
        for key, source, number in keyed(path):
            yield key, source, f"{printable(path)}:{number}"

    def _whole(self) -> Iterator[Utterance | Skipped]:
        for uid, source, where in self._recordings():
            yield self._utterance(uid, source, where, None)

    def _segments(self) -> Iterator[Utterance | Skipped]:
        sources = {key: source for key, source, _ in self._recordings()}
        for row in read_segments(self.folder / "segments", printable(self.folder)):
            if isinstance(row, Skipped):
                yield row
                continue
            uid, span, where = row
            if span.recording not in sources:
                detail = f"{_SCP} has no recording {span.recording!r}"
                yield Skipped(uid, Reason.MISSING_FILE, detail, span.recording, where)
                continue
            yield self._utterance(uid, sources[span.recording], where, span)

    def _utterance(
        self, uid: str, source: str, where: str, span: Span | None
    ) -> Utterance | Skipped:
        if problem := _unusable(source):
            return Skipped(uid, Reason.BAD_ROW, f"{source[:80]!r} is {problem}", where=where)
        speaker = self.speakers.get(uid) or None
        gender = self.genders.get(speaker or "")
        return Utterance(
            id=uid,
            audio=self._place(source),
            split=self.split,
            start=span.start if span else 0.0,
            duration=round(span.end - span.start, 6) if span else None,
            text=self.texts.get(uid) or None,
            speaker=speaker,
            language=self.language,
            gender=_GENDERS.get(gender, gender) if gender else None,
            where=where,
        )

    def _place(self, source: str) -> Path:
        """Return the file of a path; the place where the last one was found is tried first."""
        for base in self.bases:
            if os.path.isfile(base / source):  # noqa: PTH113 - raises nothing, however long the name
                self.bases.remove(base)
                self.bases.insert(0, base)
                return base / source
        return self.bases[0] / source


def _unusable(source: str) -> str:
    """Return why an entry of wav.scp names no file of audio; empty if it may."""
    if not source:
        return "no path"
    if source.endswith("|") or source.startswith("|"):
        return _NOT_RUN
    head, colon, offset = source.rpartition(":")
    return _ARK if colon and head.endswith(".ark") and offset.isdigit() else ""
