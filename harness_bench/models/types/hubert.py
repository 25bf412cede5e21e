"""HuBERT: checkpoint folders of this project and of transformers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, override

from safetensors import safe_open

from harness_bench.models import checkpoint
from harness_bench.models.config import forward_per_second
from harness_bench.models.frozen import FrozenModel, ModelShape, ModelType, weights_file

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

    @override
    def let_padding_count(self) -> None:
        self.hubert.feature_extractor.per_utterance = False

    @override
    def operations_per_second(self, seconds: float) -> float:
        return forward_per_second(self.hubert.config, utterance_seconds=seconds)


class HubertFolder(ModelType):
    """Folders in transformers' layout whose architecture is HuBERT's."""

    def __init__(self, model_type: str, *, title: str, elsewhere: str) -> None:
        self.model_types = (model_type,)
        self.title, self.elsewhere = title, elsewhere

    @override
    def shape(self, path: Path) -> ModelShape:
        return hubert_shape(checkpoint.load_config(path))

    @override
    def load(self, path: Path) -> FrozenModel:
        return Backbone(checkpoint.load_hubert(path))

    @override
    def parameters(self, path: Path) -> int:
        weights = weights_file(path)
        if weights.suffix != ".safetensors":
            return sum(tensor.numel() for tensor in checkpoint.backbone_tensors(path).values())
        with safe_open(weights, framework="pt") as tensors:  # headers alone
            return sum(
                math.prod(tensors.get_slice(name).get_shape())
                for name in tensors.keys()  # noqa: SIM118  # not a dict: it cannot be iterated
                if not checkpoint.belongs_to_head(checkpoint.plain_name(name))
            )


def hubert_shape(config: HubertConfig) -> ModelShape:
    """Return the shape of our HuBERT."""
    strides = config.downsample_rate, config.receptive_field
    return ModelShape(config.encoder_embed_dim, config.encoder_layers, *strides)


TYPE = HubertFolder(
    "hubert",
    title="HuBERT",
    elsewhere="transformers: `HubertModel.from_pretrained(FOLDER)`; s3prl's own `hf_hubert_custom`",
)
