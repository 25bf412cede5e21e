"""Span masks that depend on nothing but the seed, the epoch and the utterance."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SPANS = 2  # fairseq's min_masks


def utterance_rng(seed: int, epoch: int, name: str, purpose: str) -> np.random.Generator:
    """Return a random generator for one utterance in one epoch.

    It does not depend on the batch, the worker or the rank, so a run gives the same masks and
    crops with any number of them, and after any resume.
    """
    text = f"{seed}/{epoch}/{purpose}/{name}"
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


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
