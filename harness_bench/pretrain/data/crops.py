"""Which part of an utterance a batch gets, and how fast; both start on a frame's border."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT, SAMPLE_RATE, frame_count
from harness_bench.core.rng import utterance_rng
from harness_bench.cuts.fields import COPY_FIELD, with_custom
from harness_bench.pretrain.augment.effects import speed_factor

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from harness_bench.pretrain.config import PretrainConfig

FRAME_SECONDS = FRAME_SHIFT / SAMPLE_RATE
# In a changed cut's `custom`: the crop's first frame and number of frames in the clean utterance,
# and its speed.
FIRST_FIELD, FRAMES_FIELD, FACTOR_FIELD = "harness_first", "harness_frames", "harness_speed"


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
    if factor != 1.0:
        # So many clean samples that the changed ones fit, in whole frames.
        limit = int(limit * factor) // FRAME_SHIFT * FRAME_SHIFT
    cropped = crop(cut, limit, config.seed, epoch)
    if factor == 1.0:
        return cropped
    changed = cropped.perturb_speed(factor, affix_id=False)
    return with_custom(changed, **{FACTOR_FIELD: factor})


def crop(cut: Cut, samples: int, seed: int, epoch: int) -> Cut:
    """Cut a long utterance to `samples`, starting on a frame so that labels still fit."""
    surplus = round(cut.duration * SAMPLE_RATE) - samples
    if surplus <= 0:
        return cut
    rng = utterance_rng(seed, epoch, drawn_name(cut), "crop")
    first = int(rng.integers(surplus // FRAME_SHIFT + 1))
    shorter = cut.truncate(
        offset=first * FRAME_SECONDS, duration=samples / SAMPLE_RATE, preserve_id=True
    )
    fields = {FIRST_FIELD: first, FRAMES_FIELD: frame_count(samples)}
    return with_custom(shorter, **fields)
