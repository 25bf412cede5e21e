"""Hear and see what a config does to audio: wave files and spectrograms per utterance."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torchaudio.transforms import Spectrogram

from harness_bench.audio.base import AudioFault
from harness_bench.audio.frames import FRAME_FIELD, SAMPLE_RATE
from harness_bench.audio.io import load_waveform, open_audio, standard
from harness_bench.core.config import build, read_toml, resolved
from harness_bench.core.files import atomic_path
from harness_bench.core.workdir import write_provenance
from harness_bench.cuts.store import read_cuts, splits
from harness_bench.pretrain.augment.effects import Augmenter, speed_factor
from harness_bench.pretrain.config import (
    AugmentConfig,
    load_family,
    preset_names,
    read_iteration,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Wave = NDArray[np.float32]

MAX_SECONDS = 20  # more cannot be told apart in a picture
# Key of AugmentConfig -> usual strength; off is the empty value of its type.
EFFECTS: dict[str, Any] = {
    "speed": (0.9, 1.1), "noise_prob": 1.0, "reverb_prob": 1.0, "time_masks": 2, "channel_masks": 2,
}  # fmt: skip
TOGETHER = "all"
WINDOW, SHIFT = 512, 80  # samples: 32 ms, 5 ms
DEPTHS = (60.0, 100.0)  # dB between the loudest and the darkest colour
QUIET = 5  # per cent of the clean spectrogram may be darker; what is removed turns black


def read_augment(path: Path) -> AugmentConfig:
    """Read how audio is augmented from an iteration, a preset, a family, or a file of that table.

    A family whose iterations augment in different ways is a `ValueError`.
    """
    values = {} if str(path) in preset_names() or not path.is_file() else read_toml(path)
    if not values or "model" in values:
        return read_iteration(path).pretrain.augment
    if "iterations" in values:
        steps = [step for step in load_family(path).iterations if step.pretrain.augment.active]
        found = {step.pretrain.augment for step in steps}
        if len(found) > 1:
            names = ", ".join(step.name for step in steps)
            raise ValueError(
                f"{path}: {names} change audio in different ways. Put the table "
                "[pretrain.augment] to be seen into a file of its own."
            )
        return found.pop() if found else AugmentConfig()
    try:
        table = values["pretrain"]["augment"]
    except (KeyError, TypeError):
        raise ValueError(
            f"{path} has no table [pretrain.augment], and is neither an iteration nor a family."
        ) from None
    return build(AugmentConfig, table, source=f"{path}, [pretrain.augment]")


class Version(NamedTuple):
    """An utterance as it was, or changed."""

    name: str  # of its file
    title: str  # what was done, in words
    wave: Wave  # (samples,) float32 at 16 kHz


def preview(
    config: AugmentConfig, audio: Path, out: Path, *, seed: int = 0, count: int = 3
) -> list[Path]:
    """Write each utterance clean, with every active effect alone, and with all together.

    Effects on a share of the utterances are applied to all, and a speed other than 1 is drawn, so
    that there is something to see. All files of an utterance are scaled alike where one would clip.

    Args:
        config: which effects, how strong.
        audio: a file, of which the first 20 s are taken, or a prepared folder, of whose first split
            the first `count` utterances are taken.
        out: gets `ID.png` and the folder `ID` of wave files per utterance, and provenance.json.
        seed: of all that is drawn.
        count: utterances of a folder.

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
        _draw(pictures[-1], name, found)
    write_provenance(out, config=resolved(config), seed=seed, inputs={"audio": str(audio)})
    return pictures


def with_everything(config: AugmentConfig) -> AugmentConfig:
    """Turn on, at usual strengths, every effect that is off."""
    config = _certain(config)
    return replace(config, **{key: getattr(config, key) or on for key, on in EFFECTS.items()})


def _certain(config: AugmentConfig) -> AugmentConfig:
    return replace(
        config,
        speed=tuple(factor for factor in config.speed if factor != 1),
        noise_prob=float(config.noise_prob > 0),
        reverb_prob=float(config.reverb_prob > 0),
    )


def always(config: AugmentConfig) -> AugmentConfig:
    """Make every active effect certain, and every speed another than 1; none: `ValueError`."""
    certain = _certain(config)
    if not certain.active:
        raise ValueError(
            "Nothing is changed by this config: its table [pretrain.augment] is absent, or all "
            f"effects are off. Set one of {', '.join(EFFECTS)}, or see every effect at its usual "
            "strength with --all."
        )
    return certain


def versions(config: AugmentConfig, wave: Wave, rng: np.random.Generator) -> list[Version]:
    """Change one utterance: clean, each active effect alone, all of them together.

    All versions draw the same random numbers, so noise alone is the noise of all together.
    """
    seed = int(rng.integers(np.iinfo(np.int64).max))
    found = [Version("clean", "clean", wave)]
    off = {key: type(on)() for key, on in EFFECTS.items()}
    active = [key for key in EFFECTS if getattr(config, key)]
    for key in active:
        alone = replace(config, **{**off, key: getattr(config, key)})
        changed, words = _changed(alone, wave, seed)
        found.append(Version(key.removesuffix("_prob"), words[key], changed))
    if len(active) > 1:
        found.append(Version(TOGETHER, "all together", _changed(config, wave, seed)[0]))
    return found


def _changed(config: AugmentConfig, wave: Wave, seed: int) -> tuple[Wave, dict[str, str]]:
    """Apply speed, then the rest; tell in words what each effect did."""
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
    most = MAX_SECONDS * SAMPLE_RATE
    if audio.is_dir():
        for cut in read_cuts(audio, splits(audio)[0])[:count]:
            yield re.sub(r"[^\w.-]+", "_", cut.id), load_waveform(cut)[:most]
    else:
        yield audio.stem, _read_file(audio)[:most]


def _read_file(path: Path) -> Wave:
    try:
        with open_audio(path) as recording:
            rate = recording.header.sampling_rate
            return standard(recording.read(0, MAX_SECONDS * rate).T, rate)
    except AudioFault as fault:
        raise ValueError(
            f"{path} cannot be read as audio ({fault.detail}). Give an audio file, or a folder "
            "made by `harness-bench prepare`."
        ) from fault


def _write_waves(folder: Path, found: list[Version]) -> None:
    import soundfile as sf  # noqa: PLC0415 - loads a C library

    for name in (*EFFECTS, TOGETHER):  # of effects that are off by now
        (folder / f"{name.removesuffix('_prob')}.wav").unlink(missing_ok=True)
    loudest = max(float(np.abs(version.wave).max()) for version in found)
    for version in found:
        with atomic_path(folder / f"{version.name}.wav") as partial:
            sf.write(partial, version.wave / max(1.0, loudest), SAMPLE_RATE, subtype="PCM_16")


def _draw(target: Path, name: str, found: list[Version]) -> None:
    """Write one PNG of spectrograms on one scale of time and of colour."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    colours = mpl.colormaps["viridis"].with_extremes(under="black")
    spectra = [_spectrogram(version.wave) for version in found]
    loudest = float(spectra[0].max())
    depth = float(np.clip(loudest - np.percentile(spectra[0], QUIET), *DEPTHS))
    figure = Figure(figsize=(9.0, 0.9 + 1.55 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), sharex=True, sharey=True, squeeze=False)[:, 0]
    edge = SHIFT / SAMPLE_RATE / 2  # a column stands for the time around its window's centre
    for axis, version, decibels in zip(axes, found, spectra, strict=True):
        axis.imshow(
            decibels - loudest, origin="lower", aspect="auto", cmap=colours, vmin=-depth, vmax=0,
            extent=(-edge, (decibels.shape[1] - 0.5) * SHIFT / SAMPLE_RATE, 0, SAMPLE_RATE / 2000),
            interpolation="nearest",
        )  # fmt: skip
        seconds = len(version.wave) / SAMPLE_RATE
        axis.set_title(f"{version.title}  ({seconds:.2f} s)", loc="left", fontsize=10)
        axis.set_ylabel("kHz")
    axes[0].set_xlim(0, max(len(version.wave) for version in found) / SAMPLE_RATE)
    axes[-1].set_xlabel("seconds")
    figure.suptitle(name, x=0.01, ha="left", fontweight="bold")
    scale = "dB, the loudest of clean being 0"
    image = axes[0].images[0]
    figure.colorbar(image, ax=list(axes), label=scale, shrink=0.5, aspect=30, extend="min")
    with atomic_path(target) as partial:
        figure.savefig(partial, dpi=110)


def _spectrogram(wave: Wave) -> NDArray[np.float32]:
    """Return (257, columns) dB of a waveform (samples,), a column every 5 ms."""
    power = Spectrogram(WINDOW, hop_length=SHIFT, pad_mode="constant")(torch.from_numpy(wave))
    floored = power.clamp_min(1e-12)  # silence is dark, not minus infinity
    decibels: NDArray[np.float32] = (10 * floored.log10()).numpy()
    return decibels
