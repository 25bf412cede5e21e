"""Let one hear and see what a config does to audio: wave files and a picture per utterance."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.audio.frames import FRAME_FIELD, SAMPLE_RATE
from harness_bench.audio.io import load_waveform, standard
from harness_bench.core.config import resolved
from harness_bench.core.files import atomic_path
from harness_bench.core.workdir import write_provenance
from harness_bench.cuts.store import read_cuts, splits
from harness_bench.pretrain.augment.augmenter import Augmenter
from harness_bench.pretrain.augment.effects import speed_factor
from harness_bench.pretrain.augment.picture import draw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from harness_bench.pretrain.augment.config import AugmentConfig

    Wave = NDArray[np.float32]

MAX_SECONDS = 20  # more cannot be told apart in a picture
OFF: dict[str, Any] = {
    "speed": (), "noise_prob": 0.0, "reverb_prob": 0.0, "time_masks": 0, "channel_masks": 0,
}  # fmt: skip
EVERYTHING: dict[str, Any] = {
    "speed": (0.9, 1.1), "noise_prob": 1.0, "reverb_prob": 1.0, "time_masks": 2, "channel_masks": 2,
}  # fmt: skip
NAMES = {
    "speed": "speed", "noise_prob": "noise", "reverb_prob": "reverb",
    "time_masks": "time_masks", "channel_masks": "channel_masks",
}  # fmt: skip
TOGETHER = "all"


@dataclass(frozen=True)
class Version:
    """An utterance as it was, or changed."""

    name: str  # of its file
    title: str  # what was done, in words
    wave: Wave  # (samples,) float32 at 16 kHz


def preview(
    config: AugmentConfig, audio: Path, out: Path, *, seed: int = 0, count: int = 3
) -> list[Path]:
    """Write each utterance clean, with every active effect alone, and with all together.

    Effects that a config applies to a share of the utterances are applied to all, and a speed
    other than 1 is drawn, so that there is something to see. All files of an utterance are scaled
    alike where one of them would clip.

    Args:
        config: which effects, how strong.
        audio: a file, of which the first 20 s are taken, or a folder made by
            `harness-bench prepare`, of whose first split the first utterances are taken.
        out: gets `ID.png` and the folder `ID` of wave files per utterance, and provenance.json.
        seed: of all that is drawn.
        count: utterances of a folder.

    Returns:
        The pictures.

    Raises:
        ValueError: no effect is active, or the audio cannot be read.
    """
    config = always(config)
    pictures = []
    for number, (name, wave) in enumerate(_utterances(audio, count)):
        if len(wave) < FRAME_FIELD:
            raise ValueError(
                f"{name} of {audio} has {len(wave)} samples at 16 kHz; a frame needs "
                f"{FRAME_FIELD}. Choose longer audio."
            )
        found = versions(config, wave, np.random.default_rng([seed, number]))
        _write_waves(out / name, found)
        pictures.append(out / f"{name}.png")
        draw(pictures[-1], name, [(version.title, version.wave) for version in found])
    write_provenance(out, config=resolved(config), seed=seed, inputs={"audio": str(audio)})
    return pictures


def with_everything(config: AugmentConfig) -> AugmentConfig:
    """Turn on, at usual strengths, every effect that is off."""
    config = replace(config, speed=_real_speeds(config))
    return replace(
        config, **{key: getattr(config, key) or usual for key, usual in EVERYTHING.items()}
    )


def _real_speeds(config: AugmentConfig) -> tuple[float, ...]:
    return tuple(factor for factor in config.speed if factor != 1)


def always(config: AugmentConfig) -> AugmentConfig:
    """Make every active effect certain, and every speed another than 1.

    Raises:
        ValueError: nothing is active.
    """
    certain = replace(
        config,
        speed=_real_speeds(config),
        noise_prob=float(config.noise_prob > 0),
        reverb_prob=float(config.reverb_prob > 0),
    )
    if not certain.active:
        raise ValueError(
            "Nothing is changed by this config: its table [pretrain.augment] is absent, or all "
            "effects are off. Set speed, noise_prob, reverb_prob, time_masks or channel_masks "
            "there, or see every effect at its usual strength with --all."
        )
    return certain


def versions(config: AugmentConfig, wave: Wave, rng: np.random.Generator) -> list[Version]:
    """Change one utterance: clean, each active effect alone, all of them together.

    All versions draw the same random numbers, so noise alone is the noise of all together.
    """
    seed = int(rng.integers(np.iinfo(np.int64).max))
    found = [Version("clean", "clean", wave)]
    active = [key for key in OFF if getattr(config, key)]
    for key in active:
        alone = replace(config, **{**OFF, key: getattr(config, key)})
        changed, words = _changed(alone, wave, seed)
        found.append(Version(NAMES[key], words[key], changed))
    if len(active) > 1:
        found.append(Version(TOGETHER, "all together", _changed(config, wave, seed)[0]))
    return found


def _changed(config: AugmentConfig, wave: Wave, seed: int) -> tuple[Wave, dict[str, str]]:
    """Apply speed, then the rest; say in words what each effect did."""
    from lhotse.augmentation.torchaudio import Speed  # noqa: PLC0415 - what its cuts use, too

    speeds, others = np.random.default_rng(seed).spawn(2)
    factor = speed_factor(config, speeds)
    if factor != 1:
        wave = Speed(factor)(wave[None], SAMPLE_RATE)[0]
    changed, drawn = Augmenter(config).change(wave, others)
    return changed, {
        "speed": f"speed × {factor:g}",
        "noise_prob": f"noise: {drawn.noise}",
        "reverb_prob": f"reverberation: {drawn.room}",
        "time_masks": f"time masks: {config.time_masks}, up to {config.time_mask_seconds:g} s each",
        "channel_masks": f"channel masks: {config.channel_masks}, up to "
        f"{config.channel_mask_hertz:g} Hz each",
    }


def _utterances(audio: Path, count: int) -> Iterator[tuple[str, Wave]]:
    """Yield names, fit for files, and waveforms of at most 20 s."""
    most = MAX_SECONDS * SAMPLE_RATE
    if audio.is_dir():
        for cut in read_cuts(audio, splits(audio)[0])[:count]:
            yield re.sub(r"[^\w.-]+", "_", cut.id), load_waveform(cut)[:most]
    else:
        yield audio.stem, _read_file(audio)[:most]


def _read_file(path: Path) -> Wave:
    import soundfile as sf  # noqa: PLC0415 - a folder of cuts does not need it

    try:
        with sf.SoundFile(path) as stream:
            data = stream.read(MAX_SECONDS * stream.samplerate, dtype="float32", always_2d=True)
            return standard(data.T, stream.samplerate)
    except (sf.LibsndfileError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as audio ({error}). Give an audio file, or a folder made by "
            "`harness-bench prepare`."
        ) from error


def _write_waves(folder: Path, found: list[Version]) -> None:
    import soundfile as sf  # noqa: PLC0415 - loads a C library

    for name in (*NAMES.values(), TOGETHER):
        (folder / f"{name}.wav").unlink(missing_ok=True)  # of effects that are off by now
    loudest = max(float(np.abs(version.wave).max()) for version in found)
    for version in found:
        with atomic_path(folder / f"{version.name}.wav") as partial:
            sf.write(partial, version.wave / max(1.0, loudest), SAMPLE_RATE, subtype="PCM_16")
