"""Transcribe recordings with a trained ASR model: what was said, and when.

Words are timed by CTC forced alignment of the hypothesis, and frames as seconds.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.functional import TokenSpan, forced_align, merge_tokens

from harness_bench.asr.transcribe.chunks import Recording, find_recordings
from harness_bench.asr.transcribe.pack import OpenOptions, open_model
from harness_bench.asr.transcribe.recognise import (
    LEAST,
    Hypothesis,
    measure_grid,
    transcripts,
    words_of,
)
from harness_bench.asr.transcribe.transcript import TimedWord, Transcript
from harness_bench.audio.batching import pad
from harness_bench.audio.frames import SAMPLE_RATE

MAX_SECONDS = 20.0  # longest chunk; recipes train on utterances of up to so many


def align(log_probs: Tensor, tokens: Sequence[int], blank: int) -> list[TokenSpan] | None:
    """Return the most probable frames of each token, in order.

    Args:
        log_probs: (F, V) float, of CTC.
        tokens: of the hypothesis, without blanks.
        blank: its index in V.

    Returns:
        one span per token: its frames `start` to `end - 1` and their mean log-probability `score`.
        None where so many tokens do not fit into the frames (an attention decoder may write more
        than was said).
    """
    if not tokens:
        return []
    repeats = sum(a == b for a, b in pairwise(tokens))
    if len(tokens) + repeats > len(log_probs):
        return None
    target = torch.tensor([list(tokens)], dtype=torch.int32)
    path, scores = forced_align(log_probs[None].float().cpu(), target, blank=blank)
    spans: list[TokenSpan] = merge_tokens(path[0], scores[0], blank=blank)
    return spans


def confidence(spans: Sequence[TokenSpan]) -> float:
    """Return CTC's mean probability (geometric) over the frames of some tokens, from 0 to 1."""
    frames = sum(map(len, spans))
    return math.exp(sum(span.score * len(span) for span in spans) / frames)


class Transcriber:
    """A model (see `open_model`) with what is needed to say when its words were said."""

    def __init__(self, model: Path, opening: OpenOptions | None = None) -> None:
        opening = opening or OpenOptions()
        self.batch_size = opening.batch_size
        self.speech2text = open_model(model, opening)
        self.asr = self.speech2text.asr_model
        self.token_type = self.speech2text.asr_train_args.token_type
        self.timed = getattr(self.asr, "ctc", None) is not None
        self.grid = measure_grid(self._frames_of) if self.timed else None

    def _frames_of(self, samples: int) -> int:
        return int(self._encode([np.zeros(samples, np.float32)])[1][0])

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
            long_enough = [np.pad(wave, (0, max(LEAST - len(wave), 0))) for wave in waves]
            encoded, frames = self._encode(long_enough)
            results = self._search(encoded, frames)
        except torch.cuda.OutOfMemoryError as error:
            raise RuntimeError(
                f"Out of memory at chunks of {max(lengths) / SAMPLE_RATE:.1f} s; use a smaller "
                "--batch-size, --beam or --max-seconds."
            ) from error
        log_probs = self.asr.ctc.log_softmax(encoded) if self.timed else [None] * len(waves)
        rows = zip(results, log_probs, frames, lengths, strict=True)
        return [
            self._heard(tokens, None if scores is None else scores[: int(count)], length)
            for tokens, scores, count, length in rows
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
            times = self.grid.seconds(own[0].start, own[-1].end)
            start, end = (min(max(time, 0.0), samples / SAMPLE_RATE) for time in times)
            words.append(TimedWord(word, start, end, confidence(own)))
        return Hypothesis(text, [word for word in words if word.word])


def transcribe(
    model: Transcriber | str | Path,
    audio: str | Path | Iterable[str | Path | Recording],
    *,
    max_seconds: float = MAX_SECONDS,
    **opening: Any,
) -> Iterator[Transcript]:
    """Yield a transcript per recording, in order; each is yielded when the next has started.

    Args:
        model: a model pack, an unpacked one, a folder that ESPnet trained (see `open_model`), or an
            open model.
        audio: files of any length, sampling rate and number of channels, or folders of them.
        max_seconds: longest chunk, see `read_chunks`. Silent chunks are not decoded.
        opening: fields of `OpenOptions`, such as device="cuda" or beam=5, for opening `model`.

    Returns:
        one transcript per recording. For an unreadable one, `problem` contains the reason; the
        others are not affected.

    Raises:
        ValueError: there is no such model, or a folder has no audio.
    """
    given = [audio] if isinstance(audio, str | Path) else [*audio]
    recordings = [
        found
        for each in given
        for found in ([each] if isinstance(each, Recording) else find_recordings([Path(each)]))
    ]
    if not isinstance(model, Transcriber):
        model = Transcriber(Path(model), OpenOptions(**opening))
    return transcripts(model, recordings, max_seconds)
