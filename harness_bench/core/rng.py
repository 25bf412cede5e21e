"""Chance that depends on nothing but a seed and names, such as an epoch and an utterance."""

import hashlib

import numpy as np


def utterance_rng(seed: int, epoch: int, name: str, purpose: str) -> np.random.Generator:
    """Return a random generator for one utterance in one epoch.

    It does not depend on the batch, the worker or the rank, so a run gives the same masks and
    crops with any number of them, and after any resume.
    """
    digest = chance(seed, f"{epoch}/{purpose}/{name}")
    return np.random.default_rng(int.from_bytes(digest, "little"))


def chance(seed: int | str, name: str) -> bytes:
    """Return 16 bytes that order names by chance, the same everywhere: BLAKE2b of `seed/name`."""
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
