"""What all upstreams of this project share: always in eval mode, features kept between epochs.

A probe reads every utterance dozens of times, and 95 % of its time would go into computing the
same features again. They are kept by the waveform's digest, so a changed (augmented) waveform is
computed anew.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol, Self, override

import torch
from s3prl.upstream.interfaces import UpstreamBase

from harness_bench.memory import MEBIBYTE, BoundedStore, waveform_key
from harness_bench.s3prl_plugin.arguments import FEATURE_CACHE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

DEFAULT_CACHE_MB = 1024


class FeatureStore(Protocol):
    """Where the features of utterances are kept."""

    def get(self, key: bytes) -> Tensor | None:
        """Return the features (states, frames, dim) kept under a key, or None."""
        ...

    def put(self, key: bytes, value: Tensor) -> None:
        """Keep features, if there is room."""
        ...


class FrozenUpstream(UpstreamBase):
    """Base of upstreams whose features of an utterance do not depend on its batch.

    On the CPU utterances are computed one by one (measured faster than padding them, and the bits
    do not depend on the batch); on a GPU in one batch. With fine-tuning (`-f`) nothing is kept.
    """

    def __init__(
        self, *, cache_mb: int | None = None, per_utterance: bool = True, **kwargs: Any
    ) -> None:
        """Make an upstream.

        Args:
            cache_mb: MiB of features kept; None: by HARNESS_FEATURE_CACHE_MB, 1024 without it.
            per_utterance: False computes every batch padded, on any device, and keeps nothing,
                because features may then depend on the batch.
            kwargs: s3prl's own.
        """
        super().__init__(**kwargs)
        self.cache_mb = _cache_budget() if cache_mb is None else cache_mb
        self.per_utterance = per_utterance
        self._store = _memory(self.cache_mb) if per_utterance else None
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
            hidden_states: one (B, F, D) per layer, zero behind each utterance's frames;
            last_hidden_state: the last of them.
        """
        if torch.is_grad_enabled():
            # Fine-tuning: the weights are about to change, so nothing kept is valid any more.
            self._store = None
        states = _padded([*self._features(wavs)])
        return {"hidden_states": states, "last_hidden_state": states[-1]}

    def _features(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Look utterances up, compute those that are missing, keep them."""
        if self._store is None:
            return self._compute(wavs)
        keys = _keys(wavs)
        found = {key: self._store.get(key) for key in keys}
        missing = {key: wav for key, wav in zip(keys, wavs, strict=True) if found[key] is None}
        computed = dict(zip(missing, self._compute([*missing.values()]), strict=True))
        for key, features in computed.items():
            self._store.put(key, features)
        return [kept if (kept := found[key]) is not None else computed[key] for key in keys]

    def _compute(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Compute utterances in the way that suits the device."""
        if not wavs:
            return []
        if wavs[0].is_cuda or not self.per_utterance:
            return self.encode(wavs)
        return [self.encode([wav])[0] for wav in wavs]

    def _forget(self) -> None:
        """Drop what other weights computed. `digest` does not know the new ones."""
        if self._store is not None:
            self._store = _memory(self.cache_mb)


def _memory(cache_mb: int) -> FeatureStore:
    """Return an empty store for the features of this process."""
    store: BoundedStore[bytes, Tensor] = BoundedStore(cache_mb * MEBIBYTE)
    return store


def _keys(wavs: Sequence[Tensor]) -> list[bytes]:
    """Return the keys of waveforms: features of mixed precision are other features."""
    device = wavs[0].device.type if wavs else "cpu"
    mixed = torch.is_autocast_enabled(device)
    precision = str(torch.get_autocast_dtype(device)).encode() if mixed else b""
    return [waveform_key(wav) + precision for wav in wavs]


def _cache_budget() -> int:
    """Read the cache's MiB from the environment."""
    value = os.environ.get(FEATURE_CACHE, str(DEFAULT_CACHE_MB))
    if not value.isdecimal():
        raise ValueError(
            f"{FEATURE_CACHE}={value!r}: expected whole MiB, 0 or more (0 keeps nothing)."
        )
    return int(value)


def _padded(features: Sequence[Tensor]) -> list[Tensor]:
    """Pad (states, frames, dim) of each utterance -> one (B, F, dim) per state."""
    states, _, dim = features[0].shape
    longest = max(item.shape[1] for item in features)
    batch = features[0].new_zeros(states, len(features), longest, dim)
    for row, item in enumerate(features):
        batch[:, row, : item.shape[1]] = item
    return list(batch.unbind(0))
