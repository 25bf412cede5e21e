"""Transcribe recordings with a trained ASR model: what was said, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch

from harness_bench.asr.transcribe.align import align, confidence, measure_grid, spoken, words_of
from harness_bench.asr.transcribe.opening import Opening, open_model
from harness_bench.asr.transcribe.segment import Piece, Recording, read_pieces
from harness_bench.asr.transcribe.transcript import Segment, Transcript, Word, segments_of
from harness_bench.audio.batching import pad
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.log import bar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

MAX_SECONDS = 20.0  # longest piece; recipes train on utterances of up to so many
_LEAST = SAMPLE_RATE // 2  # samples; a shorter piece is filled up with zeros


class Heard(NamedTuple):
    """A hypothesis of one piece."""

    text: str
    words: list[Word]  # times from the piece's beginning


class Transcriber:
    """A model with what is needed to say when its words were said.

    Args:
        model: see `open_model`.
        opening: see `Opening`.
    """

    def __init__(self, model: Path, opening: Opening | None = None) -> None:
        opening = opening or Opening()
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
    def hear(self, waves: Sequence[NDArray[np.float32]]) -> list[Heard]:
        """Recognise some pieces of speech at once.

        Args:
            waves: (samples,) float32 at 16 kHz each.

        Returns:
            the best hypothesis of each, in the same order.

        Raises:
            RuntimeError: the device has too little memory for a batch.
        """
        lengths = [len(wave) for wave in waves]
        try:
            encoded, frames = self._encode([_filled(wave) for wave in waves])
            results = self._search(encoded, frames)
        except torch.cuda.OutOfMemoryError as error:
            raise RuntimeError(
                f"Out of memory at pieces of {max(lengths) / SAMPLE_RATE:.1f} s; use a smaller "
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

    def _heard(self, numbers: list[int], log_probs: Tensor | None, samples: int) -> Heard:
        opened = self.speech2text
        tokens = opened.converter.ids2tokens(numbers)
        text = str(opened.tokenizer.tokens2text(tokens))
        spans = None if log_probs is None else align(log_probs, numbers, self.asr.blank_id)
        words = []
        for group in words_of(tokens, self.token_type):
            word = spoken(opened.tokenizer.tokens2text, tokens, group)
            if spans is None or self.grid is None:
                words.append(Word(word, None, None, None))
                continue
            own = [spans[index] for index in group]
            times = self.grid.seconds(own[0].start, own[-1].end, SAMPLE_RATE)
            start, end = (min(max(time, 0.0), samples / SAMPLE_RATE) for time in times)
            words.append(Word(word, start, end, confidence(own)))
        return Heard(text, [word for word in words if word.word])


def _filled(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add zeros to a piece that the encoder would find too short."""
    import numpy as np  # noqa: PLC0415 - torch is imported for annotations anyway

    return np.pad(wave, (0, max(_LEAST - len(wave), 0)))


@dataclass
class _Open:
    """A recording of which pieces are still to come."""

    recording: Recording
    duration: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    problem: str = ""

    def closed(self) -> Transcript:
        """Return what is known at the end; of a recording with a problem nothing but that."""
        path, name = self.recording.path, self.recording.name
        if self.problem:
            return Transcript(path, name, problem=self.problem)
        return Transcript(path, name, self.duration, tuple(self.segments))


def transcribe(
    transcriber: Transcriber, recordings: Iterable[Recording], *, max_seconds: float = MAX_SECONDS
) -> Iterator[Transcript]:
    """Transcribe recordings, in order; each comes once the next is begun.

    Args:
        transcriber: the model.
        recordings: files of any length, rate and number of channels.
        max_seconds: longest piece, see `read_pieces`. Silent pieces are not decoded.

    Yields:
        one transcript per recording; one that cannot be read has its reason as `problem` and does
        not affect the others.
    """
    waiting: list[tuple[_Open, Piece]] = []
    opened: list[_Open] = []  # all but the last have been read to the end
    for each, piece in bar(_all_pieces(recordings, max_seconds), title="transcribe", unit="piece"):
        if not opened or opened[-1] is not each:
            opened.append(each)
        if piece is not None and not piece.silent:
            waiting.append((each, piece))
        if len(waiting) >= transcriber.batch_size:
            _decode(transcriber, waiting)
        if not waiting:
            yield from (done.closed() for done in opened[:-1])
            del opened[:-1]
    _decode(transcriber, waiting)
    yield from (done.closed() for done in opened)


def _all_pieces(
    recordings: Iterable[Recording], max_seconds: float
) -> Iterator[tuple[_Open, Piece | None]]:
    """Yield the pieces of each recording; one that cannot be opened comes once, without any."""
    for recording in recordings:
        each = _Open(recording)
        try:
            for piece in read_pieces(recording.path, max_seconds):
                each.duration = piece.start + piece.duration
                yield each, piece
        except ValueError as error:
            each.problem = " ".join(str(error).split())
        if not each.duration:
            yield each, None


def _decode(transcriber: Transcriber, waiting: list[tuple[_Open, Piece]]) -> None:
    """Decode what waits, and give each recording its segments."""
    if not waiting:
        return
    results = transcriber.hear([piece.samples for _, piece in waiting])
    for (each, piece), heard in zip(waiting, results, strict=True):
        words = [_moved(word, piece.start) for word in heard.words]
        each.segments += segments_of(words, piece.start, piece.start + piece.duration)
    waiting.clear()


def _moved(word: Word, by: float) -> Word:
    if word.start is None or word.end is None:
        return word
    return Word(word.word, word.start + by, word.end + by, word.confidence)
