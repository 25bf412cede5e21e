"""Waveforms that several tests of augmentation change."""

import numpy as np
import pytest
from numpy.typing import NDArray

Wave = NDArray[np.float32]


def noise(samples: int, seed: int = 0, level: float = 0.1) -> Wave:
    rng = np.random.default_rng(seed)
    wave: Wave = (level * rng.standard_normal(samples)).astype(np.float32)
    return wave


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
