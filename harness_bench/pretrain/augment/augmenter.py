"""All changes to a waveform together, as an iteration's config asks for them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import standard
from harness_bench.core.files import paths_below
from harness_bench.pretrain.augment import effects
from harness_bench.pretrain.augment.config import GENERATED, SIMULATED

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from harness_bench.pretrain.augment.config import AugmentConfig

    Wave = NDArray[np.float32]

_SEEDS = np.iinfo(np.int64).max


class AppliedEffects(NamedTuple):
    """What was drawn for one utterance, in words; empty where nothing was."""

    room: str
    noise: str


class Augmenter:
    """Reverberation, noise, time masks and channel masks, in this order.

    The room comes first: noise is recorded, or made, as it sounds in its own place. Masks come
    last, or noise would fill them. It keeps nothing between calls and can be pickled.
    """

    def __init__(self, config: AugmentConfig) -> None:
        """List the folders of recordings that the config names.

        Raises:
            ValueError: a folder is missing or holds no audio.
        """
        self.config = config
        self.noises: tuple[Path, ...] = ()
        self.responses: tuple[Path, ...] = ()
        if config.noise_prob > 0 and config.noise != GENERATED:
            self.noises = audio_files(config.noise, "noise", GENERATED)
        if config.reverb_prob > 0 and config.reverb != SIMULATED:
            self.responses = audio_files(config.reverb, "reverb", SIMULATED)

    def __call__(self, wave: Wave, rng: Generator) -> Wave:
        """Change one utterance; see `change`."""
        return self.change(wave, rng)[0]

    def change(self, wave: Wave, rng: Generator) -> tuple[Wave, AppliedEffects]:
        """Change one utterance (samples,) float32 at 16 kHz; return it with its room and noise.

        Each effect has a random generator of its own, drawn from `rng` whether it is on or off:
        turning one off leaves what the others do as it was.

        Raises:
            ValueError: a recording of noise or of a room cannot be used; names the file.
        """
        config, room, noise = self.config, "", ""
        rooms, noises, spans, bands = map(
            np.random.default_rng, rng.integers(_SEEDS, size=4).tolist()
        )
        changed = wave
        if rooms.random() < config.reverb_prob:
            response, room = self._response(rooms)
            changed = effects.reverberate(changed, response)
        if noises.random() < config.noise_prob:
            ratio = noises.uniform(*config.noise_snr)
            disturbance, source = self._noise(len(wave), noises)
            changed = effects.add_noise(changed, disturbance, ratio)
            noise = f"{source}, SNR {ratio:.1f} dB"
        changed = effects.mask_time(changed, spans, config.time_masks, config.time_mask_seconds)
        changed = effects.mask_channels(
            changed, bands, config.channel_masks, config.channel_mask_hertz
        )
        return changed, AppliedEffects(room, noise)

    def _response(self, rng: Generator) -> tuple[Wave, str]:
        if not self.responses:
            t60 = rng.uniform(*self.config.reverb_t60)
            return effects.simulated_response(t60, rng), f"{SIMULATED}, T60 {t60:.2f} s"
        path = self.responses[rng.integers(len(self.responses))]
        return read_response(path), path.name

    def _noise(self, samples: int, rng: Generator) -> tuple[Wave, str]:
        if not self.noises:
            return effects.coloured_noise(samples, rng), GENERATED
        path = self.noises[rng.integers(len(self.noises))]
        return read_noise(path, samples, rng.random()), path.name


def audio_files(folder: str, key: str, alternative: str) -> tuple[Path, ...]:
    """List the audio files below a folder by path; hidden files and folders are not read.

    Raises:
        ValueError: no such folder, or no audio in it; names `augment.<key>` and the alternative.
    """
    root = Path(folder)
    way_out = f'name a folder of recordings, or "{alternative}"'
    if not root.is_dir():
        raise ValueError(f"augment.{key} = {folder!r} is not a folder; {way_out}.")
    known = _suffixes()
    found = tuple(path for path in paths_below(root, known) if path.is_file())
    if not found:
        raise ValueError(
            f"augment.{key} = {folder!r} holds no audio file; looked for "
            f"{', '.join(sorted(known))} at any depth. Please {way_out}."
        )
    return found


def _suffixes() -> frozenset[str]:
    """Return the suffixes of what soundfile opens without being told a format."""
    import soundfile as sf  # noqa: PLC0415 - only folders of recordings need it

    names = {f".{name.lower()}" for name in sf.available_formats()} - {".raw"}  # has no header
    return frozenset(names | {".aif", ".oga", ".opus", ".snd", ".sph", ".wave"})


def read_noise(path: Path, samples: int, place: float) -> Wave:
    """Read a stretch of a recording, not all of it: noise may be hours long.

    Args:
        path: audio of any rate; channels are averaged.
        samples: wanted at 16 kHz.
        place: in [0, 1); where the stretch begins. A shorter recording is read whole and rotated
            by this share, to be looped.

    Returns:
        (1 to about samples,) float32 at 16 kHz.

    Raises:
        ValueError: the file cannot be read, is empty, or has NaN or infinite samples.
    """
    import soundfile as sf  # noqa: PLC0415 - only folders of recordings need it

    try:
        with sf.SoundFile(path) as stream:
            wanted = -(-samples * stream.samplerate // SAMPLE_RATE)
            surplus = stream.frames - wanted
            if surplus > 0:
                stream.seek(int(place * (surplus + 1)))
            data = stream.read(wanted, dtype="float32", always_2d=True)
            wave = standard(data.T, stream.samplerate)
    except (sf.LibsndfileError, OSError) as error:
        raise ValueError(_unusable(path, f"cannot be read ({error})")) from error
    _check(path, wave)
    return wave if surplus > 0 else np.roll(wave, int(place * len(wave)))


@lru_cache(maxsize=64)
def read_response(path: Path) -> Wave:
    """Read the first channel of a room response, (taps,) float32 at 16 kHz, read-only and cached.

    An average over the microphones of an array, each at another distance, would blur the direct
    path.

    Raises:
        ValueError: the file cannot be read, is empty or silent, or has NaN or infinite samples.
    """
    import soundfile as sf  # noqa: PLC0415 - only folders of recordings need it

    try:
        data, rate = sf.read(path, dtype="float32", always_2d=True)
    except (sf.LibsndfileError, OSError) as error:
        raise ValueError(_unusable(path, f"cannot be read ({error})")) from error
    wave = standard(data[:, 0], rate)
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
