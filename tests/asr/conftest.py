"""Cuts whose audio is not what ESPnet reads, for the data stages; trained models."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests import cut_files

RATES = {"b-direct": 16_000, "a-slow": 8_000, "c-part": 16_000}


@pytest.fixture
def mixed_cuts(tmp_path: Path) -> Path:
    """Return a prepared folder: a whole 16 kHz file, an 8 kHz file, a part of a 16 kHz file."""
    rows = []
    for name, rate in RATES.items():
        path = tmp_path / f"{name}.wav"
        sf.write(path, 0.3 * np.random.default_rng(rate).uniform(-1, 1, rate), rate)
        rows.append(cut_files.row(name, 1.0, str(path), rate, text="Two  words", speaker="spk"))
    rows[-1] |= {"start": 0.25, "duration": 0.75}
    rows[-1]["supervisions"][0]["duration"] = 0.75
    return cut_files.write(tmp_path / "cuts", "train", rows)


@pytest.fixture(scope="session")
def fbank_asr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model on FBANK that has learned to read tones (`tiny_asr`)."""
    from tests.asr.tiny_asr import train  # noqa: PLC0415 - keeps collection light

    folder = tmp_path_factory.mktemp("fbank") / "asr"
    train(folder, steps=120)
    return folder


@pytest.fixture(scope="session")
def harness_asr(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """Return the folder of a model on a random checkpoint; it has learned next to nothing."""
    from tests.asr.tiny_asr import train  # noqa: PLC0415 - keeps collection light

    folder = tmp_path_factory.mktemp("harness") / "asr"
    train(folder, checkpoint=tiny_checkpoint, steps=5)
    return folder
