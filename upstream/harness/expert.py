"""A checkpoint as frozen s3prl upstream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, override

import torch
from pydantic.dataclasses import dataclass
from torch.nn.utils.rnn import pad_sequence

from harness_bench.config import STRICT, load
from harness_bench.models.checkpoint import Backbone, checkpoint_digest, load_backbone
from harness_bench.models.fairseq import read_fairseq
from harness_bench.models.hubert import Hubert
from harness_bench.s3prl_plugin.frozen import FrozenUpstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UpstreamOptions:
    """What `-g FILE.toml` may set."""

    # False computes each batch padded, as other toolkits do. Models with a group norm (HuBERT and
    # wav2vec 2.0 of base size) then see the padding: features depend on the batch.
    per_utterance: bool = True


class UpstreamExpert(FrozenUpstream):
    """All hidden states of a checkpoint, in fairseq's convention, without importing transformers.

    Args:
        ckpt: a checkpoint folder (ours, or HuBERT or wav2vec 2.0 of transformers) or a HuBERT
            file of fairseq.
        model_config: a TOML file with `UpstreamOptions`, or None.
        refresh: s3prl's; nothing is refreshed here.
        kwargs: s3prl's own.
    """

    def __init__(
        self,
        ckpt: str | Path,
        model_config: str | None = None,
        refresh: bool = False,  # noqa: FBT001, FBT002 - s3prl's
        **kwargs: Any,
    ) -> None:
        del refresh
        options = UpstreamOptions() if model_config is None else _options(Path(model_config))
        super().__init__(per_utterance=options.per_utterance, **kwargs)
        self.checkpoint = Path(ckpt)
        self.backbone = open_backbone(self.checkpoint)
        if not options.per_utterance:
            self.backbone.hubert.feature_extractor.per_utterance = False

    @override
    def get_downsample_rates(self, key: str) -> int:
        del key
        return int(self.backbone.downsample_rate)

    @override
    def digest(self) -> str:
        return checkpoint_digest(self.checkpoint)

    @override
    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        states, frames = self.backbone(pad_sequence([*wavs], batch_first=True), lengths)
        stacked = torch.stack(states, dim=1)  # (B, states, F, D)
        return [item[:, :count] for item, count in zip(stacked, frames.tolist(), strict=True)]


def open_backbone(checkpoint: Path) -> Backbone:
    """Open a checkpoint folder, or a HuBERT file of fairseq, in eval mode.

    Raises:
        ValueError: neither of them, another architecture, or weights that do not fit.
    """
    if not checkpoint.is_file():
        return load_backbone(checkpoint)
    found = read_fairseq(checkpoint)
    model = Hubert(found.config)
    model.load_state_dict(found.tensors)
    return Backbone(model)


def _options(path: Path) -> UpstreamOptions:
    """Read the file that `-g` names."""
    return load(UpstreamOptions, path)
