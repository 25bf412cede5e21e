"""When each word was said: CTC forced alignment of a hypothesis, frames as seconds."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

SPACE, WORD_START = "<space>", "\u2581"  # ESPnet's token between words, sentencepiece's before one
_SPAN = 38_400  # samples: a whole number of frames at any usual shift (10 ms times 1 to 12)
_SHORT = 16_000  # samples; every model gives frames of so many
_PARTS = 8  # of a frame, to which its place is measured


@dataclass(frozen=True)
class FrameGrid:
    """Where the encoder's frames lie: frame i is centred at `first + i * shift` samples."""

    shift: float
    first: float

    def seconds(self, start: int, end: int, rate: int) -> tuple[float, float]:
        """Return when frames `start` to `end - 1` begin and end, in seconds."""
        begins, ends = ((self.first + (i - 0.5) * self.shift) / rate for i in (start, end))
        return begins, ends


@dataclass(frozen=True)
class TokenSpan:
    """Frames `start` to `end - 1` that a token takes, and the mean log-probability there."""

    start: int
    end: int
    score: float


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


def align(log_probs: Tensor, tokens: Sequence[int], blank: int) -> list[TokenSpan] | None:
    """Return the most probable frames of each token, in order.

    Args:
        log_probs: (F, V) float, of CTC.
        tokens: of the hypothesis, without blanks.
        blank: its index in V.

    Returns:
        one span per token, None where so many tokens do not fit into the frames (an attention
        decoder may write more than was said).
    """
    if not tokens:
        return []
    repeats = sum(a == b for a, b in itertools.pairwise(tokens))
    if len(tokens) + repeats > len(log_probs):
        return None
    from torchaudio.functional import forced_align, merge_tokens  # noqa: PLC0415 - heavy

    target = torch.tensor([list(tokens)], dtype=torch.int32)
    path, scores = forced_align(log_probs[None].float().cpu(), target, blank=blank)
    return [
        TokenSpan(s.start, s.end, s.score) for s in merge_tokens(path[0], scores[0], blank=blank)
    ]


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


def confidence(spans: Sequence[TokenSpan]) -> float:
    """Return CTC's mean probability (geometric) over the frames of some tokens, from 0 to 1."""
    frames = sum(span.end - span.start for span in spans)
    return math.exp(sum(span.score * (span.end - span.start) for span in spans) / frames)
