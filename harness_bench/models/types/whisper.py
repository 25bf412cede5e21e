"""Whisper's encoder: windows of 30 s, folders of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

import torch
from torch import Tensor

from harness_bench.audio.frames import FRAME_FIELD, SAMPLE_RATE
from harness_bench.models.checkpoint import require_sizes
from harness_bench.models.frozen import PREPROCESSOR, ModelShape, config_of, preprocessing_of
from harness_bench.models.rates import require_16_khz
from harness_bench.models.transformers import (
    TransformersFolder,
    TransformersModel,
    extractor_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.models.frozen import FrozenModel

_KEYS = ("d_model", "encoder_layers", "num_mel_bins", "max_source_positions")
_HOP, _STRIDE = 160, 2  # samples of a window of bins; windows of a frame


class WhisperEncoder(TransformersModel):
    """Each utterance as Whisper hears it: zeros up to a whole window, one window after the other.

    A window is normalised and encoded by itself, so longer audio costs no more than it must.
    """

    def __init__(self, shape: ModelShape, body: Any, settings: Mapping[str, Any]) -> None:
        super().__init__(shape, body, body, together=True)
        positions = body.config.max_source_positions
        seconds = positions * shape.downsample_rate // SAMPLE_RATE
        known = {"feature_size": body.config.num_mel_bins, "chunk_length": seconds}
        self.extractor = extractor_of("WhisperFeatureExtractor", {**known, **settings})
        made = self.extractor.feature_size, self.extractor.nb_max_frames, self.extractor.hop_length
        if made != (wanted := (known["feature_size"], _STRIDE * positions, _HOP)):
            raise ValueError(
                f"The extractor's bins, windows and hop are {made}; config.json needs {wanted}. "
                f"Is {PREPROCESSOR} of the same model?"
            )
        self.window = positions * shape.downsample_rate  # samples

    @override
    def inputs(self, waveforms: Tensor, lengths: Tensor) -> dict[str, Tensor | None]:
        bins = [self._bins(wave[:length]) for wave, length in zip(waveforms, lengths, strict=True)]
        return {"input_features": self.cast(torch.cat(bins))}

    def _bins(self, wave: Tensor) -> Tensor:
        made = self.extractor(
            wave.float().cpu().numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt"
        )
        features: Tensor = made["input_features"]
        return features

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        frames = self.shape.counts(lengths)
        most = int(frames.max())
        pieces = -(-most * self.shape.downsample_rate // self.window)
        parts = []
        for first in range(0, max(pieces, 1) * self.window, self.window):
            rest = (lengths - first).clamp(min=1, max=self.window)
            parts.append(self._states(waveforms[:, first : first + self.window], rest, max_layer))
        states = [torch.cat(each, dim=1)[:, :most] for each in zip(*parts, strict=True)]
        return states, frames


class WhisperFolder(TransformersFolder):
    """The decoder, where there is one, is left aside.

    Frame j is centred at sample 320 j. Frames are counted as those of HuBERT, so that labels and
    heads fit: of the last 20 ms of an utterance there may be none.
    """

    @override
    def shape(self, path: Path) -> ModelShape:
        require_sizes(path, _KEYS)
        require_16_khz(path)
        config = config_of(path)
        size = config["d_model"], config["encoder_layers"]
        return ModelShape(*size, _HOP * _STRIDE, FRAME_FIELD)

    @property
    @override
    def prefixes(self) -> tuple[str, ...]:
        return ("encoder.",)

    @override
    def wrapped(self, path: Path, body: Any, epsilon: float) -> FrozenModel:
        return WhisperEncoder(self.shape(path), body, preprocessing_of(path))

    @override
    def body(self, path: Path) -> Any:
        return super().body(path).encoder


TYPE = WhisperFolder("whisper", title="Whisper's encoder")
