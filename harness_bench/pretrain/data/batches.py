"""Batches for pretraining: audio crops, their labels and masks, grouped by duration."""

from __future__ import annotations

import itertools
import signal
from typing import TYPE_CHECKING, NamedTuple, override

import torch
from lhotse import CutSet
from lhotse.dataset import DynamicBucketingSampler
from torch.utils.data import DataLoader, Dataset, Sampler

from harness_bench.audio.batching import pad, read_waves
from harness_bench.audio.frames import SAMPLE_RATE, frame_count
from harness_bench.core.log import say
from harness_bench.core.rng import utterance_rng
from harness_bench.cuts.shar import SHARD_CUTS
from harness_bench.pretrain.augment.augmenter import Augmenter
from harness_bench.pretrain.augment.effects import labels_at_speed
from harness_bench.pretrain.data.balance import repeated, repetitions
from harness_bench.pretrain.data.crops import (
    FACTOR_FIELD,
    FIRST_FIELD,
    FRAMES_FIELD,
    drawn_name,
    vary,
)
from harness_bench.pretrain.data.masking import channel_mask, span_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.data.cut_source import CutSource
    from harness_bench.pretrain.labels.store import Labels

NO_LABEL = -1
LIST_BUFFER = 20_000  # cuts without audio that the sampler holds: lhotse's default
LIST_ESTIMATE = 10_000  # cuts whose durations part the buckets: lhotse's default
MIN_BUCKETED = 2  # lhotse needs two cuts to part durations


class MaskedBatch(NamedTuple):
    """What one forward pass of pretraining needs."""

    ids: list[str]
    samples: Tensor  # (B, T) float32
    lengths: Tensor  # (B,) int64 samples
    labels: Tensor  # (B, F) int64, -1 behind each utterance's end
    mask: Tensor  # (B, F) bool, frames to be predicted from their surroundings
    # (B, D) bool, channels to be silenced; (B, 0) where there are none
    channels: Tensor = torch.zeros(0, 0, dtype=torch.bool)

    @property
    def counts(self) -> Tensor:
        """Return the number of masked and of unmasked frames with a label: (2,) int64."""
        labelled = self.labels != NO_LABEL
        return torch.stack([(labelled & self.mask).sum(), (labelled & ~self.mask).sum()])

    def to(self, device: torch.device) -> MaskedBatch:
        """Move the tensors to a device."""
        return MaskedBatch(self.ids, *(tensor.to(device, non_blocking=True) for tensor in self[1:]))


class PretrainDataset(Dataset[MaskedBatch]):
    """From a batch of cuts to audio, labels and masks of one epoch."""

    def __init__(self, labels: Labels, config: PretrainConfig, epoch: int, channels: int) -> None:
        self.labels, self.config, self.epoch = labels, config, epoch
        self.channels = channels if config.mask_channel_prob > 0 else 0
        self.augmenter = Augmenter(config.augment) if config.augment.active else None

    @override
    def __getitem__(self, cuts: CutSet) -> MaskedBatch:
        members = list(cuts)
        waves = read_waves(members)
        if self.augmenter is not None:
            pairs = zip(members, waves, strict=True)
            waves = [self.augmenter(wave, self._rng(cut, "augment")) for cut, wave in pairs]
        samples, lengths = pad(waves)
        width = frame_count(samples.shape[1])
        labels = torch.full((len(members), width), NO_LABEL, dtype=torch.int64)
        mask = torch.zeros(len(members), width, dtype=torch.bool)
        channels = torch.zeros(len(members), self.channels, dtype=torch.bool)
        config = self.config
        for row, (cut, wave) in enumerate(zip(members, waves, strict=True)):
            count = frame_count(len(wave))
            known = self._labels(cut, count)
            labels[row, : len(known)] = known
            drawn = span_mask(count, config.mask_prob, config.mask_length, self._rng(cut, "mask"))
            mask[row, :count] = torch.from_numpy(drawn)
            if self.channels:
                silenced = channel_mask(
                    self.channels, config.mask_channel_prob, config.mask_channel_length,
                    self._rng(cut, "channels"),
                )  # fmt: skip
                channels[row] = torch.from_numpy(silenced)
        return MaskedBatch(
            [drawn_name(cut) for cut in members], samples, lengths, labels, mask, channels
        )

    def _labels(self, cut: Cut, frames: int) -> Tensor:
        """Return the labels of the crop, following its speed: at most (frames,) int64."""
        custom = cut.custom or {}
        labels = self.labels.of(cut)
        if FIRST_FIELD in custom:
            first = custom[FIRST_FIELD]
            labels = labels[first : first + custom[FRAMES_FIELD]]
        if FACTOR_FIELD in custom:
            return labels_at_speed(labels, custom[FACTOR_FIELD], frames)
        return labels[:frames]

    def _rng(self, cut: Cut, purpose: str) -> np.random.Generator:
        return utterance_rng(self.config.seed, self.epoch, drawn_name(cut), purpose)


class _Skip(Sampler[CutSet]):
    """A lhotse sampler less its first batches, which an interrupted run has already seen."""

    def __init__(self, inner: DynamicBucketingSampler, skip: int) -> None:
        self.inner, self.skip = inner, skip

    @override
    def __iter__(self) -> Iterator[CutSet]:
        return itertools.islice(iter(self.inner), self.skip, None)


class EpochCuts:
    """The cuts of one epoch for one rank: repeated for balance, sped up or down, cropped."""

    def __init__(
        self, source: CutSource, config: PretrainConfig, epoch: int, rank: int, ranks: int
    ) -> None:
        self.source, self.config, self.epoch = source, config, epoch
        self.rank, self.ranks, self.told = rank, ranks, False
        self.factors: dict[str, float] = {}
        if config.balance is not None:
            self.factors = repetitions(config.balance, source.hours_by_language())

    def __iter__(self) -> Iterator[Cut]:
        short: set[str] = set()
        for cut in repeated(self._one_pass, self.factors, self.config.seed, self.epoch):
            if cut.duration >= self.config.min_sample_size / SAMPLE_RATE:
                yield vary(cut, self.config, self.epoch)
            else:
                short.add(drawn_name(cut).partition("#")[0])
        if short and not self.told and self.epoch == 0 and self.rank == 0:
            self.told = True  # The sampler goes over the cuts more than once.
            here = " of this rank" if self.source.splits_ranks else ""
            say(
                f"{len(short)} utterances{here} are shorter than min_sample_size = "
                f"{self.config.min_sample_size} and left out, first {min(short)!r}"
            )

    def _one_pass(self) -> Iterator[Cut]:
        return self.source.epoch(self.config.seed, self.epoch, self.rank, self.ranks)


def _ignore_sigterm(_worker: int) -> None:
    """Keep workers alive at a SIGTERM to the whole job: the loop still needs their batches."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def epoch_batches(
    source: CutSource,
    labels: Labels,
    config: PretrainConfig,
    *,
    epoch: int,
    skip: int,
    rank: int,
    ranks: int,
    channels: int = 0,
) -> Iterator[MaskedBatch]:
    """Yield the batches of one epoch for one rank, less the first `skip`.

    Grouping and order depend on the seed, the epoch and the number of ranks alone.
    """
    source = labels.attached(source)
    cuts = EpochCuts(source, config, epoch, rank, ranks)
    # lhotse wants a cut for every bucket; shards and filters leave a rank an unknown number.
    found = len(list(itertools.islice(cuts, 2 * config.num_buckets)))
    if found < MIN_BUCKETED:
        return
    sampler = DynamicBucketingSampler(
        CutSet(cuts),
        max_duration=config.max_seconds,
        num_buckets=max(MIN_BUCKETED, min(config.num_buckets, found // 2)),
        shuffle=True,
        seed=config.seed,
        buffer_size=source.buffer or LIST_BUFFER,
        # Durations are learned from the first cuts; of shards, that reads their audio: one shard's.
        num_cuts_for_bins_estimate=SHARD_CUTS if source.splits_ranks else LIST_ESTIMATE,
        rank=0 if source.splits_ranks else rank,
        world_size=1 if source.splits_ranks else ranks,
    )
    sampler.set_epoch(epoch)
    yield from DataLoader(
        PretrainDataset(labels, config, epoch, channels),
        sampler=_Skip(sampler, skip),
        batch_size=None,
        num_workers=config.num_workers,
        worker_init_fn=_ignore_sigterm,
        # Its own generator: drawing from the global one here would break bit-equal resumes.
        generator=torch.Generator(),
    )
