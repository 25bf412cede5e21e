"""FBANK, the baseline without weights: exactly what s3prl's upstream of that name gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.models.frozen import FrozenModel, ModelShape, ModelType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "fbank"  # in place of a path
BINS = 80
EPSILON = 1e-10  # s3prl's
SHAPE = ModelShape(hidden_size=3 * BINS, num_layers=0, downsample_rate=160, receptive_field=400)


class Fbank(FrozenModel):
    """Kaldi's 80 log mel bins with two differences; each utterance to zero mean and unit variance.

    25 ms windows every 10 ms without padding at the edges and without dither.
    """

    def __init__(self) -> None:
        super().__init__(SHAPE)

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        del max_layer
        rows = zip(waveforms, lengths.tolist(), strict=True)
        features = [fbank(wave[:length]) for wave, length in rows]
        frames = torch.tensor([len(each) for each in features], device=lengths.device)
        return [pad_sequence(features, batch_first=True)], frames

    @property
    @override
    def one_by_one(self) -> bool:
        return True

    @override
    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        self.refuse_short(wavs)
        return [fbank(wav)[None] for wav in wavs]


def fbank(wave: Tensor) -> Tensor:
    """Map a waveform (samples,) at 16 kHz to (F, 240) float32."""
    import torchaudio  # noqa: PLC0415 - models open without it
    from torchaudio.compliance import kaldi  # noqa: PLC0415

    static = kaldi.fbank(wave[None], num_mel_bins=BINS, sample_frequency=SAMPLE_RATE)
    delta = torchaudio.functional.compute_deltas(static.T)
    second = torchaudio.functional.compute_deltas(delta)
    x = torch.cat([static, delta.T, second.T], dim=-1)  # s3prl's layout, or sums differ in a bit
    # What never changes, such as bins above 4 kHz of a telephone's audio or all of a single frame,
    # has no deviation, where s3prl gives the mean's rounding times 1e10, or NaN.
    deviation = x.std(0, keepdim=True) if len(x) > 1 else torch.ones_like(x)
    normed: Tensor = (x - x.mean(0, keepdim=True)) / (EPSILON + deviation)
    return normed.masked_fill(x.amax(0) == x.amin(0), 0.0)


class FbankType(ModelType):
    """The name `fbank` in place of a path."""

    @override
    def recognises(self, path: Path) -> bool:
        return str(path) == NAME and not path.exists()

    @override
    def shape(self, path: Path) -> ModelShape:
        return SHAPE

    @override
    def load(self, path: Path) -> FrozenModel:
        return Fbank()

    @override
    def files(self, path: Path) -> list[Path]:
        return []

    @override
    def weights(self, path: Path) -> list[Path]:
        return []

    @override
    def digest(self, path: Path) -> None:
        return None


TYPE = FbankType()
