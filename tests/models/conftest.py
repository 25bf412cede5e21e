"""Small models of every kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness_bench.models.hubert import Hubert, HubertConfig

MEL: dict[str, Any] = {
    "extractor_mode": "mel", "conv_dim": (24,), "conv_kernel": (400,), "conv_stride": (320,)
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "large": {},  # layer norm first, layer-norm extractor: this family
    "thin": {"encoder_embed_dim": 24},  # as wide as the extractor: no projection
    "base": {"layer_norm_first": False, "extractor_mode": "default", "normalize": False},
    "biased": {"conv_bias": True, "conv_pos": 15},  # an odd kernel needs no trimming
}


def small_config(**changes: Any) -> HubertConfig:
    shape: dict[str, Any] = {
        "encoder_layers": 3,
        "encoder_embed_dim": 32,
        "encoder_ffn_embed_dim": 48,
        "encoder_attention_heads": 4,
        "conv_dim": (24,) * 7,
        "conv_pos": 16,
        "conv_pos_groups": 4,
    }
    return HubertConfig(**{**shape, **changes})


@pytest.fixture(params=sorted(KINDS))
def hubert(request: pytest.FixtureRequest) -> Hubert:
    torch.manual_seed(1)
    return Hubert(small_config(**KINDS[request.param])).eval()


def padded(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    waves = [torch.randn(length, generator=generator) * 0.3 + 0.05 for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(lengths)
