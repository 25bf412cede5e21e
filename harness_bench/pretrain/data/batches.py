"""Batches for pretraining: audio crops, their labels and masks, grouped by duration."""

from __future__ import annotations

import itertools
import signal
from typing import TYPE_CHECKING, Any, NamedTuple, override

import numpy as np
import torch
from lhotse import CutSet
from lhotse.dataset import DynamicBucketingSampler
from torch.utils.data import DataLoader, Dataset

from harness_bench.audio.batching import Unusable, pad, read_waves
from harness_bench.audio.frames import frame_count
from harness_bench.core.rng import utterance_rng
from harness_bench.cuts.shar import SHARD_CUTS
from harness_bench.pretrain.augment.effects import Augmenter, labels_at_speed
from harness_bench.pretrain.data.epoch import (
    FACTOR_FIELD,
    FIRST_FIELD,
    FRAMES_FIELD,
    EpochCuts,
    drawn_name,
    utterance_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lhotse.cut import Cut
    from numpy.typing import NDArray
    from torch import Tensor

    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.data.cut_source import CutSource
    from harness_bench.pretrain.labels.store import Labels

NO_LABEL = -1
LIST_BUFFER = 20_000  # cuts without audio that the sampler holds: lhotse's default
LIST_ESTIMATE = 10_000  # cuts whose durations part the buckets: lhotse's default
MIN_BUCKETED = 2  # lhotse needs two cuts to part durations
MIN_SPANS = 2  # fairseq's min_masks


class MaskedBatch(NamedTuple):
    """What one forward pass of pretraining needs."""

    ids: list[str]
    samples: Tensor  # (B, T) float32
    lengths: Tensor  # (B,) int64 samples
    labels: Tensor  # (B, F) int64, -1 behind each utterance's end
    mask: Tensor  # (B, F) bool, frames to be predicted from their surroundings
    # (B, D) bool, channels to be silenced; (B, 0) where there are none
    channels: Tensor = torch.zeros(0, 0, dtype=torch.bool)
    skipped: tuple[Unusable, ...] = ()  # utterances that should be here and cannot be used

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {name: value for name, value in self._asdict().items() if torch.is_tensor(value)}

    @property
    def counts(self) -> Tensor:
        """Return the number of masked and of unmasked frames with a label: (2,) int64."""
        labelled = self.labels != NO_LABEL
        return torch.stack([(labelled & self.mask).sum(), (labelled & ~self.mask).sum()])

    def to(self, device: torch.device) -> MaskedBatch:
        """Move the tensors to a device."""
        moved: dict[str, Any] = {
            name: each.to(device, non_blocking=True) for name, each in self.tensors.items()
        }
        return self._replace(**moved)


_NONE = torch.zeros(0, 0, dtype=torch.int64)
NO_BATCH = MaskedBatch([], _NONE.float(), _NONE.flatten(), _NONE, _NONE.bool())


def span_mask(frames: int, prob: float, length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a mask (frames,) of spans that may overlap, as fairseq's static masking does.

    The number of spans is `prob * frames / length`, rounded at random and at least two; starts are
    distinct. With prob 0.8 and length 10 about half of the frames are masked. Utterances too short
    for two spans get shorter ones, and at least one frame always stays visible.
    """
    if frames <= 1:
        return np.zeros(frames, dtype=bool)
    length = min(length, max(1, frames // (2 * MIN_SPANS)))
    wanted = max(MIN_SPANS, int(prob * frames / length + rng.random()))
    mask = _spans(frames, length, min(wanted, frames - length + 1), rng)
    if mask.all():
        mask[rng.integers(frames)] = False
    return mask


def channel_mask(
    channels: int, prob: float, length: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw a mask (channels,) of spans that may overlap, as fairseq does for channels.

    The number of spans is `prob * channels / length`, rounded at random; there may be none.
    """
    length = min(length, channels)
    wanted = int(prob * channels / length + rng.random())
    return _spans(channels, length, min(wanted, channels - length), rng)


def _spans(size: int, length: int, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark spans (size,) of distinct starts."""
    mask = np.zeros(size, dtype=bool)
    starts = rng.choice(size - length + 1, size=count, replace=False)
    mask[(starts[:, None] + np.arange(length)).ravel()] = True
    return mask


class PretrainDataset(Dataset[MaskedBatch]):
    """From a batch of cuts to audio, labels and masks of one epoch."""

    def __init__(self, labels: Labels, config: PretrainConfig, epoch: int, channels: int) -> None:
        self.labels, self.config, self.epoch = labels, config, epoch
        self.channels = channels if config.mask_channel_prob > 0 else 0
        self.augmenter = Augmenter(config.augment) if config.augment.active else None

    @override
    def __getitem__(self, cuts: CutSet) -> MaskedBatch:
        config = self.config
        members, skipped = self._read(list(cuts))
        waves = [wave for _, wave, _ in members]
        if self.augmenter is not None:
            waves = [
                self.augmenter.change(wave, self._rng(cut, "augment"))[0]
                for cut, wave, _ in members
            ]
        samples, lengths = pad(waves)
        shape = (len(members), frame_count(samples.shape[1]))
        labels = torch.full(shape, NO_LABEL, dtype=torch.int64)
        mask = torch.zeros(shape, dtype=torch.bool)
        channels = torch.zeros(len(members), self.channels, dtype=torch.bool)
        for row, (cut, wave, whole) in enumerate(members):
            count = frame_count(len(wave))
            known = self._labels(cut, whole, count)
            labels[row, : len(known)] = known
            drawn = span_mask(count, config.mask_prob, config.mask_length, self._rng(cut, "mask"))
            mask[row, :count] = torch.from_numpy(drawn)
            if self.channels:
                silenced = channel_mask(
                    self.channels, config.mask_channel_prob, config.mask_channel_length,
                    self._rng(cut, "channels"),
                )  # fmt: skip
                channels[row] = torch.from_numpy(silenced)
        ids = [drawn_name(cut) for cut, _, _ in members]
        return MaskedBatch(ids, samples, lengths, labels, mask, channels, skipped)

    def _read(
        self, cuts: list[Cut]
    ) -> tuple[list[tuple[Cut, NDArray[np.float32], Tensor]], tuple[Unusable, ...]]:
        """Read audio and labels of the whole utterance; tell which lack one of them."""
        read, unreadable = read_waves(cuts)
        labelled = [(cut, wave, self.labels.of(cut)) for cut, wave in read]
        members = [member for member in labelled if len(member[2])]
        names = {str(cut.id): utterance_of(cut) for cut in cuts}
        skipped = [each._replace(id=names[each.id]) for each in unreadable]
        skipped += [
            Unusable(utterance_of(cut), "No labels: it was unreadable when they were made.")
            for cut, _, labels in labelled
            if not len(labels)
        ]
        return members, tuple(skipped)

    @staticmethod
    def _labels(cut: Cut, labels: Tensor, frames: int) -> Tensor:
        """Return the labels of the crop, following its speed: at most (frames,) int64."""
        custom = cut.custom or {}
        if FIRST_FIELD in custom:
            first = custom[FIRST_FIELD]
            labels = labels[first : first + custom[FRAMES_FIELD]]
        if FACTOR_FIELD in custom:
            return labels_at_speed(labels, custom[FACTOR_FIELD], frames)
        return labels[:frames]

    def _rng(self, cut: Cut, purpose: str) -> np.random.Generator:
        return utterance_rng(self.config.seed, self.epoch, drawn_name(cut), purpose)


def ignore_sigterm(_worker: int) -> None:
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
        sampler=itertools.islice(sampler, skip, None),
        batch_size=None,
        num_workers=config.num_workers,
        worker_init_fn=ignore_sigterm,
        # Its own generator: drawing from the global one here would break bit-equal resumes.
        generator=torch.Generator(),
    )
