"""HuBERT: checkpoint folders of this project and of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from harness_bench.models import checkpoint
from harness_bench.models.config import forward_per_second
from harness_bench.models.frozen import FrozenModel, ModelShape, config_of
from harness_bench.models.rates import at_rate, rate_of, shape_at
from harness_bench.models.transformers import TransformersFolder
from harness_bench.models.weights import weight_sizes

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from harness_bench.models.hubert import Hubert, HubertConfig


class Backbone(FrozenModel):
    """Our HuBERT as a frozen model."""

    def __init__(self, hubert: Hubert) -> None:
        super().__init__(hubert_shape(hubert.config))
        self.hubert = hubert
        self.eval()

    @override
    def forward(
        self, waveforms: Tensor, lengths: Tensor, max_layer: int | None = None
    ) -> tuple[list[Tensor], Tensor]:
        out = self.hubert(waveforms, lengths, max_layer=max_layer)
        return out.hidden_states, out.frames

    @property
    @override
    def one_by_one(self) -> bool:  # its convolutions alone
        return bool(self.hubert.feature_extractor.per_utterance)

    @override
    def let_padding_count(self) -> None:
        self.hubert.feature_extractor.per_utterance = False

    @override
    def operations_per_second(self, seconds: float) -> float:
        return forward_per_second(self.hubert.config, utterance_seconds=seconds)


class HubertFolder(TransformersFolder):
    """Folders whose architecture is HuBERT's, run by our module; its variants by transformers."""

    def __init__(self, model_type: str, *, title: str, elsewhere: str) -> None:
        super().__init__(model_type, title=title)
        self.elsewhere = elsewhere

    @override
    def shape(self, path: Path) -> ModelShape:
        if checkpoint.unlike_ours(config_of(path)) is not None:
            return super().shape(path)
        return shape_at(hubert_shape(checkpoint.load_config(path)), rate_of(path), path)

    @override
    def load(self, path: Path) -> FrozenModel:
        if checkpoint.unlike_ours(config_of(path)) is not None:
            return super().load(path)
        return at_rate(Backbone(checkpoint.load_hubert(path)), rate_of(path), path)

    @override
    def parameters(self, path: Path) -> int:
        if checkpoint.unlike_ours(config_of(path)) is not None:
            return super().parameters(path)
        sizes = weight_sizes(path)
        return sum(size for name, size in sizes.items() if not checkpoint.belongs_to_head(name))


def hubert_shape(config: HubertConfig) -> ModelShape:
    """Return the shape of our HuBERT."""
    strides = config.downsample_rate, config.receptive_field
    return ModelShape(config.encoder_embed_dim, config.encoder_layers, *strides)


TYPE = HubertFolder(
    "hubert",
    title="HuBERT",
    elsewhere="transformers: `HubertModel.from_pretrained(FOLDER)`; s3prl's own `hf_hubert_custom`",
)
