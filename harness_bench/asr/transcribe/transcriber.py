"""Transcribe recordings with a trained ASR model: what was said, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from harness_bench.asr.transcribe.align import align, confidence, measure_grid, words_of
from harness_bench.asr.transcribe.chunks import Chunk, Recording, find_recordings, read_chunks
from harness_bench.asr.transcribe.model import OpenOptions, open_model
from harness_bench.asr.transcribe.transcript import (
    TimedWord,
    Transcript,
    TranscriptSegment,
    segments_of,
)
from harness_bench.audio.batching import pad
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.log import bar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

MAX_SECONDS = 20.0  # longest chunk; recipes train on utterances of up to so many
_LEAST = SAMPLE_RATE // 2  # samples; a shorter chunk is filled up with zeros


class Hypothesis(NamedTuple):
    """A hypothesis of one chunk."""

    text: str
    words: list[TimedWord]  # times from the chunk's beginning


class Transcriber:
    """A model with what is needed to say when its words were said.

    Args:
        model: see `open_model`.
        opening: see `OpenOptions`.
    """

    def __init__(self, model: Path, opening: OpenOptions | None = None) -> None:
        opening = opening or OpenOptions()
        self.batch_size = opening.batch_size
        self.speech2text = open_model(model, opening)
        self.asr = self.speech2text.asr_model
        self.token_type = self.speech2text.asr_train_args.token_type
        self.timed = getattr(self.asr, "ctc", None) is not None
        self.grid = measure_grid(self._frames_of) if self.timed else None

    def _frames_of(self, samples: int) -> int:
        return int(self._encode([torch.zeros(samples).numpy()])[1][0])

    @torch.inference_mode()
    def _encode(self, waves: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
        """Return the encoder's output (B, F, D) and its frames (B,) of waveforms at 16 kHz."""
        samples, lengths = pad(waves)
        device = self.speech2text.device
        encoded, frames = self.asr.encode(samples.to(device), lengths.to(device))
        # A model with CTC between its layers returns that too.
        return (encoded[0] if isinstance(encoded, tuple) else encoded), frames

    @torch.inference_mode()
    def hear(self, waves: Sequence[NDArray[np.float32]]) -> list[Hypothesis]:
        """Return the best hypothesis of each waveform, (samples,) float32 at 16 kHz.

        Raises:
            RuntimeError: the device has too little memory for a batch.
        """
        lengths = [len(wave) for wave in waves]
        try:
            encoded, frames = self._encode([_filled(wave) for wave in waves])
            results = self._search(encoded, frames)
        except torch.cuda.OutOfMemoryError as error:
            raise RuntimeError(
                f"Out of memory at chunks of {max(lengths) / SAMPLE_RATE:.1f} s; use a smaller "
                "--batch-size, --beam or --max-seconds."
            ) from error
        log_probs = self.asr.ctc.log_softmax(encoded) if self.timed else [None] * len(waves)
        return [
            self._heard(tokens, None if scores is None else scores[: int(count)], length)
            for tokens, scores, count, length in zip(
                results, log_probs, frames, lengths, strict=True
            )
        ]

    def _search(self, encoded: Tensor, frames: Tensor) -> list[list[int]]:
        """Return the tokens of each utterance's best hypothesis."""
        opened = self.speech2text
        ratios = {"maxlenratio": opened.maxlenratio, "minlenratio": opened.minlenratio}
        if len(encoded) > 1:
            found = opened.beam_search(x=encoded, x_lengths=frames, **ratios)
        else:
            found = [opened.beam_search(x=encoded[0, : int(frames[0])], **ratios)]
        # Without <sos> and <eos>; the search may put blanks between.
        tokens = [best[0].yseq[1:-1].tolist() for best in found]
        return [[token for token in each if token != self.asr.blank_id] for each in tokens]

    def _heard(self, numbers: list[int], log_probs: Tensor | None, samples: int) -> Hypothesis:
        opened = self.speech2text
        tokens = opened.converter.ids2tokens(numbers)
        text = str(opened.tokenizer.tokens2text(tokens))
        spans = None if log_probs is None else align(log_probs, numbers, self.asr.blank_id)
        words = []
        for group in words_of(tokens, self.token_type):
            word = opened.tokenizer.tokens2text([tokens[index] for index in group]).strip()
            if spans is None or self.grid is None:
                words.append(TimedWord(word, None, None, None))
                continue
            own = [spans[index] for index in group]
            times = self.grid.seconds(own[0].start, own[-1].end, SAMPLE_RATE)
            start, end = (min(max(time, 0.0), samples / SAMPLE_RATE) for time in times)
            words.append(TimedWord(word, start, end, confidence(own)))
        return Hypothesis(text, [word for word in words if word.word])


def _filled(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add zeros to a chunk that the encoder would find too short."""
    return np.pad(wave, (0, max(_LEAST - len(wave), 0)))


@dataclass
class _Unfinished:
    """A recording of which chunks are still to come."""

    recording: Recording
    duration: float = 0.0
    segments: list[TranscriptSegment] = field(default_factory=list)
    problem: str = ""

    def transcript(self) -> Transcript:
        """Return what is known at the end; of a recording with a problem nothing but that."""
        path, name = self.recording.path, self.recording.name
        if self.problem:
            return Transcript(path, name, problem=self.problem)
        return Transcript(path, name, self.duration, tuple(self.segments))


def transcribe(
    model: Transcriber | str | Path,
    audio: str | Path | Iterable[str | Path | Recording],
    *,
    max_seconds: float = MAX_SECONDS,
    **opening: Any,
) -> Iterator[Transcript]:
    """Yield a transcript per recording, in order; each comes once the next is begun.

    A recording that cannot be read has its reason as `problem` and does not affect the others.

    Args:
        model: a pack, an unpacked one or a training's folder (see `open_model`), or an open one.
        audio: files of any length, rate and number of channels, or folders of them.
        max_seconds: longest chunk, see `read_chunks`. Silent chunks are not decoded.
        opening: fields of `OpenOptions`, such as device="cuda" or beam=5, for a model to be opened.

    Returns:
        one transcript per recording; one that cannot be read has its reason as `problem` and does
        not affect the others.

    Raises:
        ValueError: no model there, or a folder without audio.
    """
    given = [audio] if isinstance(audio, str | Path) else [*audio]
    recordings = [
        found
        for each in given
        for found in ([each] if isinstance(each, Recording) else find_recordings([Path(each)]))
    ]
    if not isinstance(model, Transcriber):
        model = Transcriber(Path(model), OpenOptions(**opening))
    return _transcripts(model, recordings, max_seconds)


def _transcripts(
    transcriber: Transcriber, recordings: Iterable[Recording], max_seconds: float
) -> Iterator[Transcript]:
    waiting: list[tuple[_Unfinished, Chunk]] = []
    opened: list[_Unfinished] = []  # all but the last have been read to the end
    for each, chunk in bar(_all_chunks(recordings, max_seconds), title="transcribe", unit="chunk"):
        if not opened or opened[-1] is not each:
            opened.append(each)
        if chunk is not None and not chunk.silent:
            waiting.append((each, chunk))
        if len(waiting) >= transcriber.batch_size:
            _decode(transcriber, waiting)
        if not waiting:
            yield from (done.transcript() for done in opened[:-1])
            del opened[:-1]
    _decode(transcriber, waiting)
    yield from (done.transcript() for done in opened)


def _all_chunks(
    recordings: Iterable[Recording], max_seconds: float
) -> Iterator[tuple[_Unfinished, Chunk | None]]:
    """Yield the chunks of each recording; one that cannot be opened comes once, without any."""
    for recording in recordings:
        each = _Unfinished(recording)
        try:
            for chunk in read_chunks(recording.path, max_seconds):
                each.duration = chunk.start + chunk.duration
                yield each, chunk
        except ValueError as error:
            each.problem = " ".join(str(error).split())
        if not each.duration:
            yield each, None


def _decode(transcriber: Transcriber, waiting: list[tuple[_Unfinished, Chunk]]) -> None:
    """Decode what waits, and give each recording its segments."""
    if not waiting:
        return
    results = transcriber.hear([chunk.samples for _, chunk in waiting])
    for (each, chunk), heard in zip(waiting, results, strict=True):
        words = [word.moved(chunk.start) for word in heard.words]
        each.segments += segments_of(words, chunk.start, chunk.start + chunk.duration)
    waiting.clear()
