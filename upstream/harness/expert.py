"""A checkpoint folder as frozen s3prl upstream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, override

import torch
from torch.nn.utils.rnn import pad_sequence

from harness_bench.models.checkpoint import load_backbone
from harness_bench.s3prl_plugin.frozen import FrozenUpstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class UpstreamExpert(FrozenUpstream):
    """All hidden states of a checkpoint, in fairseq's convention, without importing transformers.

    Args:
        ckpt: the checkpoint folder.
        kwargs: s3prl's own; it has no model config and nothing to refresh here.
    """

    def __init__(self, ckpt: str, **kwargs: Any) -> None:
        for unused in ("model_config", "refresh"):
            kwargs.pop(unused, None)
        super().__init__(**kwargs)
        self.backbone = load_backbone(Path(ckpt))

    @override
    def get_downsample_rates(self, key: str) -> int:
        del key
        return int(self.backbone.downsample_rate)

    @override
    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        states, frames = self.backbone(pad_sequence([*wavs], batch_first=True), lengths)
        stacked = torch.stack(states, dim=1)  # (B, states, F, D)
        return [item[:, :count] for item, count in zip(stacked, frames.tolist(), strict=True)]
