"""Transcribe with an exported CTC model, without torch: greedy, with the time of every word."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness_bench.asr.transcribe.recognise import (
    LEAST,
    SPACE,
    WORD_START,
    FrameGrid,
    Hypothesis,
    transcripts,
    words_of,
)
from harness_bench.asr.transcribe.transcript import TimedWord
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.models.runtime import Graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from harness_bench.asr.transcribe.chunks import Recording
    from harness_bench.asr.transcribe.transcript import Transcript
    from harness_bench.models.runtime import GraphConfig


class HeardToken(NamedTuple):
    """A token of the best path: frames `start` to `end - 1`, the sum of their log-probabilities."""

    token: str
    start: int
    end: int
    score: float


def best_path(scores: NDArray[np.float32], config: GraphConfig) -> list[HeardToken]:
    """Return the tokens of the most probable path through (F, V) log-probabilities of CTC."""
    found, at = [], 0
    for number, run in groupby(scores.argmax(axis=1).tolist()):
        end = at + len([*run])
        if number != config.blank:
            score = float(scores[at:end, number].sum())
            found.append(HeardToken(config.tokens[number], at, end, score))
        at = end
    return found


def greedy(
    scores: NDArray[np.float32], config: GraphConfig, samples: int | None = None
) -> Hypothesis:
    """Return text and words of (F, V) log-probabilities; `samples` bound the times."""
    heard = best_path(scores, config)
    grid, words = FrameGrid(config.frame_shift, config.frame_first), []
    for group in words_of([each.token for each in heard], config.token_type):
        own = [heard[at] for at in group]
        limit = math.inf if samples is None else samples / SAMPLE_RATE
        begin, end = (
            min(max(time, 0.0), limit) for time in grid.seconds(own[0].start, own[-1].end)
        )
        frames = sum(each.end - each.start for each in own)
        sure = math.exp(sum(each.score for each in own) / frames)
        if word := written([each.token for each in own], config.token_type).strip():
            words.append(TimedWord(word, begin, end, sure))
    return Hypothesis(written([each.token for each in heard], config.token_type), words)


def written(tokens: Sequence[str], token_type: str) -> str:
    """Write tokens as text, as ESPnet's tokenisers do."""
    if token_type == "bpe":  # noqa: S105 - a unit of text
        return "".join(tokens).replace(WORD_START, " ").strip()
    if token_type == "char":  # noqa: S105
        return "".join(" " if token == SPACE else token for token in tokens)
    return " ".join(tokens)


class GraphRecogniser:
    """An exported CTC model as a recogniser of chunks."""

    batch_size = 1

    def __init__(self, folder: Path) -> None:
        self.graph = Graph(folder, "ctc")

    def hear(self, waves: Sequence[NDArray[np.float32]]) -> list[Hypothesis]:
        """Return the most probable path's words of each waveform (samples,)."""
        found = []
        for wave in waves:
            (scores,) = self.graph.alone(np.pad(wave, (0, max(LEAST - len(wave), 0))))
            found.append(greedy(scores[0], self.graph.config, len(wave)))
        return found


def transcribe(
    folder: Path, recordings: Iterable[Recording], max_seconds: float
) -> Iterator[Transcript]:
    """Yield a transcript per recording, as `asr.transcribe` does with the parent."""
    return transcripts(GraphRecogniser(folder), recordings, max_seconds)
