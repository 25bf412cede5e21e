"""What all upstreams of this project share: always in eval mode, features kept between epochs.

A probe reads every utterance dozens of times, and 95 % of its time would go into computing the
same features again. They are kept by the waveform's digest, so a changed (augmented) waveform is
computed anew; see `harness_bench.models.features`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, override

import torch
from s3prl.upstream.interfaces import UpstreamBase

from harness_bench.core.code_digest import code_digest
from harness_bench.core.log import say
from harness_bench.models.features.config import feature_cache_config
from harness_bench.models.features.store import FeatureStore, waveform_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_MODELS = "harness_bench.models"  # functions that no class of a model shows


class FrozenUpstream(UpstreamBase):
    """Base of upstreams whose features of an utterance do not depend on its batch.

    On the CPU utterances are computed one by one (measured faster than padding them, and the bits
    do not depend on the batch); on a GPU in one batch. With fine-tuning (`-f`) nothing is kept.
    """

    def __init__(
        self,
        *,
        cache_mb: int | None = None,
        per_utterance: bool = True,
        options: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Make an upstream.

        Args:
            cache_mb: MiB of features kept in memory; None: by the settings, 1024 without any.
            per_utterance: False computes every batch padded, on any device, and keeps nothing,
                because features may then depend on the batch.
            options: the file of `-g`, for its table `feature_cache`; None: by the environment.
            kwargs: s3prl's own.

        Raises:
            ValueError: a setting of the feature cache is wrong.
        """
        super().__init__(**kwargs)
        cache = feature_cache_config(None if options is None else Path(options))
        self.cache = cache if cache_mb is None else replace(cache, memory_mb=cache_mb)
        self.per_utterance = per_utterance
        self._store: FeatureStore | None = None
        if per_utterance:
            self._store = FeatureStore(self.cache, self._identity)
        else:
            self._say_off("Features computed in padded batches depend on the batch")
        self.register_load_state_dict_post_hook(lambda *_: self._forget())
        self.eval()

    @abstractmethod
    def encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Compute features: (samples,) float32 at 16 kHz each -> (states, frames, dim) each."""

    @abstractmethod
    def get_downsample_rates(self, key: str) -> int:
        """Return the samples per frame."""

    def digest(self) -> str | None:
        """Return a digest of what decides the features beside the waveform and the code.

        That is the checkpoint, as a rule. None: features must not outlive the process. Called
        when it is needed only, since it may read files of gigabytes.
        """
        return None

    @override
    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever a runner asks: dropout would change frozen features."""
        del mode
        super().train(mode=False)
        return self

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """Give the hidden states of a batch in s3prl's form.

        Args:
            wavs: (samples,) float32 each, at 16 kHz.

        Returns:
            hidden_states: one (B, F, D) per layer, zero behind each utterance's frames; where the
            settings ask for their mean, that one alone;
            last_hidden_state: the last layer's, unless there is the mean alone.
        """
        if torch.is_grad_enabled() and self._store is not None:
            # Fine-tuning: the weights are about to change, so nothing kept is valid any more.
            self._store = None
            self._say_off("Fine-tuning (-f) changes features at every step")
        states = _padded([*self._features(wavs)])
        if self.cache.states == "mean":
            return {"hidden_states": states}
        return {"hidden_states": states, "last_hidden_state": states[-1]}

    def _features(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Look utterances up, compute those that are missing, keep them."""
        if self._store is None:
            return self._compute(wavs)
        keys = _keys(wavs)
        found = {key: kept for key in keys if (kept := self._store.get(key)) is not None}
        missing = {key: wav for key, wav in zip(keys, wavs, strict=True) if key not in found}
        for key, features in zip(missing, self._compute([*missing.values()]), strict=True):
            found[key] = self._store.put(key, features)
        return [found[key].to(wavs[0].device) for key in keys]

    def _compute(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Compute utterances in the way that suits the device."""
        if not wavs:
            return []
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
            self._store = FeatureStore(replace(self.cache, folder=None), self._identity)
            self._say_off("The upstream's weights were loaded from an experiment")

    def _identity(self) -> str | None:
        """Return all that decides the features beside the waveform, or None if that is unknown."""
        digest = self.digest()
        return None if digest is None else f"{digest} {code_digest(self, [_MODELS])}"

    def _say_off(self, reason: str) -> None:
        """Say that the folder asked for is not used."""
        if self.cache.folder is not None:
            say(f"{reason}: none are kept in {self.cache.folder}.")


def _keys(wavs: Sequence[Tensor]) -> list[bytes]:
    """Return the keys of waveforms: another device or precision gives other features."""
    device = wavs[0].device.type if wavs else "cpu"
    mixed = torch.is_autocast_enabled(device)
    how = f"{device} {torch.get_autocast_dtype(device) if mixed else ''}".encode()
    return [waveform_key(wav) + how for wav in wavs]


def _padded(features: Sequence[Tensor]) -> list[Tensor]:
    """Pad (states, frames, dim) of each utterance -> one (B, F, dim) per state."""
    states, _, dim = features[0].shape
    longest = max(item.shape[1] for item in features)
    batch = features[0].new_zeros(states, len(features), longest, dim)
    for row, item in enumerate(features):
        batch[:, row, : item.shape[1]] = item
    return list(batch.unbind(0))
