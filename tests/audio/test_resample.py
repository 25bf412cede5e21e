"""One resampler: what it lets through, how long its results are, and that pieces fit together."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import firwin, resample_poly

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.resample import LOWEST_RATE, Resampler, resample

ODD_RATES = [11_127, 15_999, 16_001, 22_254, 44_056, 44_101]
RATES = [4000, 8000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000, *ODD_RATES]


def tone(hertz: float, rate: int, seconds: float = 1.0) -> NDArray[np.float32]:
    time = np.arange(round(rate * seconds)) / rate
    return np.sin(2 * np.pi * hertz * time).astype(np.float32)


def level(samples: NDArray[np.float32]) -> float:
    """Return the level of a tone in dB, its beginning and end aside."""
    middle = samples[len(samples) // 4 : -len(samples) // 4].astype(np.float64)
    return float(10 * np.log10(2 * np.mean(middle**2) + 1e-30))


@pytest.mark.parametrize("rate", RATES)
def test_speech_passes_and_nothing_folds_back(rate: int) -> None:
    """Flat to 7.6 kHz, or to 95 % of what a lower rate holds; -100 dB where nothing belongs."""
    limit = min(rate, SAMPLE_RATE) / 2
    for share in (0.02, 0.5, 0.9, 0.95):
        out = resample(tone(share * limit, rate), rate)
        assert level(out) == pytest.approx(0, abs=0.1)
        sine = np.sin(2 * np.pi * share * limit * np.arange(len(out)) / SAMPLE_RATE)
        error = (out - sine)[len(out) // 4 : -len(out) // 4]
        assert np.abs(error).max() < 1e-2  # the phase as well: nothing comes later or sooner
    for above in (8010.0, 8500.0, 12_000.0, 30_000.0):
        if above < rate / 2:
            assert level(resample(tone(above, rate), rate)) < -100


def test_images_of_a_low_rate_stay_below(subtests: pytest.Subtests) -> None:
    """A telephone's tone at 3.8 kHz must not sound at 4.2 kHz as well."""
    for rate in (8000, 11_127):
        with subtests.test(rate=rate):
            out = resample(tone(0.95 * rate / 2, rate, 2.0), rate)[8000:24_000]
            spectrum = np.abs(np.fft.rfft(out * np.blackman(len(out)) ** 2))  # bins of 1 Hz
            assert spectrum[rate // 2 + 20 :].max() < 1e-5 * spectrum.max()


@settings(deadline=None, max_examples=60)
@given(samples=st.integers(0, 20_000), rate=st.integers(LOWEST_RATE, 200_000))
def test_lengths_follow_one_rule(samples: int, rate: int) -> None:
    """Frame counts are computed from lengths alone, at every rate."""
    assert len(resample(np.zeros(samples, np.float32), rate)) == -(-samples * SAMPLE_RATE // rate)


@pytest.mark.parametrize("rate", RATES)
def test_a_click_stays_where_it_is(rate: int) -> None:
    """Labels and segments are in seconds: half a sample is the most that anything may move."""
    for at in (0, 1, rate // 7, rate // 2, rate - rate // 1000):
        signal = np.zeros(rate, np.float32)
        signal[at] = 1
        found = int(np.abs(resample(signal, rate)).argmax())
        assert abs(found - at * SAMPLE_RATE / rate) <= 0.5


@settings(deadline=None, max_examples=40)
@given(
    rate=st.sampled_from(RATES),
    cuts=st.lists(st.integers(0, 30_000), max_size=6),
    channels=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_pieces_are_the_whole(rate: int, cuts: list[int], channels: int, seed: int) -> None:
    """A long recording is read piece by piece; its joints must not be heard, not in one bit."""
    signal = np.random.default_rng(seed).standard_normal((30_000, channels)).astype(np.float32)
    stream = Resampler(rate, channels=channels)
    edges = [0, *sorted(cuts), len(signal)]
    pieces = [
        stream(signal[first:end], last=end == len(signal) and number == len(edges) - 2)
        for number, (first, end) in enumerate(pairwise(edges))
    ]
    np.testing.assert_array_equal(np.concatenate(pieces), resample(signal, rate))


def test_channels_are_converted_each_by_itself() -> None:
    signal = np.random.default_rng(0).standard_normal((5000, 3)).astype(np.float32)
    together = resample(signal, 44_100)
    for channel in range(3):
        np.testing.assert_array_equal(together[:, channel], resample(signal[:, channel], 44_100))


def test_nothing_is_shared_between_threads() -> None:
    """Loaders resample in threads: the same in any order and at once."""

    def one(number: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(number)
        rate = RATES[number % len(RATES)]
        return resample(rng.standard_normal(rate // 5).astype(np.float32), rate)

    alone = [one(number) for number in range(56)]
    with ThreadPoolExecutor(8) as pool:
        for expected, found in zip(alone, pool.map(one, range(56)), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_as_other_libraries_where_all_are_flat() -> None:
    """Oracles: soxr's own front end at its best quality, and scipy with a long kernel."""
    rng = np.random.default_rng(3)
    spectrum = np.fft.rfft(rng.standard_normal(48_000))
    spectrum[7000:] = 0  # a second of noise below 7 kHz
    signal = np.fft.irfft(spectrum, 48_000).astype(np.float32)
    found, inner = resample(signal, 48_000), slice(1600, -1600)
    for expected in (
        soxr.resample(signal, 48_000, SAMPLE_RATE, quality="VHQ"),
        resample_poly(signal, 1, 3, window=firwin(961, 1 / 3, window=("kaiser", 12.0))),
    ):
        error = found[inner] - expected[inner]
        assert np.sqrt(np.mean(error**2)) < 1e-3 * found.std()


def test_the_same_rate_changes_nothing() -> None:
    signal = np.random.default_rng(0).standard_normal(100)
    found = resample(signal, SAMPLE_RATE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, signal.astype(np.float32))


@pytest.mark.parametrize("rate", [-16_000, 0, 1, LOWEST_RATE - 1])
def test_rates_that_hold_no_speech_are_refused(rate: int) -> None:
    """A header of 1 Hz would make 16,000 samples of each."""
    with pytest.raises(ValueError, match=str(rate)):
        resample(np.zeros(100, np.float32), rate)
    assert len(resample(np.zeros(2_822_400, np.float32), 2_822_400)) == SAMPLE_RATE  # of an SACD


def test_another_soxr_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its extension is no public part of it; the version is pinned, and may be changed by hand."""
    monkeypatch.delattr(soxr.soxr_ext, "CSoxr")
    with pytest.raises(RuntimeError, match=r"soxr that is installed.*requirements\.lock"):
        resample(np.zeros(100, np.float32), 8000)
