"""Models that were trained at another sampling rate than 16 kHz: their audio is resampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.resample import resample
from harness_bench.models.frozen import FrozenModel, ModelShape, preprocessing_of

if TYPE_CHECKING:
    from pathlib import Path


def rate_of(folder: Path) -> int:
    """Return the sampling rate in Hz that a folder says its audio has; 16000 where it does not."""
    rate = preprocessing_of(folder).get("sampling_rate", SAMPLE_RATE)
    if not isinstance(rate, int) or rate <= 0:
        raise ValueError(f"{folder}: sampling_rate = {rate!r}; expected a whole number of Hz.")
    return rate


def require_16_khz(folder: Path) -> None:
    """Refuse a model of bins at another rate, whose windows are counted in samples at 16 kHz."""
    if (rate := rate_of(folder)) != SAMPLE_RATE:
        raise ValueError(
            f"{folder}: sampling_rate is {rate}; models of this kind expect {SAMPLE_RATE} Hz here."
        )


def shape_at(shape: ModelShape, rate: int, folder: Path) -> ModelShape:
    """Return a model's shape in samples at 16 kHz; no whole number per frame is a ValueError."""
    shift, rest = divmod(shape.downsample_rate * SAMPLE_RATE, rate)
    if rest:
        raise ValueError(
            f"{folder}: its audio has {rate} Hz and a frame per {shape.downsample_rate} samples, "
            f"which is not a whole number of samples at {SAMPLE_RATE} Hz, the rate of all audio "
            "here. Convert the model's input, or take one of another rate."
        )
    field = -(-shape.receptive_field * SAMPLE_RATE // rate)
    return ModelShape(shape.hidden_size, shape.num_layers, shift, field)


def at_rate(model: FrozenModel, rate: int, folder: Path) -> FrozenModel:
    """Let a model that hears `rate` Hz take audio at 16 kHz."""
    return model if rate == SAMPLE_RATE else Resampled(model, rate, folder)


class Resampled(FrozenModel):
    """A model of another rate; each utterance is resampled by itself, on the CPU."""

    def __init__(self, model: FrozenModel, rate: int, folder: Path) -> None:
        super().__init__(shape_at(model.shape, rate, folder))
        self.model, self.rate = model, rate

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        if torch.onnx.is_in_onnx_export():
            raise NotImplementedError(
                f"its audio is resampled to {self.rate} Hz, which no graph does"
            )
        rows = zip(waveforms.detach().cpu().numpy(), lengths.tolist(), strict=True)
        heard = [
            torch.from_numpy(resample(wave[:length], SAMPLE_RATE, self.rate)).to(waveforms)
            for wave, length in rows
        ]
        inner = torch.tensor([len(each) for each in heard], device=lengths.device)
        states, _ = self.model(pad_sequence(heard, batch_first=True), inner, max_layer)
        # Rounding up may give a frame more than whole samples do.
        return states, self.shape.counts(lengths)

    @property
    @override
    def one_by_one(self) -> bool:
        return self.model.one_by_one

    @override
    def let_padding_count(self) -> None:
        self.model.let_padding_count()
