"""Spectrograms of the versions of one utterance, one below the other on one time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Wave = NDArray[np.float32]

WINDOW, SHIFT = 512, 80  # samples: 32 ms, 5 ms
DEPTHS = (60.0, 100.0)  # dB between the loudest and the darkest colour
QUIET = 5  # per cent of the clean spectrogram may be darker; what is removed turns black
WIDTH, PANEL_HEIGHT = 9.0, 1.55  # inches


def draw(target: Path, name: str, panels: Sequence[tuple[str, Wave]]) -> None:
    """Write one PNG; all panels have one scale of time and of colour.

    Args:
        target: the file.
        name: of the utterance.
        panels: titles and waveforms (samples,) float32 at 16 kHz; colours are relative to the
            loudest point of the first.
    """
    import matplotlib as mpl  # noqa: PLC0415 - half a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    colours = mpl.colormaps["viridis"].with_extremes(under="black")
    spectra = [spectrogram(wave) for _, wave in panels]
    loudest = float(spectra[0].max())
    depth = float(np.clip(loudest - np.percentile(spectra[0], QUIET), *DEPTHS))
    figure = Figure(figsize=(WIDTH, 0.9 + PANEL_HEIGHT * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, sharey=True, squeeze=False)[:, 0]
    images = []
    for axis, (title, wave), decibels in zip(axes, panels, spectra, strict=True):
        seconds = len(wave) / SAMPLE_RATE
        edge = SHIFT / SAMPLE_RATE / 2  # a column stands for the time around its window's centre
        image = axis.imshow(
            decibels - loudest, origin="lower", aspect="auto", cmap=colours, vmin=-depth, vmax=0,
            extent=(-edge, (decibels.shape[1] - 0.5) * SHIFT / SAMPLE_RATE, 0, SAMPLE_RATE / 2000),
            interpolation="nearest",
        )  # fmt: skip
        images.append(image)
        axis.set_title(f"{title}  ({seconds:.2f} s)", loc="left", fontsize=10)
        axis.set_ylabel("kHz")
    axes[0].set_xlim(0, max(len(wave) for _, wave in panels) / SAMPLE_RATE)
    axes[-1].set_xlabel("seconds")
    figure.suptitle(name, x=0.01, ha="left", fontweight="bold")
    figure.colorbar(
        images[0],
        ax=list(axes),
        label="dB, the loudest of clean being 0",
        shrink=0.5,
        aspect=30,
        extend="min",
    )
    with atomic_path(target) as partial:
        figure.savefig(partial, dpi=110)


def spectrogram(wave: Wave) -> NDArray[np.float32]:
    """Return (257, columns) dB of a waveform (samples,), a column every 5 ms."""
    with torch.inference_mode():
        spectrum = torch.stft(
            torch.from_numpy(wave), WINDOW, SHIFT, window=torch.hann_window(WINDOW),
            pad_mode="constant", return_complex=True,
        )  # fmt: skip
        power = spectrum.abs().square().clamp_min(1e-12)  # silence is dark, not minus infinity
        decibels: NDArray[np.float32] = (10 * power.log10()).numpy()
    return decibels
