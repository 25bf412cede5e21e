"""Shapes of HuBERT models and what they cost, by formula; light enough for the command line.

Counts of parameters are exact: tests compare them with built models.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.audio.frames import SAMPLE_RATE, field_of, frame_count
from harness_bench.core.config import STRICT

Probability = Field(default=0.0, ge=0.0, lt=1.0)
Positive = Annotated[int, Field(ge=1)]
# Of extractor_mode "mel": bins, and windows and hops in samples; two windows make a frame.
MEL_BINS, MEL_WINDOW, MEL_HOP, MEL_STACK = 80, 400, 160, 2
# fairseq's dictionary adds <s>, <pad>, </s> and <unk> to the clusters.
FAIRSEQ_SPECIAL_SYMBOLS = 4
# Dense bf16 operations per second of one H100 SXM, from its data sheet.
H100_BF16_PEAK = 989e12
# By parts of a GPU's name, dense, from data sheets.
_BF16_PEAKS = {"H100": H100_BF16_PEAK, "H200": H100_BF16_PEAK, "A100": 312e12}
# Shares of that peak: what a published trainer of this kind reaches, and what this one aims at.
USUAL_UTILISATION, GOAL_UTILISATION = 0.10, 0.40


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
    # "layer_norm" after every convolution, or "default": group norm after the first alone. "mel" is
    # ours: log-mel bins and one linear layer, which conv_* describe as a layer of 400 and 320.
    extractor_mode: Literal["layer_norm", "default", "mel"] = "layer_norm"
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
        mel = (self.conv_kernel, self.conv_stride) == ((MEL_WINDOW,), (MEL_STACK * MEL_HOP,))
        if self.extractor_mode == "mel" and not mel:
            raise ValueError(
                f'extractor_mode = "mel" has one layer: got conv_kernel = {[*self.conv_kernel]} '
                f"and conv_stride = {[*self.conv_stride]}; set conv_dim = [512], conv_kernel = "
                f"[{MEL_WINDOW}] and conv_stride = [{MEL_STACK * MEL_HOP}]"
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
        return field_of(self.conv_kernel, self.conv_stride)

    def frames(self, samples: int) -> int:
        """Return how many frames the extractor gives for `samples` samples (0 if too short)."""
        return frame_count(samples, self.receptive_field, self.downsample_rate)


def backbone_parameters(config: HubertConfig, *, projection: bool | None = None) -> int:
    """Count the backbone's parameters, mask embedding included.

    `projection`: count the one from the extractor to the transformer; None: as the config has it.
    """
    dim, ffn = config.encoder_embed_dim, config.encoder_ffn_embed_dim
    channels = config.conv_dim[-1]
    block = 4 * _linear(dim, dim) + _linear(dim, ffn) + _linear(ffn, dim) + 4 * dim
    # Weight norm keeps one length per kernel position beside the weight.
    positions = config.conv_pos + dim * dim // config.conv_pos_groups * config.conv_pos + dim
    has_projection = config.has_projection if projection is None else projection
    project = _linear(channels, dim) if has_projection else 0
    total = _extractor(config) + 2 * channels + project + dim + positions
    return total + config.encoder_layers * block + 2 * dim  # a norm has two numbers a channel


def paper_parameters(config: HubertConfig, clusters: int, final_dim: int) -> int:
    """Count as fairseq does: backbone, final projection and embeddings of all labels."""
    head = _linear(config.encoder_embed_dim, final_dim)
    return backbone_parameters(config) + head + (clusters + FAIRSEQ_SPECIAL_SYMBOLS) * final_dim


def exported_parameters(config: HubertConfig) -> int:
    """Count what stands in the exported folder: transformers' layout always has a projection."""
    return backbone_parameters(config, projection=True)


def _extractor(config: HubertConfig) -> int:
    if config.extractor_mode == "mel":
        width = MEL_STACK * MEL_BINS
        return 2 * width + _linear(width, config.conv_dim[-1])
    total, channels = 0, 1
    for index, (dim, kernel) in enumerate(zip(config.conv_dim, config.conv_kernel, strict=True)):
        normed = config.extractor_mode == "layer_norm" or index == 0
        total += channels * dim * kernel + dim * config.conv_bias + 2 * dim * normed
        channels = dim
    return total


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def forward_per_second(
    config: HubertConfig,
    *,
    clusters: int = 0,
    final_dim: int = 0,
    utterance_seconds: float = 10.0,
    predicted: float = 0.5,
) -> float:
    """Count the operations of one forward pass per second of audio.

    The head's projection has `final_dim`; it sees the share `predicted` of the frames, and none
    without clusters. Attention grows with the length of an utterance.
    """
    frames = SAMPLE_RATE / config.downsample_rate
    dim, ffn = config.encoder_embed_dim, config.encoder_ffn_embed_dim
    block = 2 * (4 * dim * dim + 2 * dim * ffn)
    attention = 2 * 2 * dim * frames * utterance_seconds
    positions = 2 * dim * dim // config.conv_pos_groups * config.conv_pos
    projection = 2 * config.conv_dim[-1] * dim if config.has_projection else 0
    head = 2 * final_dim * (dim + clusters) * predicted if clusters else 0.0
    per_frame = config.encoder_layers * (block + attention) + positions + projection + head
    return extractor_per_second(config) + frames * per_frame


def extractor_per_second(config: HubertConfig) -> float:
    """Count the operations of the extractor's forward pass per second of audio."""
    if config.extractor_mode == "mel":
        bins = MEL_WINDOW // 2 + 1
        transform = 2.5 * MEL_WINDOW * math.log2(MEL_WINDOW)  # of real numbers, split-radix
        window = transform + 2 * bins * MEL_BINS + 2 * MEL_BINS * config.conv_dim[-1]
        return SAMPLE_RATE / MEL_HOP * window
    rate, channels, total = float(SAMPLE_RATE), 1, 0.0
    layers = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    for width, kernel, stride in layers:
        rate /= stride
        total += 2 * channels * width * kernel * rate
        channels = width
    return total


def training_per_second(
    config: HubertConfig, *, clusters: int, final_dim: int, utterance_seconds: float = 10.0
) -> float:
    """Count forward and backward pass per second of audio, head included."""
    forward = forward_per_second(
        config, clusters=clusters, final_dim=final_dim, utterance_seconds=utterance_seconds
    )
    return 3 * forward


def bf16_peak(device: str) -> float | None:
    """Return the operations a second of a GPU of such a name; None where it is not known."""
    return next((peak for part, peak in _BF16_PEAKS.items() if part in device), None)


def gpu_hours(operations: float, utilisation: float, peak: float = H100_BF16_PEAK) -> float:
    """Return the hours one GPU needs at a share of its peak."""
    return operations / (peak * utilisation) / 3600
