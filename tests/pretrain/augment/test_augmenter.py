"""All effects together: the same from the same generator, each independent of the others."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.pretrain.augment import effects
from harness_bench.pretrain.augment.effects import (
    Augmenter,
    audio_files,
    read_noise,
    read_response,
)
from harness_bench.pretrain.config import AugmentConfig
from tests.pretrain.augment.conftest import Wave, noise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FULL = AugmentConfig(noise_prob=1.0, reverb_prob=1.0, time_masks=2, channel_masks=2)
OFF: dict[str, dict[str, Any]] = {
    "reverberate": {"reverb_prob": 0.0},
    "add_noise": {"noise_prob": 0.0},
    "mask_time": {"time_masks": 0},
    "mask_channels": {"channel_masks": 0},
}


def changed(config: AugmentConfig, wave: Wave, seed: int) -> Wave:
    return Augmenter(config).change(wave, np.random.default_rng(seed))[0]


@given(
    samples=st.integers(1, 20_000), level=st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
    chance=st.floats(0, 1), masks=st.integers(0, 3), seed=st.integers(0, 2**32),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_any_audio_keeps_its_length(
    samples: int, level: float, chance: float, masks: int, seed: int
) -> None:
    """Finite float32 of the same length, whatever is drawn, silence included."""
    config = replace(
        FULL, noise_prob=chance, reverb_prob=chance, time_masks=masks, channel_masks=masks
    )
    wave = noise(samples, seed, level)
    found = changed(config, wave, seed)
    assert found.shape == wave.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_the_generator_decides() -> None:
    wave = noise(8000)
    assert np.array_equal(changed(FULL, wave, 1), changed(FULL, wave, 1))
    assert not np.array_equal(changed(FULL, wave, 1), changed(FULL, wave, 2))
    assert np.array_equal(changed(AugmentConfig(), wave, 0), wave)


def calls(config: AugmentConfig, seed: int) -> dict[str, str]:
    """Return what each effect that was on was given besides the waveform."""
    seen: dict[str, str] = {}

    def spy(name: str, original: Callable[..., Wave]) -> Callable[..., Wave]:
        def watched(wave: Wave, *rest: Any) -> Wave:
            states = [getattr(each, "bit_generator", each) for each in rest]
            seen[name] = repr([getattr(each, "state", each) for each in states])
            return original(wave, *rest)

        return watched

    with pytest.MonkeyPatch.context() as patch, np.printoptions(threshold=100_000):
        for name in OFF:
            patch.setattr(effects, name, spy(name, getattr(effects, name)))
        changed(config, noise(800), seed)
    return seen


@pytest.mark.parametrize("off", OFF)
def test_turning_one_off_leaves_the_others(off: str) -> None:
    """Or a comparison with and without noise would compare other rooms and masks, too."""
    config = replace(FULL, noise_prob=0.6, reverb_prob=0.6)
    fired = 0
    for seed in range(5):
        full, less = calls(config, seed), calls(replace(config, **OFF[off]), seed)
        fired += off in full
        full.pop(off, None)
        less.pop(off, None)
        assert less == full
    assert fired


def test_chances_and_ratios_are_kept() -> None:
    wave, config = noise(500), AugmentConfig(noise_prob=0.3)
    untouched = sum(np.array_equal(changed(config, wave, seed), wave) for seed in range(400))
    assert untouched / 400 == pytest.approx(0.7, abs=0.08)
    wave, config = noise(4000), AugmentConfig(noise_prob=1.0, noise_snr=(3.0, 9.0))
    added = [effects.energy(changed(config, wave, seed) - wave) for seed in range(60)]
    ratios = 10 * np.log10(effects.energy(wave) / np.array(added))
    assert 2.99 < ratios.min() < 4
    assert 8 < ratios.max() < 9.01


def test_what_was_drawn_is_told() -> None:
    _, drawn = Augmenter(FULL).change(noise(4000), np.random.default_rng(0))
    assert drawn.room.startswith("simulated, T60 0.")
    assert drawn.noise.startswith("generated, SNR ")
    _, drawn = Augmenter(AugmentConfig(time_masks=1)).change(noise(400), np.random.default_rng(0))
    assert drawn == ("", "")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Return a folder of noise: two rates, two channels, two formats, and what is no audio."""
    folder = tmp_path / "noise"
    (folder / "b").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    sf.write(folder / "b" / "street.FLAC", noise(20_000, 1), 16_000, format="FLAC")
    stereo = np.stack([noise(4_000, 2), noise(4_000, 3)], axis=1)
    sf.write(folder / "a.wav", stereo, 8_000)
    sf.write(folder / "c.ogg", noise(1_000, 4), 16_000)
    sf.write(folder / ".hidden" / "d.wav", noise(1_000, 4), 16_000)
    (folder / "README.txt").write_text("no audio")
    return folder


def test_noise_comes_from_the_folder(recordings: Path) -> None:
    """What was added is proportional to a stretch of one of the recordings.

    They are listed by path, or runs on other file systems would draw other noise.
    """
    found = audio_files(str(recordings), "noise", "generated")
    assert [path.name for path in found] == ["a.wav", "street.FLAC", "c.ogg"]
    config = AugmentConfig(noise_prob=1.0, noise=str(recordings))
    wave = noise(9_000, 9)
    whole = sf.read(recordings / "b" / "street.FLAC", dtype="float32")[0]
    names, starts = set(), set()
    for seed in range(20):
        noisy, drawn = Augmenter(config).change(wave, np.random.default_rng(seed))
        name = drawn.noise.split(",")[0]
        names.add(name)
        if name != "street.FLAC":
            continue
        added = noisy - wave
        likeness = np.correlate(whole, added, mode="valid")
        start = int(np.argmax(likeness))
        starts.add(start)
        stretch = whole[start : start + len(wave)]
        gain = np.dot(added, stretch) / np.dot(stretch, stretch)
        np.testing.assert_allclose(added, gain * stretch, atol=1e-5)
    assert names == {"a.wav", "street.FLAC", "c.ogg"}
    assert len(starts) > 3


def test_short_noise_is_turned_round(recordings: Path) -> None:
    """All of a short recording, from another beginning; of other rates as long as asked for."""
    whole = read_noise(recordings / "c.ogg", 5_000, 0.0)
    assert np.array_equal(read_noise(recordings / "c.ogg", 5_000, 0.25), np.roll(whole, 250))
    assert len(read_noise(recordings / "a.wav", 3_001, 0.99)) in (3_001, 3_002)


def test_measured_rooms_are_used(tmp_path: Path) -> None:
    """The first channel of an array alone: the second, of another place, must not be heard."""
    room = np.zeros((3_000, 2))
    room[100, 0], room[1_100, 0], room[50, 1] = 0.8, 0.4, 0.9
    sf.write(tmp_path / "hall.wav", room, 16_000, subtype="FLOAT")
    config = AugmentConfig(reverb_prob=1.0, reverb=str(tmp_path))
    wave = noise(8_000)
    wet, drawn = Augmenter(config).change(wave, np.random.default_rng(0))
    assert drawn.room == "hall.wav"
    expected = wave.copy()
    expected[1_000:] += 0.5 * wave[:-1_000]
    expected *= np.sqrt(effects.energy(wave) / effects.energy(expected))
    np.testing.assert_allclose(wet, expected, atol=1e-5)


@pytest.mark.parametrize("key", ["noise", "reverb"])
def test_folders_without_audio_teach(key: str, tmp_path: Path) -> None:
    """Before training starts, not at the first utterance."""
    for folder, words in ((tmp_path / "absent", "is not a folder"), (tmp_path, "no audio file")):
        values: dict[str, Any] = {key: str(folder), f"{key}_prob": 0.5}
        with pytest.raises(ValueError, match=f"augment.{key} = .*{words}"):
            Augmenter(AugmentConfig(**values))
        values[f"{key}_prob"] = 0.0
        Augmenter(AugmentConfig(**values))  # off: it need not be there


def test_useless_recordings_teach(tmp_path: Path) -> None:
    """NaN in one file would become NaN weights; the message names the file."""
    (tmp_path / "broken.wav").write_bytes(b"RIFF, or so it says")
    sf.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    sf.write(tmp_path / "nan.wav", np.full(100, np.nan), 16_000, subtype="FLOAT")
    sf.write(tmp_path / "silent.wav", np.zeros(100), 16_000)
    reasons = {"broken": "cannot be read", "empty": "no samples", "nan": "NaN"}
    for name, reason in reasons.items():
        for read in (read_response, lambda path: read_noise(path, 50, 0.5)):
            with pytest.raises(ValueError, match=rf"{name}\.wav.*{reason}"):
                read(tmp_path / f"{name}.wav")
    with pytest.raises(ValueError, match=r"silent\.wav.*is silent"):
        read_response(tmp_path / "silent.wav")


def test_workers_draw_the_same(recordings: Path) -> None:
    """A copy sent to another process, with its cache cold, changes audio in the same way."""
    ours = Augmenter(replace(FULL, noise=str(recordings)))
    theirs = ForkingPickler.loads(ForkingPickler.dumps(ours))
    wave = noise(8000)
    one, other = (each.change(wave, np.random.default_rng(3))[0] for each in (ours, theirs))
    assert np.array_equal(one, other)
