"""The cuts of one epoch: languages in given shares, speeds, crops; all by seed, epoch and id."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE, frame_count
from harness_bench.core.log import say
from harness_bench.core.rng import utterance_rng
from harness_bench.cuts.fields import COPY_FIELD, language_of, with_custom
from harness_bench.pretrain.augment.effects import speed_factor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lhotse.cut import Cut

    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.data.cut_source import CutSource

# In a changed cut's `custom`: the crop's first frame and number of frames in the clean utterance,
# and its speed.
FIRST_FIELD, FRAMES_FIELD, FACTOR_FIELD = "harness_first", "harness_frames", "harness_speed"


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
                short.add(utterance_of(cut))
        if short and not self.told and self.epoch == 0 and self.rank == 0:
            self.told = True  # The sampler goes over the cuts more than once.
            here = " of this rank" if self.source.splits_ranks else ""
            say(
                f"{len(short)} utterances{here} are shorter than min_sample_size = "
                f"{self.config.min_sample_size} and left out, first {min(short)!r}"
            )

    def _one_pass(self) -> Iterator[Cut]:
        return self.source.epoch(self.config.seed, self.epoch, self.rank, self.ranks)


def repetitions(shares: Mapping[str, float], hours: Mapping[str, float]) -> dict[str, float]:
    """Return how often an epoch holds each utterance of a language, at least once.

    The language with most audio for its share is heard once; an epoch then holds every language in
    its share of the audio. A language without a share, or audio, is a `ValueError`.
    """
    if set(shares) != set(hours):
        raise ValueError(
            f"pretrain.balance speaks of {', '.join(sorted(shares))}, but the audio is in "
            f"{', '.join(sorted(hours))}; give each of these a weight and no other. Utterances "
            'that do not say their language are "unknown": set `language` of their source.'
        )
    per_weight = {name: hours[name] / share for name, share in shares.items()}
    most = max(per_weight.values())
    return {name: most / own for name, own in per_weight.items()}


def repeated(
    one_pass: Callable[[], Iterator[Cut]], factors: Mapping[str, float], seed: int, epoch: int
) -> Iterator[Cut]:
    """Yield an epoch's cuts as often as their language's factor says.

    A factor of 2.3 gives every utterance twice and three tenths of them, drawn by seed, epoch and
    id, a third time. The passes come one after the other, so that copies do not meet in a batch.
    A copy has an id, and with it crops, masks and noise, of its own. Without factors there is one
    plain pass.
    """
    for number in range(math.ceil(max(factors.values(), default=1))):
        for cut in one_pass():
            due = _due(cut, factors[language_of(cut)], seed, epoch) if factors else 1
            if number < due:
                yield cut if number == 0 else _copy(cut, number)


def _due(cut: Cut, factor: float, seed: int, epoch: int) -> int:
    whole, rest = divmod(factor, 1)
    extra = rest > 0 and utterance_rng(seed, epoch, str(cut.id), "repeat").random() < rest
    return int(whole) + int(extra)


def _copy(cut: Cut, number: int) -> Cut:
    return with_custom(cut.with_id(f"{cut.id}#{number}"), **{COPY_FIELD: number})


def utterance_of(cut: Cut) -> str:
    """Return the utterance's id; lhotse renames cuts it repeats to give every rank a last batch."""
    return str(cut.supervisions[0].id)


def drawn_name(cut: Cut) -> str:
    """Return the name that seeds a cut's random choices: its utterance and which copy it is."""
    copy = (cut.custom or {}).get(COPY_FIELD, 0)
    return utterance_of(cut) if copy == 0 else f"{utterance_of(cut)}#{copy}"


def vary(cut: Cut, config: PretrainConfig, epoch: int) -> Cut:
    """Draw an utterance's speed and cut it to `max_sample_size`, on a frame's border.

    Labels are made of clean whole utterances; the fields in `custom` lead back to them.
    """
    factor = 1.0
    if config.augment.speed:
        rng = utterance_rng(config.seed, epoch, drawn_name(cut), "speed")
        factor = speed_factor(config.augment, rng)
    if cut.duration * SAMPLE_RATE / factor < FRAME_FIELD:
        factor = 1.0  # So short that nothing of it would be left.
    limit = config.max_sample_size
    if factor == 1.0:
        return crop(cut, limit, config.seed, epoch)
    # So many clean samples that the changed ones fit, in whole frames.
    limit = int(limit * factor) // FRAME_SHIFT * FRAME_SHIFT
    changed = crop(cut, limit, config.seed, epoch).perturb_speed(factor, affix_id=False)
    return with_custom(changed, **{FACTOR_FIELD: factor})


def crop(cut: Cut, samples: int, seed: int, epoch: int) -> Cut:
    """Cut a long utterance to `samples`, starting on a frame so that labels still fit."""
    surplus = round(cut.duration * SAMPLE_RATE) - samples
    if surplus <= 0:
        return cut
    rng = utterance_rng(seed, epoch, drawn_name(cut), "crop")
    first = int(rng.integers(surplus // FRAME_SHIFT + 1))
    shorter = cut.truncate(
        offset=first * (FRAME_SHIFT / SAMPLE_RATE), duration=samples / SAMPLE_RATE,
        preserve_id=True,
    )  # fmt: skip
    return with_custom(shorter, **{FIRST_FIELD: first, FRAMES_FIELD: frame_count(samples)})
