"""Changes to a waveform: single effects, and all together as an iteration's config asks for them.

A waveform is (samples,) float32 at 16 kHz. Every effect but speed keeps its length and returns a
new array, so that frames stay where the labels of the clean audio say they are.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torchaudio.functional import fftconvolve

from harness_bench.audio.base import AudioFault
from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE
from harness_bench.audio.io import AUDIO_SUFFIXES, open_audio, standard
from harness_bench.core.files import Aside, paths_below
from harness_bench.core.log import say
from harness_bench.pretrain.config import GENERATED, SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

    from harness_bench.audio.base import OpenAudio
    from harness_bench.pretrain.config import AugmentConfig

    Wave = NDArray[np.float32]

FRAME_CENTRE = FRAME_FIELD // 2
WHITE, BROWN = 0.0, 2.0  # power falls with frequency to this power
NOISE_FLOOR_HERTZ = 50.0  # below it noise is flat
LARGEST_MASKED_SHARE = 0.2
STFT_SIZE, STFT_SHIFT = 512, 128
FFT_STEP = 4096  # transforms of its multiples are much faster than those of any length
DECAY = np.log(1000)  # amplitude falls by 60 dB, a thousandfold, in one T60
_SEEDS = np.iinfo(np.int64).max


class AppliedEffects(NamedTuple):
    """What was drawn for one utterance, in words; empty where nothing was."""

    room: str
    noise: str


class Augmenter:
    """Reverberation, noise, time masks and channel masks, in this order.

    The room comes first: noise is recorded, or made, as it sounds in its own place. Masks come
    last, or noise would fill them. It keeps nothing between calls and can be pickled. A folder of
    recordings that is missing or holds no audio is a `ValueError`.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config
        self.noises: tuple[Path, ...] = ()
        self.responses: tuple[Path, ...] = ()
        if config.noise_prob > 0 and config.noise != GENERATED:
            self.noises = audio_files(config.noise, "noise", GENERATED)
        if config.reverb_prob > 0 and config.reverb != SIMULATED:
            self.responses = audio_files(config.reverb, "reverb", SIMULATED)

    def change(self, wave: Wave, rng: Generator) -> tuple[Wave, AppliedEffects]:
        """Change one utterance; return it with its room and noise.

        Each effect has a random generator of its own, drawn from `rng` whether it is on or off:
        turning one off leaves what the others do as it was. A recording that cannot be used is a
        `ValueError`.
        """
        config, room, noise = self.config, "", ""
        rooms, noises, spans, bands = map(
            np.random.default_rng, rng.integers(_SEEDS, size=4).tolist()
        )
        changed = wave
        if rooms.random() < config.reverb_prob:
            response, room = self._response(rooms)
            changed = reverberate(changed, response)
        if noises.random() < config.noise_prob:
            ratio = noises.uniform(*config.noise_snr)
            disturbance, source = self._noise(len(wave), noises)
            changed = add_noise(changed, disturbance, ratio)
            noise = f"{source}, SNR {ratio:.1f} dB"
        changed = mask_time(changed, spans, config.time_masks, config.time_mask_seconds)
        changed = mask_channels(changed, bands, config.channel_masks, config.channel_mask_hertz)
        return changed, AppliedEffects(room, noise)

    def _response(self, rng: Generator) -> tuple[Wave, str]:
        if not self.responses:
            t60 = rng.uniform(*self.config.reverb_t60)
            return simulated_response(t60, rng), f"{SIMULATED}, T60 {t60:.2f} s"
        path = self.responses[rng.integers(len(self.responses))]
        return read_response(path), path.name

    def _noise(self, samples: int, rng: Generator) -> tuple[Wave, str]:
        if not self.noises:
            return coloured_noise(samples, rng), GENERATED
        path = self.noises[rng.integers(len(self.noises))]
        return read_noise(path, samples, rng.random()), path.name


def add_noise(wave: Wave, noise: Wave, snr_db: float) -> Wave:
    """Add noise, looped or cut to the length, at a ratio of speech energy to noise energy in dB.

    Both are over the whole utterance. Where wave or noise is silent nothing is added. The result
    may leave [-1, 1], which float audio allows.
    """
    fitted = np.resize(noise, wave.shape)
    speech, disturbance = energy(wave), energy(fitted)
    if speech <= 0 or disturbance <= 0:
        return wave.copy()
    gain = np.sqrt(speech / disturbance) * 10 ** (-snr_db / 20)
    noisy: Wave = (wave + gain * fitted.astype(np.float64)).astype(np.float32)
    return noisy


def energy(wave: Wave) -> float:
    """Sum the squares of a waveform, in float64."""
    return float(np.square(wave, dtype=np.float64).sum())


def coloured_noise(samples: int, rng: Generator, slope: float | None = None) -> Wave:
    """Make Gaussian noise (samples,) float32 of mean square 1 on average.

    Power falls as frequency to the power of `slope`: 0 is white, 1 pink, 2 brown; None draws it
    evenly between white and brown. Below 50 Hz the spectrum is flat, otherwise nearly all energy of
    brown noise would be inaudible.
    """
    drawn = rng.uniform(WHITE, BROWN)
    slope = drawn if slope is None else slope
    size = FFT_STEP * (samples // FFT_STEP + 1)
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    shape = np.maximum(hertz, NOISE_FLOOR_HERTZ) ** (-slope / 2)
    shape[0] = 0  # no constant offset
    shape *= size / np.sqrt(2 * 2 * np.square(shape).sum())  # two parts a bin, two bins a frequency
    parts = rng.standard_normal((2, len(hertz)), dtype=np.float32)
    spectrum = (parts[0] + 1j * parts[1]) * shape.astype(np.float32)
    noise: Wave = np.fft.irfft(spectrum, size)[:samples].astype(np.float32)
    return noise


def reverberate(wave: Wave, response: Wave) -> Wave:
    """Place speech in a room, without moving it: the direct path stays at lag 0.

    The largest sample of the response (taps,) is taken for the direct path, and its sign for the
    polarity. The energy is kept; what rings on behind the end is cut.
    """
    direct = int(np.abs(response).argmax())
    used = response[: direct + len(wave)]  # later reflections fall behind the utterance's end
    used = used * np.sign(used[direct])
    used = np.pad(used, (0, -(len(wave) + len(used) - 1) % FFT_STEP))
    with torch.inference_mode():
        full = fftconvolve(torch.from_numpy(wave), torch.from_numpy(used)).numpy()
    wet: Wave = full[direct : direct + len(wave)]
    heard = energy(wet)
    if heard <= 0:
        return wave.copy()
    level: Wave = (wet * np.sqrt(energy(wave) / heard)).astype(np.float32)
    return level


def simulated_response(t60: float, rng: Generator) -> Wave:
    """Make a room response: a direct path, early reflections, exponentially decaying noise.

    The statistical model of late reverberation (Polack); no geometry. The ratio of direct to
    reverberant energy is drawn between 0 and 10 dB, as of a speaker within the room's critical
    distance. After `t60` seconds the energy has fallen by 60 dB: (about t60 * 16000,) float32,
    sample 0 being the direct path, 1, and the largest.
    """
    taps = 1 + round(t60 * SAMPLE_RATE)
    decay = np.exp(-DECAY * np.arange(taps) / (t60 * SAMPLE_RATE))  # (taps,)
    level = 10 ** (-rng.uniform(0, 10) / 20)  # of the reverberant part, the direct path being 1
    # Energy 1, so that an echo of 0.5 stands out from the diffuse field in rooms of every T60.
    diffuse = rng.standard_normal(taps) * decay * np.sqrt(2 * DECAY / (t60 * SAMPLE_RATE))
    count = int(rng.integers(3, 8))
    first, *later = np.sort(rng.uniform(0.001, 0.03, size=count) * SAMPLE_RATE).astype(int)
    diffuse[:first] = 0  # nothing comes back before the first wall's echo
    echoes = np.minimum([first, *later], taps - 1)
    diffuse[echoes] += rng.uniform(0.2, 0.6, count) * rng.choice([-1, 1], count) * decay[echoes]
    diffuse *= level / np.sqrt(np.square(diffuse).sum())
    response: Wave = np.clip(diffuse, -0.9, 0.9).astype(np.float32)
    response[0] = 1  # the direct path, always the largest
    return response


def mask_time(wave: Wave, rng: Generator, masks: int, seconds: float) -> Wave:
    """Silence spans, at most `seconds` and a fifth of the utterance each; they may overlap."""
    changed = wave.copy()
    longest = min(round(seconds * SAMPLE_RATE), int(len(wave) * LARGEST_MASKED_SHARE))
    for _ in range(masks):
        length = int(rng.integers(longest + 1))
        start = int(rng.integers(len(wave) - length + 1))
        changed[start : start + length] = 0
    return changed


def mask_channels(wave: Wave, rng: Generator, masks: int, hertz: float) -> Wave:
    """Remove frequency bands at random places, by a short-time Fourier transform of 32 ms.

    Each is at most `hertz` wide; those narrower than a bin of 31 Hz may remove nothing. What lies
    more than two bins away from a band is unchanged.
    """
    widths = rng.uniform(0, hertz, size=(masks, 1))
    lows = rng.uniform(0, SAMPLE_RATE / 2 - widths)
    bins = np.fft.rfftfreq(STFT_SIZE, 1 / SAMPLE_RATE)  # Hz
    removed = ((lows <= bins) & (bins <= lows + widths)).any(axis=0)
    if not removed.any() or not len(wave):
        return wave.copy()
    with torch.inference_mode():
        window = torch.hann_window(STFT_SIZE)
        # Zeros around it, not mirrored speech, which an utterance below 16 ms has not enough of.
        spectrum = torch.stft(
            torch.from_numpy(wave), STFT_SIZE, STFT_SHIFT, window=window, pad_mode="constant",
            return_complex=True,
        )  # fmt: skip
        spectrum[torch.from_numpy(removed)] = 0
        changed: Wave = torch.istft(
            spectrum, STFT_SIZE, STFT_SHIFT, window=window, length=len(wave)
        ).numpy()
    return changed


def speed_factor(config: AugmentConfig, rng: Generator) -> float:
    """Draw how much faster `cut.perturb_speed` is to make an utterance; 1.0 where none are set."""
    return float(rng.choice(config.speed)) if config.speed else 1.0


def labels_at_speed(labels: torch.Tensor, factor: float, frames: int) -> torch.Tensor:
    """Give each frame of the sped audio the label of the clean frame whose centre is nearest.

    Frame j is centred at sample 320 j + 200 of the sped audio, which is sample
    (320 j + 200) * factor of the clean audio. Beyond the last clean frame its label is repeated.
    """
    if frames and not len(labels):
        raise ValueError(
            f"{frames} frames at speed {factor:g} were to be labelled, but the clean audio has no "
            "label. Audio and labels are of different utterances, or the audio is too short."
        )
    centres = (FRAME_SHIFT * torch.arange(frames, dtype=torch.float64) + FRAME_CENTRE) * factor
    nearest = torch.ceil((centres - FRAME_CENTRE) / FRAME_SHIFT - 0.5).long()
    return labels[nearest.clamp(0, max(0, len(labels) - 1))]


def audio_files(folder: str, key: str, alternative: str) -> tuple[Path, ...]:
    """List the audio files below a folder by path, hidden ones aside; none are a `ValueError`."""
    root = Path(folder)
    way_out = f'name a folder of recordings, or "{alternative}"'
    if not root.is_dir():
        raise ValueError(f"augment.{key} = {folder!r} is not a folder; {way_out}.")
    aside = Aside()
    there = {path: path.is_file() for path in paths_below(root, AUDIO_SUFFIXES, aside)}
    aside.lost += [(path, "a link to nothing") for path, is_file in there.items() if not is_file]
    found = tuple(path for path, is_file in there.items() if is_file)
    if losses := aside.losses():
        say(f"augment.{key} = {folder!r}: {losses}")
    if not found:
        raise ValueError(
            f"augment.{key} = {folder!r} holds no audio file; looked for "
            f"{', '.join(sorted(AUDIO_SUFFIXES))} at any depth. Please {way_out}."
        )
    return found


@contextmanager
def _recording(path: Path) -> Iterator[OpenAudio]:
    """Open a recording; what goes wrong with it is a `ValueError` that names the file."""
    try:
        with open_audio(path) as recording:
            yield recording
    except AudioFault as fault:
        raise ValueError(_unusable(path, f"cannot be read ({fault.detail})")) from fault


def read_noise(path: Path, samples: int, place: float) -> Wave:
    """Read a stretch of a recording: (1 to about samples,) float32 at 16 kHz, channels averaged.

    Not all of it: noise may be hours long. It begins at `place`, in [0, 1); a shorter recording is
    read whole and rotated by this share, to be looped. A file that cannot be read, is empty or not
    finite is a `ValueError`.
    """
    with _recording(path) as recording:
        rate = recording.header.sampling_rate
        wanted = -(-samples * rate // SAMPLE_RATE)
        surplus = recording.header.samples - wanted
        first = int(place * (surplus + 1)) if surplus > 0 else 0
        wave = standard(recording.read(first, wanted).T, rate)
    _check(path, wave)
    return wave if surplus > 0 else np.roll(wave, int(place * len(wave)))


@lru_cache(maxsize=64)
def read_response(path: Path) -> Wave:
    """Read the first channel of a room response, (taps,) float32 at 16 kHz, read-only and cached.

    An average over the microphones of an array, each at another distance, would blur the direct
    path. A file that cannot be read, is empty, silent or not finite is a `ValueError`.
    """
    with _recording(path) as recording:
        wave = standard(recording.read()[:, 0], recording.header.sampling_rate)
    _check(path, wave)
    if not wave.any():
        raise ValueError(_unusable(path, "is silent in its first channel"))
    wave.setflags(write=False)
    return wave


def _check(path: Path, wave: Wave) -> None:
    if not len(wave):
        raise ValueError(_unusable(path, "holds no samples"))
    if not np.isfinite(wave).all():
        raise ValueError(_unusable(path, "has NaN or infinite samples"))


def _unusable(path: Path, reason: str) -> str:
    return f"The recording {path}, used for augmentation, {reason}. Remove it from its folder."
