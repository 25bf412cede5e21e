"""GigaSpeech: English audiobooks, podcasts and YouTube, 10,000 h with times and transcripts.

lhotse's recipe needs the package speechcolab and all of GigaSpeech.json in memory; here the file
is read item by item. The tests hold both to the same ids, times, texts and files.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeGuard

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance, printable
from harness_bench.corpora.formats import raw_files

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.corpora.base import Found

METADATA = "GigaSpeech.json"
_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
_LONGEST_NAME = 1000
# A text of these alone says that there is no speech; GigaSpeech's own scoring leaves it out too.
_NO_SPEECH = frozenset({"<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>"})


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """GigaSpeech: transcribed English from audiobooks, podcasts and YouTube, up to 10,000 h.

    Expects `GigaSpeech.json` and the audio below the folder given. Fields: `cluster` (the
    recording), `genre` (audiobook, podcast, youtube) and `category`. Texts keep their tags for
    punctuation; segments tagged as silence, music or noise alone are left out.

    Attributes:
        subset: which training segments to take: XL (all), L, M, S or XS.
    """

    splits: ClassVar = USUAL_SPLITS

    subset: Literal["XL", "L", "M", "S", "XS"] = "XL"

    def utterances(self, root: Path) -> Found:
        """Yield the segments of the subset, of DEV and of TEST, in the file's order."""
        path = root / METADATA
        if not path.is_file():
            raise ValueError(
                f"There is no {path}. Give the folder that holds {METADATA} and audio/."
            )
        split_of = {"DEV": "dev", "TEST": "test", self.subset: "train"}  # the first counts
        for number, audio in enumerate(raw_files.json_list(path, "audios"), start=1):
            where = f"{printable(path)}, audio {number}"
            if problem := _problem(audio):
                name = audio.get("aid") if isinstance(audio, dict) else None
                uid = printable(name) if isinstance(name, str) else f"audio {number}"
                yield Skipped(uid, Reason.BAD_ROW, problem, where=where)
                continue
            for segment in audio["segments"]:
                names = _subsets(segment) or _subsets(audio)
                split = next((split for name, split in split_of.items() if name in names), "")
                if split or not names:  # else it was not asked for
                    yield _segment(root, audio, segment, split, where)


def _problem(audio: object) -> str | None:
    if not isinstance(audio, dict):
        return "the entry is no object"
    aid, path = audio.get("aid"), audio.get("path")
    if not isinstance(aid, str) or not _ID.fullmatch(aid):
        return "it has no aid"
    if not _is_name(path):
        return "it has no path"
    place = PurePosixPath(path)
    if place.is_absolute() or ".." in place.parts:
        return "its path leads out of the corpus"
    return None if isinstance(audio.get("segments"), list) else "it has no list of segments"


def _segment(
    root: Path, audio: dict[str, Any], segment: object, split: str, where: str
) -> Utterance | Skipped:
    if not isinstance(segment, dict) or not isinstance(segment.get("sid"), str):
        return Skipped(f"of {audio['aid']}", Reason.BAD_ROW, "segment without sid", where=where)
    uid, text, speaker = segment["sid"], segment.get("text_tn"), segment.get("speaker")
    start, end = (raw_files.seconds(segment.get(name)) for name in ("begin_time", "end_time"))
    if not _ID.fullmatch(uid) or not isinstance(text, str) or printable(text) != text:
        detail = "sid is no id, or text_tn no text"
        return Skipped(printable(uid), Reason.BAD_ROW, detail, where=where)
    if start is None or end is None or end <= start or not split:
        detail = "begin_time and end_time are no stretch of time" if split else "no subsets"
        return Skipped(uid, Reason.BAD_ROW, detail, where=where)
    if text.split() and set(text.split()) <= _NO_SPEECH:
        return Skipped(uid, Reason.BY_RULE, f"no speech: {text[:40]}", where=where)
    genre, category = audio.get("source"), audio.get("category")
    known = {"cluster": audio["aid"], "genre": genre, "category": category}
    return Utterance(
        id=uid,
        audio=root / audio["path"],
        split=split,
        start=start,
        duration=end - start,
        stated_duration=end - start,
        text=text.strip() or None,
        speaker=f"gigaspeech_{speaker}" if _is_name(speaker) and speaker != "N/A" else None,
        language="en",
        custom={name: value for name, value in known.items() if _is_name(value)},
        where=where,
    )


def _subsets(entry: object) -> set[str]:
    """Return the names of a segment's or a recording's subsets, written there as {XL}."""
    named = entry.get("subsets") if isinstance(entry, dict) else None
    return {str(name).strip("{}") for name in named} if isinstance(named, list) else set()


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) < _LONGEST_NAME
