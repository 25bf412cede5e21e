"""Cuts to padded batches of waveforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch

from harness_bench.audio.io import load_finite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lhotse.cut import Cut
    from numpy.typing import NDArray
    from torch import Tensor


class Unusable(NamedTuple):
    """An utterance that cannot be used."""

    id: str
    reason: str


class Waveforms(NamedTuple):
    """A padded batch of audio, of those of its utterances that could be read."""

    ids: list[str]
    samples: Tensor  # (B, T) float32 at 16 kHz, zero behind each utterance's end
    lengths: Tensor  # (B,) int64 samples
    skipped: tuple[Unusable, ...] = ()

    def to(self, device: torch.device) -> Waveforms:
        """Move the tensors to a device."""
        return self._replace(samples=self.samples.to(device), lengths=self.lengths.to(device))


def collate(cuts: Sequence[Cut]) -> Waveforms:
    """Read and pad the audio of some cuts; what `read_waves` skips is no row."""
    read, skipped = read_waves(cuts)
    return Waveforms([cut.id for cut, _ in read], *pad([wave for _, wave in read]), skipped)


def read_waves(
    cuts: Sequence[Cut],
) -> tuple[list[tuple[Cut, NDArray[np.float32]]], tuple[Unusable, ...]]:
    """Read some cuts -> (samples,) float32 each; what is unreadable or not finite is skipped."""
    read, skipped = [], []
    for cut in cuts:
        try:
            read.append((cut, load_finite(cut)))
        except ValueError as error:
            skipped.append(Unusable(str(cut.id), str(error)))
    return read, tuple(skipped)


def pad(waves: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Pad waveforms with zeros to the longest: (B, T) float32 and their lengths (B,) int64."""
    lengths = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
    if not waves:
        return torch.zeros(0, 0), lengths
    tensors = [torch.from_numpy(wave) for wave in waves]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True), lengths


class Timed(Protocol):
    """A cut, or anything else with a name and a duration in seconds."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def duration(self) -> float: ...  # noqa: D102


def by_duration[T: Timed](cuts: Sequence[T], max_seconds: float) -> Iterator[list[T]]:
    """Group cuts of like duration so that padded audio stays below `max_seconds` a batch.

    Every cut comes exactly once; one longer than `max_seconds` comes alone.
    """
    batch: list[T] = []
    for cut in sorted(cuts, key=lambda cut: (cut.duration, cut.id)):
        if batch and cut.duration * (len(batch) + 1) > max_seconds:
            yield batch
            batch = []
        batch.append(cut)
    if batch:
        yield batch


def pick_hours(cuts: Sequence[Cut], hours: float, seed: int) -> list[Cut]:
    """Pick a random subset of about `hours` (up to one utterance more), in the given order.

    The ids and the seed decide, not the order of `cuts`.
    """
    by_id = sorted(range(len(cuts)), key=lambda index: cuts[index].id)
    order = np.random.default_rng(seed).permutation(len(by_id))
    total, chosen = 0.0, []
    for index in order:
        if total >= hours * 3600:
            break
        chosen.append(by_id[index])
        total += cuts[by_id[index]].duration
    return [cuts[index] for index in sorted(chosen)]


def total_hours(cuts: Sequence[Cut]) -> float:
    """Sum the durations, in hours."""
    return float(sum(cut.duration for cut in cuts)) / 3600
