"""One batch of pretraining: windows of audio, their labels and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from harness_bench.audio.batching import Unusable, pad
from harness_bench.audio.frames import FRAME_SHIFT, frame_count
from harness_bench.audio.io import load_finite
from harness_bench.core.rng import utterance_rng
from harness_bench.pretrain.augment.effects import Augmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.data.cut_source import CutSource
    from harness_bench.pretrain.data.windows import Window
    from harness_bench.pretrain.labels.store import Labels

NO_LABEL = -1
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
    short: tuple[str, ...] = ()  # utterances below min_sample_size that come before it
    position: tuple[int, ...] = ()  # of the stream behind it, as `Position` has it in numbers
    epoch: int = 0  # how often all audio was heard
    # What a GPU would have to be asked for, and waited for. (n,) int64: places, in (B * F), of
    # masked frames with a label; and of others.
    masked_at: Tensor | None = None
    unmasked_at: Tensor | None = None
    padded: bool | None = None  # whether a row is shorter than others

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {name: value for name, value in self._asdict().items() if torch.is_tensor(value)}

    def with_places(self) -> MaskedBatch:
        """Return the batch with all that can be told of it beforehand."""
        labelled = self.labels != NO_LABEL
        return self._replace(
            masked_at=(labelled & self.mask).flatten().nonzero()[:, 0],
            unmasked_at=(labelled & ~self.mask).flatten().nonzero()[:, 0],
            padded=any(frame_count(n) < self.labels.shape[1] for n in self.lengths.tolist()),
        )

    @property
    def places(self) -> tuple[Tensor, Tensor]:
        """Return `masked_at` and `unmasked_at`."""
        if self.masked_at is None or self.unmasked_at is None:
            return self.with_places().places
        return self.masked_at, self.unmasked_at

    @property
    def counts(self) -> Tensor:
        """Return the number of masked and of unmasked frames with a label: (2,) int64, CPU."""
        return torch.tensor([len(places) for places in self.places])

    def to(self, device: torch.device) -> MaskedBatch:
        """Move the tensors to a device."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> MaskedBatch:
        """Put the tensors where a GPU copies them from while it works; a loader calls it."""
        return self.each(torch.Tensor.pin_memory)

    def each(self, change: Callable[[Tensor], Tensor]) -> MaskedBatch:
        """Change the tensors."""
        changed: dict[str, Any] = {name: change(each) for name, each in self.tensors.items()}
        return self._replace(**changed)


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


type Member = tuple[Window, NDArray[np.float32], Tensor]  # a window, its audio and labels


class BatchMaker:
    """Reads the windows of a batch, augments and masks them."""

    def __init__(
        self, source: CutSource, labels: Labels, config: PretrainConfig, channels: int = 0
    ) -> None:
        """`channels`: of the transformer's input."""
        self.source, self.labels, self.config = labels.attached(source), labels, config
        self.channels = channels if config.mask_channel_prob > 0 else 0
        self.augmenter = Augmenter(config.augment) if config.augment.active else None

    def __call__(self, windows: Sequence[Window]) -> MaskedBatch:
        """Make a batch; what cannot be read, or has no labels, is no row of it."""
        config = self.config
        members, skipped = self._read(windows)
        if not config.pad_audio:
            members = self._of_one_length(members)
        samples, lengths = pad([wave for _, wave, _ in members])
        shape = (len(members), frame_count(samples.shape[1]))
        labels = torch.full(shape, NO_LABEL, dtype=torch.int64)
        mask = torch.zeros(shape, dtype=torch.bool)
        channels = torch.zeros(len(members), self.channels, dtype=torch.bool)
        for row, (window, wave, known) in enumerate(members):
            count = frame_count(len(wave))
            labels[row, : len(known)] = known
            rng = self._rng(window, "mask")
            drawn = span_mask(count, config.mask_prob, config.mask_length, rng)
            mask[row, :count] = torch.from_numpy(drawn)
            if self.channels:
                silenced = channel_mask(
                    self.channels, config.mask_channel_prob, config.mask_channel_length,
                    self._rng(window, "channels"),
                )  # fmt: skip
                channels[row] = torch.from_numpy(silenced)
        ids = [window.id for window, _, _ in members]
        made = MaskedBatch(ids, samples, lengths, labels, mask, channels, skipped)
        return made.with_places()

    def _read(self, windows: Sequence[Window]) -> tuple[list[Member], tuple[Unusable, ...]]:
        """Read audio and labels of windows; tell which lack one of them."""
        members: list[Member] = []
        skipped = []
        for window in windows:
            try:
                cut = self.source.read(window)
                wave = load_finite(window.applied(cut))
            except ValueError as error:
                skipped.append(Unusable(window.utterance, str(error)))
                continue
            labels = self.labels.of(cut)
            if not len(labels):
                reason = "No labels: it was unreadable when they were made."
                skipped.append(Unusable(window.utterance, reason))
                continue
            if self.augmenter is not None:
                wave = self.augmenter.change(wave, self._rng(window, "augment"))[0]
            members.append((window, wave, window.labels(labels, frame_count(len(wave)))))
        return members, tuple(skipped)

    def _of_one_length(self, members: list[Member]) -> list[Member]:
        """Cut all to the length of the shortest, each from a frame drawn at random."""
        shortest = min((len(wave) for _, wave, _ in members), default=0)
        cut = []
        for window, wave, known in members:
            free = (len(wave) - shortest) // FRAME_SHIFT
            first = int(self._rng(window, "length").integers(free + 1))
            part = wave[first * FRAME_SHIFT :][:shortest]
            cut.append((window, part, known[first : first + frame_count(shortest)]))
        return cut

    def _rng(self, window: Window, purpose: str) -> np.random.Generator:
        return utterance_rng(self.config.seed, window.epoch, window.id, purpose)
