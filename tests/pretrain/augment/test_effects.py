"""Effects: as strong as asked for, never moving audio away from its labels; together and alone."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import Recording
from numpy.typing import NDArray

from harness_bench.audio.io import load_waveform
from harness_bench.pretrain.augment import effects
from harness_bench.pretrain.augment.effects import Augmenter
from harness_bench.pretrain.config import AugmentConfig
from tests.pretrain.augment.conftest import Wave, noise

LENGTHS = st.integers(1, 20_000)
SEEDS = st.integers(0, 2**32)
many = settings(deadline=None, max_examples=40)


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def check_form(found: Wave, wave: Wave) -> None:
    assert found.dtype == np.float32
    assert found.shape == wave.shape
    assert np.isfinite(found).all()


@given(samples=LENGTHS, other=st.integers(1, 9_000), snr=st.floats(-20, 40), seed=SEEDS)
@many
def test_noise_has_the_ratio_asked_for(samples: int, other: int, snr: float, seed: int) -> None:
    """Over the whole utterance, however long the noise is and however loud either."""
    wave, disturbance = noise(samples, seed), noise(other, seed + 1, level=3.0)
    noisy = effects.add_noise(wave, disturbance, snr)
    check_form(noisy, wave)
    added = noisy.astype(np.float64) - wave
    ratio = effects.energy(wave) / float(np.square(added).sum())
    assert decibels(ratio) == pytest.approx(snr, abs=0.1)


def test_noise_is_looped(rng: np.random.Generator) -> None:
    wave, short = noise(1000), rng.standard_normal(300).astype(np.float32)
    added = effects.add_noise(wave, short, 0.0) - wave
    np.testing.assert_allclose(added[300:600], added[:300], atol=1e-6)


def test_silence_stays_as_it_is() -> None:
    """There is no ratio to silence; a division by zero would put NaN into a whole batch."""
    loud, silent = noise(500), np.zeros(500, dtype=np.float32)
    for wave, disturbance in ((silent, loud), (loud, silent), (silent, silent)):
        assert np.array_equal(effects.add_noise(wave, disturbance, 5.0), wave)
    assert np.array_equal(effects.reverberate(silent, noise(50)), silent)


def slope_of(wave: Wave) -> float:
    """Fit how power falls with frequency between 100 and 7000 Hz, from averaged periodograms."""
    power = np.square(np.abs(np.fft.rfft(wave.reshape(-1, 1024) * np.hanning(1024)))).mean(axis=0)
    hertz = np.fft.rfftfreq(1024, 1 / 16_000)
    used = (hertz > 100) & (hertz < 7000)
    return float(-np.polyfit(np.log(hertz[used]), np.log(power[used]), 1)[0])


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_colour_of_noise(slope: float, rng: np.random.Generator) -> None:
    """White, pink and brown fall as their definitions say, at a mean square of 1."""
    wave = effects.coloured_noise(1024 * 100, rng, slope)
    assert slope_of(wave) == pytest.approx(slope, abs=0.1)
    assert np.square(wave).mean() == pytest.approx(1, rel=0.15)


def test_colours_are_drawn_between_white_and_brown() -> None:
    rngs = map(np.random.default_rng, range(30))
    slopes = [slope_of(effects.coloured_noise(1024 * 20, rng)) for rng in rngs]
    assert -0.2 < min(slopes) < 0.5
    assert 1.5 < max(slopes) < 2.2


@given(samples=LENGTHS, t60=st.floats(1e-4, 3.0), seed=SEEDS)
@many
def test_noise_and_rooms_of_any_length_can_be_made(samples: int, t60: float, seed: int) -> None:
    made = effects.coloured_noise(samples, np.random.default_rng(seed))
    check_form(made, noise(samples))
    room = effects.simulated_response(t60, np.random.default_rng(seed))
    check_form(room, room)
    assert int(np.abs(room).argmax()) == 0


def response(lead: int, sign: float, seed: int = 3) -> Wave:
    """Return a made-up measured response: some quiet samples, the direct path, a decaying tail."""
    tail = noise(4000, seed, 0.15) * np.exp(-np.arange(4000) / 800)
    parts = (noise(lead, seed, 0.001), [1.0], tail)
    whole: Wave = (sign * np.concatenate(parts)).astype(np.float32)
    return whole


@given(samples=LENGTHS, lead=st.integers(0, 600), sign=st.sampled_from([-1.0, 1.0]), seed=SEEDS)
@many
def test_a_room_keeps_length_and_level(samples: int, lead: int, sign: float, seed: int) -> None:
    wave = noise(samples, seed)
    wet = effects.reverberate(wave, response(lead, sign))
    check_form(wet, wave)
    assert decibels(effects.energy(wet) / effects.energy(wave)) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("lead", [0, 1, 333])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_room_does_not_move_speech(lead: int, sign: float) -> None:
    """The labels are those of the dry audio: the two must agree best, and positively, at lag 0."""
    wave = noise(16_000)
    wet = effects.reverberate(wave, response(lead, sign))
    correlation = np.correlate(wet, wave, mode="same")
    assert int(np.argmax(correlation)) == len(wave) // 2
    assert int(np.argmax(np.abs(correlation))) == len(wave) // 2


def test_a_room_is_a_convolution() -> None:
    wave, room = noise(3000), response(100, 1.0)
    expected = np.convolve(wave.astype(np.float64), room)[100:3100]
    expected *= np.sqrt(effects.energy(wave) / np.square(expected).sum())
    np.testing.assert_allclose(effects.reverberate(wave, room), expected, atol=1e-5)


def schroeder(room: Wave) -> float:
    """Measure T60: a line through the backward integral of energy from -5 to -35 dB (ISO 3382)."""
    left = np.cumsum(np.square(room[::-1], dtype=np.float64))[::-1]
    level = 10 * np.log10(left / left[0])
    used = np.flatnonzero((level <= -5) & (level >= -35))
    return float(-60 / np.polyfit(used / 16_000, level[used], 1)[0])


@pytest.mark.parametrize("t60", [0.2, 0.4, 0.8, 1.5])
def test_simulated_rooms_have_their_t60(t60: float) -> None:
    for seed in range(20):
        room = effects.simulated_response(t60, np.random.default_rng(seed))
        assert schroeder(room) == pytest.approx(t60, rel=0.15)


def test_simulated_rooms_start_with_the_direct_path() -> None:
    """Nothing is louder or earlier, and reverberation is 0 to 10 dB below it."""
    ratios = []
    for seed in range(50):
        room = effects.simulated_response(0.3, np.random.default_rng(seed))
        assert room[0] == 1
        assert np.abs(room[1:]).max() < 1
        assert not room[1:16].any(), "an echo within 1 ms"
        ratios.append(decibels(1 / effects.energy(room[1:])))
    assert -0.01 < min(ratios) < 2
    assert 8 < max(ratios) < 10.5


@given(samples=LENGTHS, masks=st.integers(0, 4), seconds=st.floats(0.001, 2.0), seed=SEEDS)
@many
def test_time_masks_keep_their_limits(samples: int, masks: int, seconds: float, seed: int) -> None:
    """Silenced samples: not more than asked for, nor than a fifth each; the others untouched."""
    wave = noise(samples, seed) + 10
    masked = effects.mask_time(wave, np.random.default_rng(seed), masks, seconds)
    check_form(masked, wave)
    silent = masked == 0
    assert np.array_equal(masked[~silent], wave[~silent])
    edges = np.flatnonzero(np.diff(np.concatenate(([0], silent.astype(int), [0]))))
    assert len(edges) // 2 <= masks
    longest = min(round(seconds * 16_000), samples // 5)
    assert silent.sum() <= masks * longest
    if masks == 1:
        assert (np.diff(edges)[::2] <= longest).all()


def test_time_masks_vary_and_reach_their_limit() -> None:
    """A mask that is always tiny, or always at one place, would pass the limits."""
    wave = np.ones(32_000, dtype=np.float32)
    masked = (
        effects.mask_time(wave, rng, 1, 0.1) for rng in map(np.random.default_rng, range(200))
    )
    places = [np.flatnonzero(each == 0) for each in masked]
    lengths, starts = [*map(len, places)], [place[0] for place in places if len(place)]
    assert max(lengths) > 1500
    assert min(lengths) < 100
    assert min(starts) < 1_000
    assert max(starts) > 29_000


def band_change(wave: Wave, masked: Wave) -> NDArray[np.float64]:
    """Return how many dB remain of each 31 Hz band, in the middle of the utterance."""

    def power(samples: Wave) -> NDArray[np.float64]:
        whole = np.square(np.abs(np.fft.rfft(samples[2048:-2048].astype(np.float64))))
        return whole[:-1].reshape(256, -1).sum(axis=1)

    remains: NDArray[np.float64] = 10 * np.log10(power(masked) / power(wave))
    return remains


@given(masks=st.integers(1, 3), hertz=st.floats(100, 4000), seed=SEEDS)
@many
def test_channel_masks_remove_bands_alone(masks: int, hertz: float, seed: int) -> None:
    """Deep inside a band nothing remains; away from the bands nothing changes; edges are short."""
    wave = noise(2 * 2048 + 512 * 64, seed)
    masked = effects.mask_channels(wave, np.random.default_rng(seed), masks, hertz)
    check_form(masked, wave)
    remains = band_change(wave, masked)
    gone, touched = remains < -20, np.abs(remains) > 0.2
    assert gone.sum() * 31.25 <= masks * (hertz + 31.25)
    assert touched.sum() - gone.sum() <= masks * 6


def test_channel_masks_vary_and_reach_their_limit() -> None:
    wave = noise(2 * 2048 + 512 * 16)
    masked = (effects.mask_channels(wave, np.random.default_rng(s), 1, 2000) for s in range(100))
    gone = [np.flatnonzero(band_change(wave, each) < -20) for each in masked]
    widths = [len(bands) * 31.25 for bands in gone]
    assert max(widths) > 1800
    assert min(widths) < 200
    assert min(bands[0] for bands in gone if len(bands)) < 16
    assert max(bands[-1] for bands in gone if len(bands)) > 240


def test_no_effect_writes_into_its_input(rng: np.random.Generator) -> None:
    """A cached waveform would be changed again every epoch; without masks it stays bit for bit."""
    wave = noise(5000)
    before = wave.copy()
    effects.add_noise(wave, noise(70), 3.0)
    effects.reverberate(wave, response(5, 1.0))
    effects.mask_time(wave, rng, 3, 0.1)
    effects.mask_channels(wave, rng, 3, 1000)
    assert np.array_equal(wave, before)
    assert np.array_equal(effects.mask_channels(wave, rng, 0, 1000), wave)
    assert np.array_equal(effects.mask_time(wave, rng, 0, 1.0), wave)


def test_speeds_are_those_of_the_config(rng: np.random.Generator) -> None:
    assert effects.speed_factor(AugmentConfig(), rng) == 1.0
    config = AugmentConfig(speed=(0.9, 1.0, 1.1))
    drawn = [effects.speed_factor(config, rng) for _ in range(300)]
    assert {*drawn} == {0.9, 1.0, 1.1}
    assert min(drawn.count(factor) for factor in config.speed) > 60
    AugmentConfig(speed=tuple(factor / 100 for factor in range(50, 201)))  # all hundredths


def nearest(known: int, factor: Fraction, frame: int) -> int:
    """Find by trying all, in exact arithmetic, the clean frame whose centre is nearest."""
    centre = (320 * frame + 200) * factor
    return min(range(known), key=lambda index: abs(320 * index + 200 - centre))


@given(known=st.integers(1, 120), hundredths=st.integers(50, 200), frames=st.integers(0, 150))
@many
def test_labels_follow_speed(known: int, hundredths: int, frames: int) -> None:
    labels = torch.arange(known)
    found = effects.labels_at_speed(labels, hundredths / 100, frames)
    factor = Fraction(hundredths, 100)
    assert found.tolist() == [nearest(known, factor, frame) for frame in range(frames)]
    assert found.dtype == torch.int64


def test_frames_without_labels_teach() -> None:
    with pytest.raises(ValueError, match=r"5 frames at speed 1\.1 were to be labelled"):
        effects.labels_at_speed(torch.empty(0, dtype=torch.int64), 1.1, 5)


def loudness_labels(wave: Wave) -> torch.Tensor:
    """Label each frame of 400 samples, one every 320: whether it is more loud than quiet."""
    frames = torch.from_numpy(wave).unfold(0, 400, 320)
    return (frames.square().mean(dim=1) > 0.5 * 0.3**2).long()


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_labels_of_sped_audio_are_those_recomputed(factor: float, tmp_path: Path) -> None:
    """The truth: speed the audio as training does (lhotse), then label that audio anew."""
    wave = noise(16_000 * 20, level=0.3)
    rng = np.random.default_rng(1)
    for start in range(0, len(wave), 16_000):  # a quiet stretch in every second
        first = start + int(rng.integers(1000, 6000))
        wave[first : first + int(rng.integers(3000, 9000))] *= 0.02
    sf.write(tmp_path / "steps.wav", wave, 16_000, subtype="FLOAT")
    clean = Recording.from_file(tmp_path / "steps.wav").to_cut()
    sped = load_waveform(clean.perturb_speed(factor))
    expected = loudness_labels(sped)
    found = effects.labels_at_speed(loudness_labels(wave), factor, len(expected))
    naive = loudness_labels(wave).repeat(2)[: len(expected)]
    assert (found == expected).float().mean() >= 0.98
    assert (naive == expected).float().mean() < 0.8, "the test could not fail"


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
    samples=st.integers(1, 2_000) | LENGTHS, level=st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
    chance=st.floats(0, 1), masks=st.integers(0, 3), seed=SEEDS,
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_any_length_stays(samples: int, level: float, chance: float, masks: int, seed: int) -> None:
    """Finite float32, whatever is drawn, silence and audio below one window included."""
    config = replace(
        FULL, noise_prob=chance, reverb_prob=chance, time_masks=masks, channel_masks=masks
    )
    wave = noise(samples, seed, level)
    check_form(changed(config, wave, seed), wave)


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
    for name in ("b", ".hidden"):
        (folder / name).mkdir(parents=True)
    sf.write(folder / "b" / "street.FLAC", noise(20_000, 1), 16_000, format="FLAC")
    sf.write(folder / "a.wav", np.stack([noise(4_000, 2), noise(4_000, 3)], axis=1), 8_000)
    for name in ("c.ogg", ".hidden/d.wav"):
        sf.write(folder / name, noise(1_000, 4), 16_000)
    (folder / "README.txt").write_text("no audio")
    return folder


def test_noise_comes_from_the_folder(recordings: Path) -> None:
    """A stretch of one of the recordings; sorted, or file systems decide the noise."""
    found = effects.audio_files(str(recordings), "noise", "generated")
    assert [path.name for path in found] == ["a.wav", "street.FLAC", "c.ogg"]
    config = AugmentConfig(noise_prob=1.0, noise=str(recordings))
    wave = noise(9_000, 9)
    whole = sf.read(recordings / "b" / "street.FLAC", dtype="float32")[0]
    names, starts = set(), set()
    for seed in range(20):
        noisy, drawn = Augmenter(config).change(wave, np.random.default_rng(seed))
        names.add(name := drawn.noise.split(",")[0])
        if name != "street.FLAC":
            continue
        added = noisy - wave
        starts.add(start := int(np.argmax(np.correlate(whole, added, mode="valid"))))
        stretch = whole[start : start + len(wave)]
        gain = np.dot(added, stretch) / np.dot(stretch, stretch)
        np.testing.assert_allclose(added, gain * stretch, atol=1e-5)
    assert names == {"a.wav", "street.FLAC", "c.ogg"}
    assert len(starts) > 3


def test_short_noise_is_turned_round(recordings: Path) -> None:
    """All of a short recording, from another beginning; of other rates as long as asked for."""
    whole = effects.read_noise(recordings / "c.ogg", 5_000, 0.0)
    assert np.array_equal(
        effects.read_noise(recordings / "c.ogg", 5_000, 0.25), np.roll(whole, 250)
    )
    assert len(effects.read_noise(recordings / "a.wav", 3_001, 0.99)) in (3_001, 3_002)


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
        for read in (effects.read_response, lambda path: effects.read_noise(path, 50, 0.5)):
            with pytest.raises(ValueError, match=rf"{name}\.wav.*{reason}"):
                read(tmp_path / f"{name}.wav")
    with pytest.raises(ValueError, match=r"silent\.wav.*is silent"):
        effects.read_response(tmp_path / "silent.wav")


def test_workers_draw_the_same(recordings: Path) -> None:
    """A copy sent to another process, with its cache cold, changes audio in the same way."""
    ours = Augmenter(replace(FULL, noise=str(recordings)))
    theirs = ForkingPickler.loads(ForkingPickler.dumps(ours))
    wave = noise(8000)
    one, other = (each.change(wave, np.random.default_rng(3))[0] for each in (ours, theirs))
    assert np.array_equal(one, other)
