"""A checkpoint as frozen s3prl upstream."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, override

import torch
from pydantic.dataclasses import dataclass
from torch.nn.utils.rnn import pad_sequence

from harness_bench.core.config import STRICT, load
from harness_bench.models.checkpoint import Backbone, checkpoint_digest, load_backbone
from harness_bench.models.fairseq import read_fairseq
from harness_bench.models.hubert import Hubert
from harness_bench.probing.s3prl.upstream import FrozenUpstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UpstreamOptions:
    """The table `upstream` of what `-g FILE.toml` names."""

    # False computes each batch padded, as other toolkits do. Models with a group norm (HuBERT and
    # wav2vec 2.0 of base size) then see the padding: features depend on the batch.
    per_utterance: bool = True


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptionsFile:
    """All of that file."""

    upstream: UpstreamOptions = field(default_factory=UpstreamOptions)
    # Read by those who keep the features.
    feature_cache: dict[str, Any] = field(default_factory=dict)


class UpstreamExpert(FrozenUpstream):
    """All hidden states of a checkpoint, in fairseq's convention, without importing transformers.

    Args:
        ckpt: a checkpoint folder (ours, or HuBERT or wav2vec 2.0 of transformers) or a HuBERT
            file of fairseq.
        model_config: a TOML file in the form of `OptionsFile`, or None.
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
        file = OptionsFile() if model_config is None else load(OptionsFile, Path(model_config))
        per_utterance = file.upstream.per_utterance
        super().__init__(per_utterance=per_utterance, options=model_config, **kwargs)
        self.checkpoint = Path(ckpt)
        # Weights are drawn and then overwritten; a head must not start otherwise for that.
        with torch.random.fork_rng(devices=[]):
            self.backbone = open_backbone(self.checkpoint)
        if not self.per_utterance:
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
        least, shortest = self.backbone.hubert.config.receptive_field, min(map(len, wavs))
        if shortest < least:
            raise ValueError(
                f"An utterance of {shortest} samples gives no frame: {least} are the least. Leave "
                "such utterances out, as this project's tasks do."
            )
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
