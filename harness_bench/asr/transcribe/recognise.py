"""From recordings to transcripts by any recogniser of chunks; imports no torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from harness_bench.asr.transcribe.chunks import Chunk, Recording, read_chunks
from harness_bench.asr.transcribe.transcript import TimedWord, Transcript, segments_of
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.log import bar

LEAST = SAMPLE_RATE // 2  # samples; a shorter chunk is filled up with zeros
SPACE, WORD_START = "<space>", "\u2581"  # ESPnet's token between words, sentencepiece's before one
_SPAN = 38_400  # samples: a whole number of frames at any usual shift (10 ms times 1 to 12)
_SHORT = 16_000  # samples; every model gives frames of so many
_PARTS = 8  # of a frame, to which its place is measured


@dataclass(frozen=True)
class FrameGrid:
    """Where the encoder's frames lie: frame i is centred at `first + i * shift` samples."""

    shift: float
    first: float

    def seconds(self, start: int, end: int) -> tuple[float, float]:
        """Return when frames `start` to `end - 1` begin and end, in seconds."""
        begins, ends = ((self.first + (i - 0.5) * self.shift) / SAMPLE_RATE for i in (start, end))
        return begins, ends


def measure_grid(frames_of: Callable[[int], int]) -> FrameGrid:
    """Measure where a model's frames lie, whatever its frontend and subsampling are.

    A stack of strided layers gives floor((n - field) / shift) + 1 frames of n samples. Two lengths
    a multiple of the shift apart give it exactly; lengths in between tell the field.

    Args:
        frames_of: samples -> frames of the encoder.

    Raises:
        ValueError: the number of frames does not grow with the audio.
    """
    base = frames_of(_SHORT)
    more = frames_of(_SHORT + _SPAN) - base
    if base < 1 or more < 1:
        raise ValueError(
            f"The encoder gives {base} frames of 1 s and {more} more of {_SPAN / 16000} s more: "
            "it has no frames in time, so words cannot be timed."
        )
    shift = _SPAN / more
    step = shift / _PARTS
    # The largest step that adds no frame: so much was missing to the next frame.
    spare = next(
        (k for k in range(1, _PARTS) if frames_of(_SHORT + round(k * step)) > base), _PARTS
    )
    field = _SHORT + (spare - 0.5) * step - base * shift
    return FrameGrid(shift, field / 2)


def words_of(tokens: Sequence[str], token_type: str) -> list[list[int]]:
    """Group tokens into words: lists of indices; tokens that only part words are in none.

    Args:
        tokens: of the hypothesis, as text.
        token_type: ESPnet's: char, bpe, word; others are taken as words.
    """
    groups: list[list[int]] = []
    inside = False
    for index, token in enumerate(tokens):
        if token_type == "char" and token == SPACE:  # noqa: S105 - a unit of text
            inside = False
            continue
        starts = {"char": not inside, "bpe": not inside or token.startswith(WORD_START)}
        if starts.get(token_type, True):
            groups.append([])
        groups[-1].append(index)
        inside = True
    return groups


class Hypothesis(NamedTuple):
    """A hypothesis of one chunk."""

    text: str
    words: list[TimedWord]  # times from the chunk's beginning


class Recogniser(Protocol):
    """What turns chunks into words: a model of ESPnet's, or an exported graph."""

    batch_size: int  # chunks heard at a time

    def hear(self, waves: Sequence[NDArray[np.float32]]) -> list[Hypothesis]:
        """Return the hypothesis of each waveform, (samples,) float32 at 16 kHz."""


def transcripts(
    recogniser: Recogniser, recordings: Iterable[Recording], max_seconds: float
) -> Iterator[Transcript]:
    """Yield a transcript per recording, in order; one that cannot be read has its `problem`."""
    waiting: list[tuple[Transcript, Chunk]] = []
    opened: list[Transcript] = []  # all but the last have been read to the end
    for each, chunk in bar(_all_chunks(recordings, max_seconds), title="transcribe", unit="chunk"):
        if not opened or opened[-1] is not each:
            opened.append(each)
        if chunk is not None and not chunk.silent:
            waiting.append((each, chunk))
        if len(waiting) >= recogniser.batch_size:
            _decode(recogniser, waiting)
        if not waiting:
            yield from opened[:-1]
            del opened[:-1]
    _decode(recogniser, waiting)
    yield from opened


def _all_chunks(
    recordings: Iterable[Recording], max_seconds: float
) -> Iterator[tuple[Transcript, Chunk | None]]:
    """Yield the chunks of each recording; one that cannot be read comes once without any."""
    for recording in recordings:
        each = Transcript(recording.path, recording.name)
        try:
            for chunk in read_chunks(recording.path, max_seconds):
                each.duration = chunk.start + chunk.duration
                yield each, chunk
        except ValueError as error:  # nothing is told but the problem
            told = getattr(error, "detail", str(error))  # the file's name stands beside it
            each.problem, each.duration = " ".join(told.split()), 0.0
            each.segments.clear()
        if not each.duration:
            yield each, None


def _decode(recogniser: Recogniser, waiting: list[tuple[Transcript, Chunk]]) -> None:
    """Decode what waits, and give each recording its segments."""
    if not waiting:
        return
    results = recogniser.hear([chunk.samples for _, chunk in waiting])
    for (each, chunk), heard in zip(waiting, results, strict=True):
        if not each.problem:
            words = [word.moved(chunk.start) for word in heard.words]
            each.segments += segments_of(words, chunk.start, chunk.start + chunk.duration)
    waiting.clear()
