"""The learning rate for the audio of an update: Adam's square-root rule, from fairseq's setting.

Of noisy gradients Adam makes steps of the size of the learning rate, whatever the batch. Over the
same audio, batches of B seconds make 1 / B steps, and the squares of their sizes add up: with a
rate that grows as the root of B the sum stays, and with it how far a training moves (Malladi et
al. 2022, arXiv 2205.10287).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness_bench.pretrain.config import IterationConfig, PretrainConfig

# HuBERT Large of fairseq (hubert_large_librilight): 128 GPUs x 900,000 samples, 400k updates.
REFERENCE_LR = 1.5e-3
REFERENCE_SECONDS = 128 * 900_000 / 16_000  # 7,200 of audio per update
REFERENCE_HOURS = 400_000 * REFERENCE_SECONDS / 3600  # heard in all
MOST = 2.0  # a rate may be so many times the rule's, or its inverse, without a word
# What hears a smaller share of the reference's audio does not go its way, but must get somewhere
# in few steps: the rule does not speak of it.
LEAST_SHARE = 1e-3


def seconds_per_update(config: PretrainConfig, ranks: int) -> float:
    """Return the audio of an update over all ranks, at most."""
    return ranks * config.update_freq * config.max_seconds


def scaled_lr(seconds: float) -> float:
    """Return the peak learning rate for so much audio per update."""
    return REFERENCE_LR * math.sqrt(seconds / REFERENCE_SECONDS)


def lr_by_rule(config: PretrainConfig, ranks: int) -> float | None:
    """Return the learning rate of the rule for a training; None where it hears too little."""
    seconds = seconds_per_update(config, ranks)
    hours = config.max_update * seconds / 3600
    return scaled_lr(seconds) if hours >= LEAST_SHARE * REFERENCE_HOURS else None


def lr_warning(step: IterationConfig, ranks: int) -> str | None:
    """Say that a training's learning rate is far from that of the rule; None: it is not."""
    config = step.pretrain
    ruled = lr_by_rule(config, ranks)
    if ruled is None or 1 / MOST <= config.lr / ruled <= MOST:
        return None
    fitting = REFERENCE_SECONDS * (config.lr / REFERENCE_LR) ** 2
    return (
        f"{step.name}: lr = {config.lr:.2g} is {config.lr / ruled:.2g} times the {ruled:.2g} that "
        f"the square-root rule gives for {seconds_per_update(config, ranks):,.5g} s of audio an "
        f"update (ranks {ranks} x update_freq {config.update_freq} x max_seconds "
        f"{config.max_seconds:g}); it is for {fitting:,.0f} s. Change lr, or the batch by "
        "update_freq (docs/pretraining.md)."
    )
