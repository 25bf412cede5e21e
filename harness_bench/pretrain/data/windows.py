"""What a batch hears of an utterance: windows of it, and at which speed; by seed, epoch and id."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE, frame_count
from harness_bench.core.rng import utterance_rng
from harness_bench.pretrain.augment.effects import labels_at_speed, speed_factor

if TYPE_CHECKING:
    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.pretrain.config import PretrainConfig


class Window(NamedTuple):
    """One stretch of an utterance, in one of its epochs.

    Labels are made of clean whole utterances; `first`, `samples` and `factor` lead back to them.
    """

    cut: Cut  # the whole utterance
    epoch: int  # how often it was heard before
    number: int = 0  # of an utterance that is heard in several windows
    first: int = 0  # frame of the clean utterance
    samples: int | None = None  # of the clean utterance; None: all
    factor: float = 1.0  # speed
    place: tuple[int, int] | None = None  # shard, and number in it, of audio that lies in shards

    @property
    def utterance(self) -> str:
        """Return the utterance's id."""
        return str(self.cut.supervisions[0].id)

    @property
    def id(self) -> str:
        """Return what names the window in its epoch, and seeds all that is drawn for it."""
        return self.utterance if self.number == 0 else f"{self.utterance}@{self.number}"

    @property
    def duration(self) -> float:
        """Return the seconds that are heard."""
        clean = self.cut.duration if self.samples is None else self.samples / SAMPLE_RATE
        return float(clean) / self.factor

    def applied(self, cut: Cut) -> Cut:
        """Return the window of a cut that holds the whole utterance's audio."""
        if self.samples is not None:
            cut = cut.truncate(
                offset=self.first * (FRAME_SHIFT / SAMPLE_RATE),
                duration=self.samples / SAMPLE_RATE, preserve_id=True,
            )  # fmt: skip
        return cut if self.factor == 1.0 else cut.perturb_speed(self.factor, affix_id=False)

    def labels(self, whole: Tensor, frames: int) -> Tensor:
        """Return the labels of the window of so many frames: at most (frames,) int64."""
        if self.samples is not None:
            whole = whole[self.first : self.first + frame_count(self.samples)]
        if self.factor != 1.0:
            return labels_at_speed(whole, self.factor, frames)
        return whole[:frames]


def draw_windows(
    cut: Cut, config: PretrainConfig, epoch: int, place: tuple[int, int] | None = None
) -> list[Window]:
    """Draw an utterance's speed, and windows of `max_sample_size` where it is longer.

    As many as fit, one after the other from a frame drawn at random: an hour is heard whole but
    for less than a window, another one each time.
    """
    whole = Window(cut, epoch, place=place)
    factor = 1.0
    if config.augment.speed:
        factor = speed_factor(
            config.augment, utterance_rng(config.seed, epoch, whole.utterance, "speed")
        )
    if cut.duration * SAMPLE_RATE / factor < FRAME_FIELD:
        factor = 1.0  # So short that nothing of it would be left.
    limit = config.max_sample_size
    if factor != 1.0:
        # So many clean samples that the changed ones fit, in whole frames.
        limit = int(limit * factor) // FRAME_SHIFT * FRAME_SHIFT
    total = round(cut.duration * SAMPLE_RATE)
    if total <= limit:
        return [whole._replace(factor=factor)]
    # Windows after the first start on frames too, so fewer than a frame may lie between two.
    step = -(-limit // FRAME_SHIFT)
    count = 1 + (total - limit) // (step * FRAME_SHIFT)
    surplus = total - limit - (count - 1) * step * FRAME_SHIFT
    rng = utterance_rng(config.seed, epoch, whole.utterance, "crop")
    start = int(rng.integers(surplus // FRAME_SHIFT + 1))
    return [
        whole._replace(number=number, first=start + number * step, samples=limit, factor=factor)
        for number in range(count)
    ]
