"""Shapes of HuBERT models; light enough for the command line to import."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.audio.frames import frame_count
from harness_bench.core.config import STRICT

Probability = Field(default=0.0, ge=0.0, lt=1.0)
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HubertConfig:
    """Shape and dropouts of a HuBERT model; fields carry fairseq's names."""

    encoder_layers: int = Field(ge=1, le=96)
    encoder_embed_dim: int = Field(ge=8, le=8192)
    encoder_ffn_embed_dim: int = Field(ge=8, le=65536)
    encoder_attention_heads: int = Field(ge=1, le=128)
    # fairseq's conv_feature_layers, taken apart: channels, kernels, strides of each layer.
    conv_dim: tuple[Positive, ...] = (512,) * 7
    conv_kernel: tuple[Positive, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[Positive, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    # "layer_norm" after every convolution, or "default": group norm after the first alone.
    extractor_mode: Literal["layer_norm", "default"] = "layer_norm"
    layer_norm_first: bool = True
    conv_pos: int = Field(default=128, ge=1)
    conv_pos_groups: int = Field(default=16, ge=1)
    # fairseq projects only where the dimensions differ; transformers always does.
    post_extract_proj: Literal["if_needed", "always"] = "if_needed"
    normalize: bool = True  # task.normalize: each waveform to zero mean and unit variance
    dropout: float = Probability
    attention_dropout: float = Probability
    activation_dropout: float = Probability
    dropout_input: float = Probability
    encoder_layerdrop: float = Probability
    layer_norm_eps: float = Field(default=1e-5, gt=0)

    def __post_init__(self) -> None:
        for name in ("encoder_attention_heads", "conv_pos_groups"):
            if self.encoder_embed_dim % (parts := getattr(self, name)):
                raise ValueError(
                    f"encoder_embed_dim = {self.encoder_embed_dim} is not a multiple of "
                    f"{name} = {parts}"
                )
        if not len(self.conv_dim) == len(self.conv_kernel) == len(self.conv_stride) >= 1:
            raise ValueError(
                f"conv_dim, conv_kernel and conv_stride have {len(self.conv_dim)}, "
                f"{len(self.conv_kernel)} and {len(self.conv_stride)} entries; give one per layer"
            )

    @property
    def has_projection(self) -> bool:
        """Whether a linear layer stands between the extractor and the transformer."""
        return self.post_extract_proj == "always" or self.conv_dim[-1] != self.encoder_embed_dim

    @property
    def downsample_rate(self) -> int:
        """Samples per frame (320 for every model of the paper)."""
        return math.prod(self.conv_stride)

    @property
    def receptive_field(self) -> int:
        """Samples that one frame sees (400 for every model of the paper)."""
        field, step = 1, 1
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            field, step = field + (kernel - 1) * step, step * stride
        return field

    def frames(self, samples: int) -> int:
        """Return how many frames the extractor gives for `samples` samples (0 if too short)."""
        return frame_count(samples, self.receptive_field, self.downsample_rate)
