"""A frozen model as s3prl's upstream: always in eval mode, features kept between epochs.

A probe reads every utterance dozens of times, and 95 % of its time would go into computing the
same features again. They are kept by the waveform's digest, so a changed (augmented) waveform is
computed anew; see `harness_bench.models.features`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, override

import torch
from s3prl.upstream.interfaces import UpstreamBase
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from harness_bench.core.code_digest import code_digest
from harness_bench.core.log import say
from harness_bench.models.features.config import upstream_config
from harness_bench.models.features.store import FeatureStore
from harness_bench.models.frozen import load_backbone, type_of
from harness_bench.models.hub import locate

_MODELS = "harness_bench.models"  # functions that no class of a model shows


class FrozenExpert(UpstreamBase):
    """All hidden states of a checkpoint, in fairseq's convention, without importing transformers.

    On the CPU utterances are computed one by one (measured faster than padding them, and the bits
    do not depend on the batch); on a GPU in one batch. With fine-tuning (`-f`) nothing is kept.

    Args:
        ckpt: a checkpoint of any type in `harness_bench.models.types`; else a ValueError.
        model_config: a TOML file in the form of `UpstreamConfig`, or None.
        cache_mb: MiB of features kept in memory; None: by the settings, 1024 without any.
        kwargs: s3prl's own, `refresh` among them; nothing is refreshed here.
    """

    def __init__(
        self,
        ckpt: str | Path,
        model_config: str | None = None,
        cache_mb: int | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("refresh", None)
        super().__init__(**kwargs)
        settings = upstream_config(None if model_config is None else Path(model_config))
        self.cache = settings.feature_cache
        if cache_mb is not None:
            self.cache = replace(self.cache, memory_mb=cache_mb)
        self.checkpoint = locate(ckpt, pathless=True)
        self.per_utterance = settings.upstream.per_utterance
        # Weights are drawn and then overwritten; a head must not start otherwise for that.
        with torch.random.fork_rng(devices=[]):
            self.backbone = load_backbone(self.checkpoint)
        self._store: FeatureStore | None = None
        if self.per_utterance:
            self._store = FeatureStore(self.cache, self._facts)
        else:
            self.backbone.let_padding_count()
            self._say_off("Features computed in padded batches depend on the batch")
        self.register_load_state_dict_post_hook(lambda *_: self._forget())
        self.eval()

    def get_downsample_rates(self, key: str) -> int:
        """Return the samples per frame; equal for all features."""
        del key
        return self.backbone.shape.downsample_rate

    def digest(self) -> str | None:
        """Return what decides the features beside wave and code; None: they must not last."""
        return type_of(self.checkpoint).digest(self.checkpoint)

    @override
    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever a runner asks: dropout would change frozen features."""
        del mode
        super().train(mode=False)
        return self

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """Give the hidden states of a batch, (samples,) float32 each at 16 kHz, in s3prl's form.

        Returns:
            hidden_states: one (B, F, D) per layer, zero behind each utterance's frames; where the
            settings ask for their mean, that one alone;
            last_hidden_state: the last layer's, unless there is the mean alone.
        """
        if torch.is_grad_enabled() and self._store is not None:
            # Fine-tuning: the weights are about to change, so nothing kept is valid any more.
            self._store = None
            self._say_off("Fine-tuning (-f) changes features at every step")
        store = self._store
        features = self._compute(wavs) if store is None else store.through(wavs, self._compute)
        batch = pad_sequence([item.transpose(0, 1) for item in features], batch_first=True)
        states = list(batch.permute(2, 0, 1, 3).contiguous().unbind(0))  # one (B, F, dim) each
        if self.cache.states == "mean":
            return {"hidden_states": states}
        return {"hidden_states": states, "last_hidden_state": states[-1]}

    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Compute features: (samples,) float32 at 16 kHz each -> (states, frames, dim) each."""
        return self.backbone.encode(wavs)

    def _compute(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        self.eval()  # modules that a subclass made later start in training mode
        if wavs[0].is_cuda or not self.per_utterance:
            features = self.encode(wavs)
        else:
            features = [self.encode([wav])[0] for wav in wavs]
        if self.cache.states == "mean":
            return [item.mean(0, keepdim=True) for item in features]
        return features

    def _forget(self) -> None:
        """Drop what other weights computed. `digest` does not know the new ones."""
        if self._store is not None:
            self._store = FeatureStore(replace(self.cache, folder=None), self._facts)
            self._say_off("The upstream's weights were loaded from an experiment")

    def _facts(self) -> dict[str, str] | None:
        if (digest := self.digest()) is None:
            return None
        return {"checkpoint": digest, "code": code_digest(self, [_MODELS])}

    def _say_off(self, reason: str) -> None:
        if self.cache.folder is not None:
            say(f"{reason}: none are kept in {self.cache.folder}.")
