"""w2v-BERT 2.0: conformer blocks on Kaldi's log-mel bins, folders of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.models.checkpoint import require_sizes
from harness_bench.models.frozen import ModelShape, config_of, preprocessing_of
from harness_bench.models.rates import require_16_khz
from harness_bench.models.transformers import (
    TransformersFolder,
    TransformersModel,
    extractor_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from harness_bench.models.frozen import FrozenModel

_WINDOW, _HOP = 400, 160  # samples, of transformers' SeamlessM4TFeatureExtractor
_STRIDE, _BINS = 2, 80  # windows in a frame and their bins, where the folder does not say


class BinsEncoder(TransformersModel):
    """Bins by transformers' own extractor, normalised over each utterance."""

    def __init__(self, shape: ModelShape, body: Any, settings: Mapping[str, Any]) -> None:
        super().__init__(shape, body, body.encoder, together=True)
        self.extractor = extractor_of("SeamlessM4TFeatureExtractor", settings)

    @override
    def inputs(self, waveforms: Tensor, lengths: Tensor) -> dict[str, Tensor | None]:
        rows = zip(waveforms.float().cpu().numpy(), lengths.tolist(), strict=True)
        waves = [wave[:length] for wave, length in rows]
        made = self.extractor(waves, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        mask = made["attention_mask"].to(waveforms.device)
        return {"input_features": self.cast(made["input_features"]), "attention_mask": mask}


class W2vBertFolder(TransformersFolder):
    """Two windows of 10 ms a frame; what is left over at the end is no frame."""

    @override
    def shape(self, path: Path) -> ModelShape:
        require_sizes(path, ("hidden_size", "num_hidden_layers"))
        require_16_khz(path)
        config, heard = config_of(path), preprocessing_of(path)
        stride, bins = heard.get("stride", _STRIDE), heard.get("num_mel_bins", _BINS)
        width = config.get("feature_projection_input_dim", _STRIDE * _BINS)
        if not (type(stride) is type(bins) is int and 0 < stride * bins == width):
            raise ValueError(
                f"{path}: {stride!r} windows of {bins!r} bins a frame are not the {width!r} "
                "numbers of feature_projection_input_dim in config.json."
            )
        field = _WINDOW + (stride - 1) * _HOP
        return ModelShape(config["hidden_size"], config["num_hidden_layers"], stride * _HOP, field)

    @override
    def wrapped(self, path: Path, body: Any, epsilon: float) -> FrozenModel:
        return BinsEncoder(self.shape(path), body, preprocessing_of(path))


TYPE = W2vBertFolder("wav2vec2-bert", title="w2v-BERT 2.0")
