"""Batches for pretraining: audio crops, their labels and masks, grouped by duration."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple, override

import torch
from lhotse import CutSet
from lhotse.dataset import DynamicBucketingSampler
from torch.utils.data import DataLoader, Dataset, Sampler

from harness_bench.audio import SAMPLE_RATE
from harness_bench.batches import collate
from harness_bench.models.hubert import frame_count
from harness_bench.pretrain.masking import span_mask, utterance_rng

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.iteration import PretrainConfig
    from harness_bench.labels.store import LabelStore

FRAME_SAMPLES = 320
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
NO_LABEL = -1
CROP_FIELD = "harness_crop_frame"


class Batch(NamedTuple):
    """What one forward pass of pretraining needs."""

    ids: list[str]
    samples: Tensor  # (B, T) float32
    lengths: Tensor  # (B,) int64 samples
    labels: Tensor  # (B, F) int64, -1 behind each utterance's end
    mask: Tensor  # (B, F) bool, frames to be predicted from their surroundings

    @property
    def counts(self) -> Tensor:
        """Return the number of masked and of unmasked frames with a label: (2,) int64."""
        labelled = self.labels != NO_LABEL
        return torch.stack([(labelled & self.mask).sum(), (labelled & ~self.mask).sum()])

    def to(self, device: torch.device) -> Batch:
        """Move the tensors to a device."""
        return Batch(self.ids, *(tensor.to(device, non_blocking=True) for tensor in self[1:]))


class PretrainDataset(Dataset[Batch]):
    """From a batch of cuts to audio, labels and masks of one epoch."""

    def __init__(self, labels: LabelStore, config: PretrainConfig, epoch: int) -> None:
        self.labels, self.config, self.epoch = labels, config, epoch

    @override
    def __getitem__(self, cuts: CutSet) -> Batch:
        members = list(cuts)
        audio = collate(members)
        ids = [_utterance(cut) for cut in members]
        frames = [frame_count(int(length)) for length in audio.lengths]
        width = frame_count(audio.samples.shape[1])
        labels = torch.full((len(members), width), NO_LABEL, dtype=torch.int64)
        mask = torch.zeros(len(members), width, dtype=torch.bool)
        for row, (cut, count) in enumerate(zip(members, frames, strict=True)):
            first = (cut.custom or {}).get(CROP_FIELD, 0)
            known = self.labels[ids[row]][first : first + count]
            labels[row, : len(known)] = known
            rng = utterance_rng(self.config.seed, self.epoch, ids[row], "mask")
            drawn = span_mask(count, self.config.mask_prob, self.config.mask_length, rng)
            mask[row, :count] = torch.from_numpy(drawn)
        return Batch(ids, audio.samples, audio.lengths, labels, mask)


def _utterance(cut: Cut) -> str:
    """Return the utterance's id; lhotse renames cuts it repeats to give every rank a last batch."""
    return str(cut.supervisions[0].id)


class _Skip(Sampler[CutSet]):
    """A lhotse sampler less its first batches, which an interrupted run has already seen."""

    def __init__(self, inner: DynamicBucketingSampler, skip: int) -> None:
        self.inner, self.skip = inner, skip

    @override
    def __iter__(self) -> Iterator[CutSet]:
        return itertools.islice(iter(self.inner), self.skip, None)


class _Cropped:
    """The cuts of one epoch, cropped one by one as the sampler comes to them."""

    def __init__(self, cuts: Sequence[Cut], config: PretrainConfig, epoch: int) -> None:
        self.cuts, self.config, self.epoch = cuts, config, epoch

    def __iter__(self) -> Iterator[Cut]:
        return (crop(cut, self.config, self.epoch) for cut in self.cuts)


def usable(cuts: Sequence[Cut], config: PretrainConfig) -> tuple[list[Cut], list[Cut]]:
    """Split cuts into those long enough to train on and those left out."""
    shortest = config.min_sample_size / SAMPLE_RATE
    kept = [cut for cut in cuts if cut.duration >= shortest]
    return kept, [cut for cut in cuts if cut.duration < shortest]


def epoch_batches(
    cuts: Sequence[Cut],
    labels: LabelStore,
    config: PretrainConfig,
    *,
    epoch: int,
    skip: int,
    rank: int,
    ranks: int,
) -> Iterator[Batch]:
    """Yield the batches of one epoch for one rank, less the first `skip`.

    Grouping and order depend on the seed, the epoch and the number of ranks alone.
    """
    sampler = DynamicBucketingSampler(
        CutSet(_Cropped(cuts, config, epoch)),
        max_duration=config.max_seconds,
        num_buckets=max(2, min(config.num_buckets, len(cuts) // 2)),
        shuffle=True,
        seed=config.seed,
        rank=rank,
        world_size=ranks,
    )
    sampler.set_epoch(epoch)
    yield from DataLoader(
        PretrainDataset(labels, config, epoch),
        sampler=_Skip(sampler, skip),
        batch_size=None,
        num_workers=config.num_workers,
        # Its own generator: drawing from the global one here would break bit-equal resumes.
        generator=torch.Generator(),
    )


def crop(cut: Cut, config: PretrainConfig, epoch: int) -> Cut:
    """Cut a long utterance to `max_sample_size`, starting on a frame so that labels still fit."""
    surplus = round(cut.duration * SAMPLE_RATE) - config.max_sample_size
    if surplus <= 0:
        return cut
    rng = utterance_rng(config.seed, epoch, cut.id, "crop")
    first = int(rng.integers(surplus // FRAME_SAMPLES + 1))
    shorter = cut.truncate(
        offset=first * FRAME_SECONDS,
        duration=config.max_sample_size / SAMPLE_RATE,
        preserve_id=True,
    )
    shorter.custom = {**(cut.custom or {}), CROP_FIELD: first}
    return shorter
