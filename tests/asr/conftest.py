"""Cuts whose audio is not what ESPnet reads, for the data stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lhotse.cut import MonoCut

RATES = {"b-direct": 16_000, "a-slow": 8_000, "c-part": 16_000}


@pytest.fixture
def mixed_cuts(tmp_path: Path) -> Path:
    """Return a prepared folder: a whole 16 kHz file, an 8 kHz file, a part of a 16 kHz file."""
    from harness_bench.cuts.store import write_cuts  # noqa: PLC0415 - keeps collection light

    folder = tmp_path / "cuts"
    write_cuts(folder, "train", [_cut(tmp_path, name, rate) for name, rate in RATES.items()])
    return folder


def _cut(folder: Path, name: str, rate: int) -> MonoCut:
    import soundfile as sf  # noqa: PLC0415 - keeps collection light
    from lhotse import MonoCut, Recording, SupervisionSegment  # noqa: PLC0415

    path = folder / f"{name}.wav"
    sf.write(path, 0.3 * np.random.default_rng(rate).uniform(-1, 1, rate), rate)
    recording = Recording.from_file(path, recording_id=name)
    start = 0.25 if name == "c-part" else 0.0
    segment = SupervisionSegment(
        id=name, recording_id=name, start=0, duration=1 - start, text="Two  words", speaker="spk"
    )
    return MonoCut(
        id=name, start=start, duration=1 - start, channel=0, recording=recording,
        supervisions=[segment],
    )  # fmt: skip


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


@pytest.fixture(scope="session")
def make_cut() -> Callable[[str, str | None], MonoCut]:
    """Return a maker of cuts of one second without a file behind them."""
    from lhotse import MonoCut, Recording, SupervisionSegment  # noqa: PLC0415 - keeps it light
    from lhotse.audio import AudioSource  # noqa: PLC0415

    source = AudioSource(type="file", channels=[0], source="/nowhere/x.wav")
    recording = Recording(
        id="x", sources=[source], sampling_rate=16_000, num_samples=16_000, duration=1.0
    )

    def made(uid: str, speaker: str | None) -> MonoCut:
        segment = SupervisionSegment(
            id=uid, recording_id="x", start=0, duration=1, text="x", speaker=speaker
        )
        return MonoCut(
            id=uid, start=0, duration=1, channel=0, recording=recording, supervisions=[segment]
        )

    return made
