"""s3prl's FBANK baseline behind the feature memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

import s3prl.hub
import torch

from harness_bench.probing.s3prl.upstream import FrozenUpstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class UpstreamExpert(FrozenUpstream):
    """The stock `fbank` upstream, one utterance at a time."""

    def __init__(self, model_config: str | None = None, **kwargs: Any) -> None:
        for unused in ("ckpt", "refresh"):
            kwargs.pop(unused, None)
        super().__init__(options=model_config, **kwargs)
        with torch.random.fork_rng(devices=[]):  # it tries itself on noise
            self.stock = s3prl.hub.fbank()

    @override
    def get_downsample_rates(self, key: str) -> int:
        return int(self.stock.get_downsample_rates(key))

    @override
    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        return [self.stock([wav])["last_hidden_state"] for wav in wavs]
