"""What was said in a recording and when, as text, subtitles, a table or JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

VERSION = 1  # of the JSON; raised whenever a field changes its meaning or goes
CUE_SECONDS, CUE_CHARACTERS, CUE_PAUSE = 7.0, 84, 0.6  # two lines of 42, as broadcasters do it


@dataclass(frozen=True)
class TimedWord:
    """A word; times in seconds from the recording's beginning, None where CTC gives none."""

    word: str
    start: float | None
    end: float | None
    confidence: float | None  # CTC's probability at its frames, 0 to 1

    def moved(self, seconds: float) -> Self:
        """Return the word with its times moved."""
        if self.start is None or self.end is None:
            return self
        return replace(self, start=self.start + seconds, end=self.end + seconds)


@dataclass(frozen=True)
class TranscriptSegment:
    """Words that belong together: one subtitle."""

    start: float
    end: float
    words: tuple[TimedWord, ...]

    @property
    def text(self) -> str:
        """The words with spaces between."""
        return " ".join(word.word for word in self.words)


@dataclass
class Transcript:
    """A recording's words, or why there are none (`problem`)."""

    file: Path
    name: Path  # below the folder that was given
    duration: float = 0.0  # seconds
    segments: list[TranscriptSegment] = field(default_factory=list)
    problem: str = ""

    @property
    def text(self) -> str:
        """All words with spaces between."""
        return " ".join(segment.text for segment in self.segments)


def segments_of(words: Sequence[TimedWord], start: float, end: float) -> list[TranscriptSegment]:
    """Split the words of a chunk, from `start` to `end` seconds, into what a subtitle can show.

    A segment ends before a pause of 0.6 s, and before the word with which it would be longer than
    7 s or 84 characters. Where words have no times, the chunk is one segment.
    """
    if not words:
        return []
    if any(word.start is None or word.end is None for word in words):
        return [TranscriptSegment(start, end, tuple(words))]
    groups = [[words[0]]]
    for last, word in pairwise(words):
        if _breaks(groups[-1], last, word):
            groups.append([])
        groups[-1].append(word)
    return [TranscriptSegment(_time(g[0].start), _time(g[-1].end), tuple(g)) for g in groups]


def _breaks(group: Sequence[TimedWord], last: TimedWord, word: TimedWord) -> bool:
    length = sum(len(each.word) + 1 for each in group) + len(word.word)
    return (
        _time(word.start) - _time(last.end) > CUE_PAUSE
        or _time(word.end) - _time(group[0].start) > CUE_SECONDS
        or length > CUE_CHARACTERS
    )


def _time(value: float | None) -> float:
    assert value is not None  # asked for only where every word has times
    return value


def as_txt(transcript: Transcript, *, alone: bool) -> str:
    """Return the text as one line, the file and a tab before it unless it is alone."""
    return f"{transcript.text}\n" if alone else f"{transcript.file}\t{transcript.text}\n"


def as_tsv(transcript: Transcript, *, alone: bool) -> str:  # noqa: ARG001 - one signature for all
    """Return one row per segment: file, start and end in seconds, text."""
    return "".join(
        f"{transcript.file}\t{s.start:.3f}\t{s.end:.3f}\t{s.text}\n" for s in transcript.segments
    )


def as_json(transcript: Transcript, *, alone: bool) -> str:  # noqa: ARG001
    """Return one line of JSON, equal for equal input: fixed fields and order, times to 1 ms."""
    value: dict[str, Any] = {
        "version": VERSION,
        "file": str(transcript.file),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "segments": [
            {
                "start": round(s.start, 3), "end": round(s.end, 3), "text": s.text,
                "words": [_word(word) for word in s.words],
            }
            for s in transcript.segments
        ],
        "problem": transcript.problem or None,
    }  # fmt: skip
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def _word(word: TimedWord) -> dict[str, Any]:
    numbers = {"start": word.start, "end": word.end, "confidence": word.confidence}
    return {"word": word.word} | {k: v if v is None else round(v, 3) for k, v in numbers.items()}


def as_srt(transcript: Transcript, *, alone: bool) -> str:  # noqa: ARG001
    """Return SubRip subtitles."""
    return "\n".join(
        f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{s.text}\n"
        for number, s in enumerate(transcript.segments, start=1)
    )


def as_vtt(transcript: Transcript, *, alone: bool) -> str:  # noqa: ARG001
    """Return WebVTT subtitles."""
    # These three signs would be markup; an arrow would end the cue.
    escaped = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
    cues = (
        f"\n{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{s.text.translate(escaped)}\n"
        for s in transcript.segments
    )
    return "WEBVTT\n" + "".join(cues)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


FORMATS: dict[str, Callable[..., str]] = {
    "txt": as_txt, "json": as_json, "srt": as_srt, "vtt": as_vtt, "tsv": as_tsv,
}  # fmt: skip
ONE_FILE_EACH = frozenset({"srt", "vtt"})  # players expect a file of one recording
HEADERS = {"tsv": "file\tstart\tend\ttext\n"}  # once at the top of a file
