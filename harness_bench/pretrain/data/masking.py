"""Span masks that depend on nothing but the seed, the epoch and the utterance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SPANS = 2  # fairseq's min_masks


def span_mask(frames: int, prob: float, length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a mask (frames,) of spans that may overlap, as fairseq's static masking does.

    The number of spans is `prob * frames / length`, rounded at random and at least two; starts are
    distinct. With prob 0.8 and length 10 about half of the frames are masked. Utterances too short
    for two spans get shorter ones, and at least one frame always stays visible.
    """
    mask = np.zeros(frames, dtype=bool)
    if frames <= 1:
        return mask
    length = min(length, max(1, frames // (2 * MIN_SPANS)))
    starts_possible = frames - length + 1
    wanted = max(MIN_SPANS, int(prob * frames / length + rng.random()))
    starts = rng.choice(starts_possible, size=min(wanted, starts_possible), replace=False)
    mask[(starts[:, None] + np.arange(length)).ravel()] = True
    if mask.all():
        mask[rng.integers(frames)] = False
    return mask


def channel_mask(
    channels: int, prob: float, length: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw a mask (channels,) of spans that may overlap, as fairseq does for channels.

    The number of spans is `prob * channels / length`, rounded at random; there may be none.
    """
    mask = np.zeros(channels, dtype=bool)
    length = min(length, channels)
    wanted = int(prob * channels / length + rng.random())
    starts = rng.choice(channels - length + 1, size=min(wanted, channels - length), replace=False)
    mask[(starts[:, None] + np.arange(length)).ravel()] = True
    return mask
