"""Features of utterances, keyed by waveform and model: in memory first, then on disk."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import xxhash

from harness_bench.core.cache import MEBIBYTE, BoundedStore
from harness_bench.core.cache_entry import EntryStore
from harness_bench.core.files import digest_strings
from harness_bench.core.log import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from harness_bench.models.features.config import FeatureCacheConfig

_KEY_BYTES = 16
_digest = partial(hashlib.blake2b, digest_size=_KEY_BYTES)
FULL = (
    "are full of this run's own features, or of files being written. The others are computed each "
    "time. Allow more (HARNESS_FEATURE_CACHE_DISK_MB), halve them (HARNESS_FEATURE_CACHE_DTYPE="
    "fp16), or keep the mean of the layers alone (states = 'mean'). If the task changes waveforms "
    "at random, no cache helps: unset HARNESS_FEATURE_CACHE"
)
type Facts = Mapping[str, object]


def identity_of(facts: Facts) -> str:
    """Return the digest of all that decides features beside the audio."""
    return digest_strings(f"{key} {value}" for key, value in sorted(facts.items()))


class FeatureStore:
    """Keeps features (states, frames, dim); a failing disk costs time, never the run.

    What `put` returns and what `get` gives later, in this process or another, is equal to the
    bit. With fp16 both are rounded, so that the first epoch sees the features of all others.

    Args:
        config: where (a file there is a ValueError), how many, in which form.
        facts: gives all that decides the features beside the waveform: model, code, libraries.
            None from it: they must not outlive the process. Called once, when it is needed.
        when_full: logged once, when the memory is full.
    """

    def __init__(
        self,
        config: FeatureCacheConfig,
        facts: Callable[[], Facts | None],
        *,
        when_full: str | None = None,
    ) -> None:
        self.config = config
        self._facts, self._namespace = facts, b""
        room = config.memory_mb * MEBIBYTE
        self.memory: BoundedStore[bytes, Tensor] = BoundedStore(room, when_full=when_full)
        self._disk: EntryStore | None = None
        if config.folder is not None and config.disk_mb:
            self._disk = EntryStore(config.folder, config.disk_mb, when_full=FULL)
        self._told_overflow = False

    def through(
        self, wavs: Sequence[Tensor], compute: Callable[[Sequence[Tensor]], Sequence[Tensor]]
    ) -> list[Tensor]:
        """Return the features of utterances (samples,); those not kept yet `compute` gives."""
        # A training asks the memory for each utterance at each epoch: by keys that cost 40 times
        # less than those of the disk, which may be anybody's.
        keys = _keys(wavs, xxhash.xxh3_128)
        found = {
            key: self._given(kept) for key in keys if (kept := self.memory.get(key)) is not None
        }
        missing = {key: wav for key, wav in zip(keys, wavs, strict=True) if key not in found}
        names = dict(zip(missing, _keys([*missing.values()], _digest), strict=True))
        found |= {k: kept for k, name in names.items() if (kept := self.get(k, name)) is not None}
        missing = {key: wav for key, wav in missing.items() if key not in found}
        if missing:
            for key, features in zip(missing, compute([*missing.values()]), strict=True):
                found[key] = self.put(key, features, names[key])
        return [found[key].to(wavs[0].device) for key in keys]

    def get(self, key: bytes, on_disk: bytes | None = None) -> Tensor | None:
        """Return the features kept under a key, by default the same in memory and on disk."""
        kept = self.memory.get(key)
        if kept is None and (name := self._name(on_disk or key)) is not None and self._disk:
            kept = self._disk.read(name)
            if kept is not None:
                self.memory.put(key, kept)
        return None if kept is None else self._given(kept)

    def put(self, key: bytes, features: Tensor, on_disk: bytes | None = None) -> Tensor:
        """Keep features (states, frames, dim); return them as `get` will."""
        kept = self._stored(features)
        self.memory.put(key, kept)
        if (name := self._name(on_disk or key)) is not None and self._disk:
            self._disk.write(name, kept)
        return self._given(kept)

    def _given(self, kept: Tensor) -> Tensor:
        halved = self.config.dtype == "fp16" and kept.dtype == torch.float16
        return kept.float() if halved else kept

    def _stored(self, features: Tensor) -> Tensor:
        if self.config.dtype == "fp16" and features.dtype == torch.float32:
            half = features.half()
            if bool(half.isfinite().all()):
                return half
            if not self._told_overflow:
                self._told_overflow = True
                say(
                    f"Feature cache {self.config.folder}: features of an utterance exceed 65504, "
                    "the largest number of fp16: it, and any other such, is kept in fp32."
                )
        # A row of a padded batch would keep the whole batch alive.
        alone = features.untyped_storage().nbytes() == features.nbytes
        return features.detach() if alone else features.detach().clone()

    def _name(self, key: bytes) -> bytes | None:
        """Return the key on disk; None without disk, or for features that stay in the process."""
        if self._disk is None:
            return None
        if not self._namespace:
            facts, config = self._facts(), self.config
            if facts is None:
                self._disk = None
                return None
            form = {"dtype": config.dtype, "products": torch.get_float32_matmul_precision()}
            self._namespace = identity_of({**facts, "layers": config.states, **form}).encode()
            say(
                f"Features of all runs are kept in {config.folder} ({config.dtype}, "
                f"{config.states}, up to {config.disk_mb} MiB)."
            )
        parts = b"%d:%b%b" % (len(key), key, self._namespace)
        return _digest(parts).digest()


def _keys(wavs: Sequence[Tensor], digest: Callable[..., Any]) -> list[bytes]:
    """Return the keys of waveforms: another device or precision gives other features."""
    device = wavs[0].device.type if wavs else "cpu"
    mixed = torch.is_autocast_enabled(device)
    how = f"{device} {torch.get_autocast_dtype(device) if mixed else ''}".encode()
    samples = (wav.detach().cpu().contiguous().numpy() for wav in wavs)
    return [digest(each.data).digest() + how for each in samples]
