"""Random numbers that depend on nothing but a seed, an epoch and an utterance."""

from __future__ import annotations

import hashlib

import numpy as np


def utterance_rng(seed: int, epoch: int, name: str, purpose: str) -> np.random.Generator:
    """Return a random generator for one utterance in one epoch.

    It does not depend on the batch, the worker or the rank, so a run gives the same masks and
    crops with any number of them, and after any resume.
    """
    text = f"{seed}/{epoch}/{purpose}/{name}"
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
