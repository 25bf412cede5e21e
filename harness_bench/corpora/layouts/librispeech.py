"""LibriSpeech (OpenSLR 12) and Mini LibriSpeech (31): read English books.

lhotse's recipe opens every file one by one, passes over missing ones and stops at a line without
text; here `prepare` opens the audio, in parallel, and lists what is missing. The tests hold both
to the same ids, texts, speakers and files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance, printable
from harness_bench.corpora.formats import raw_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.corpora.base import Found

_PART = re.compile(r"(?:train|dev|test)-[a-z0-9-]{1,40}", re.ASCII)
_ID = re.compile(r"(\d{1,9})-(\d{1,9})-\d{1,9}", re.ASCII)
_GENDERS = {"F": "female", "M": "male"}
_CELLS = 3  # of a speaker's line that matter: number, sex, part


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """LibriSpeech: read English, 960 h train, dev and test; Mini LibriSpeech too.

    Expects `train-clean-100/SPEAKER/CHAPTER/*.flac` with `*.trans.txt`, and so on for whichever
    parts there are, below the folder given or its `LibriSpeech`. Fields: `part` (such as
    test-other) and `chapter`; gender where `SPEAKERS.TXT` is there.
    """

    splits: ClassVar = USUAL_SPLITS

    def utterances(self, root: Path) -> Found:
        """Yield all parts, by name; audio without a transcript has no text."""
        top = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
        genders = dict(_genders(top / "SPEAKERS.TXT"))
        item = None
        for part in raw_files.folders(top):
            speakers = raw_files.folders(part) if _PART.fullmatch(part.name) else []
            for chapter in (each for speaker in speakers for each in raw_files.folders(speaker)):
                for item in _of_chapter(chapter, part.name.partition("-")[0], genders):
                    yield item
        if item is None:
            raise ValueError(
                f"{root} holds no part of LibriSpeech. Expected folders such as "
                "train-clean-100/103/1240/ with 103-1240-0000.flac and 103-1240.trans.txt."
            )


def _of_chapter(chapter: Path, split: str, genders: dict[str, str]) -> Found:
    """Yield what the transcripts name, then the audio that they do not name."""
    named: set[str] = set()
    for path in raw_files.entries(chapter):
        for number, line in raw_files.lines(path) if path.name.endswith(".trans.txt") else ():
            uid, _, text = line.strip().partition(" ")
            if uid:
                named.add(uid)
                where = f"{printable(path)}:{number}"
                yield _utterance(uid, chapter, split, text.strip() or None, where, genders)
    for path in raw_files.audio_files(chapter):
        if path.stem not in named:
            uid = printable(path.stem)
            yield _utterance(uid, chapter, split, None, printable(chapter), genders)


def _utterance(
    uid: str, chapter: Path, split: str, text: str | None, where: str, genders: dict[str, str]
) -> Utterance | Skipped:
    match = _ID.fullmatch(uid)
    if match is None or match.groups() != (chapter.parent.name, chapter.name):
        detail = f"expected {chapter.parent.name}-{chapter.name}-NUMBER here"
        return Skipped(uid, Reason.BAD_ROW, printable(detail), where=where)
    return Utterance(
        id=uid,
        audio=chapter / f"{uid}.flac",
        split=split,
        text=text,
        speaker=f"librispeech_{match[1]}",
        gender=genders.get(match[1]),
        language="en",
        custom={"chapter": match[2], "part": chapter.parent.parent.name},
        where=where,
    )


def _genders(path: Path) -> Iterator[tuple[str, str]]:
    for _, line in raw_files.lines(path) if path.is_file() else ():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) >= _CELLS and not line.startswith(";") and cells[1] in _GENDERS:
            yield cells[0], _GENDERS[cells[1]]
