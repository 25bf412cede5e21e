"""Small audio on disk with something to cluster in it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.cut import Cut


def blobs(frames: int, dim: int, centres: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((centres, dim)) * 4
    points = middle[rng.integers(centres, size=frames)] + rng.standard_normal((frames, dim))
    return torch.from_numpy(points.astype(np.float32))


def speechlike(frames: int, dim: int, centres: int) -> torch.Tensor:
    """Draw overlapping clusters whose variance falls along the dimensions, as hidden states'."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, dim + 1) ** -0.5
    middle = rng.standard_normal((centres, dim)) * scale
    noise = 0.7 * rng.standard_normal((frames, dim)) * scale
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    points = (middle[rng.integers(centres, size=frames)] + noise) @ turn
    return torch.from_numpy(points.astype(np.float32))


def make_cuts(folder: Path, lengths: list[int], seed: int = 0) -> list[Cut]:
    """Write one noisy sweep per length (samples at 16 kHz) and return the cuts."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    cuts: list[Cut] = []
    for number, length in enumerate(lengths):
        time = np.arange(length) / 16_000
        tone = np.sin(2 * np.pi * (150 + 80 * number) * time * (1 + 0.4 * np.sin(7 * time)))
        wave = (0.3 * tone + 0.03 * rng.standard_normal(length)).astype(np.float32)
        path = folder / f"utt{number:03d}.wav"
        sf.write(path, wave, 16_000, subtype="FLOAT")
        recording = Recording.from_file(path, recording_id=path.stem)
        cut = MonoCut(path.stem, 0.0, recording.duration, channel=0, recording=recording)
        cut.supervisions = [
            SupervisionSegment(path.stem, path.stem, 0.0, recording.duration, speaker="s")
        ]
        cuts.append(cut)
    return cuts


@pytest.fixture(scope="session")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> list[Cut]:
    rng = np.random.default_rng(1)
    lengths = [int(length) for length in rng.integers(6_000, 30_000, size=14)]
    return make_cuts(tmp_path_factory.mktemp("audio"), lengths)
