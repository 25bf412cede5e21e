"""Ways to start a student: random, block averages of its teacher, or the teacher's extractor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness_bench.models.hubert import Hubert

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_bench.models.config import HubertConfig


def initialise(config: HubertConfig, how: str, teacher: Hubert | None, seed: int) -> Hubert:
    """Build a model and start it as `how` says.

    Args:
        config: the new model's shape.
        how: "random", "block_average" or "copy_extractor".
        teacher: needed by all but "random".
        seed: governs all random parts; the same seed gives the same weights.

    Raises:
        ValueError: no teacher, or one whose shape does not fit; says which dimension.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Hubert(config)
    if how == "random":
        return model
    if teacher is None:
        raise ValueError(f'init = "{how}" needs a teacher; name one, or use init = "random".')
    steps: dict[str, Callable[[Hubert, Hubert], None]] = {
        "block_average": average_blocks,
        "copy_extractor": copy_extractor,
    }
    steps[how](model, teacher)
    return model


def average_blocks(model: Hubert, teacher: Hubert) -> None:
    """Set block i to the mean of the teacher's i-th run of blocks (paper, section 2).

    Everything outside the blocks is copied. With 24 teacher and 4 student blocks, each student
    block is the mean of 6.
    """
    copy_extractor(model, teacher)
    _require_equal(model.config, teacher.config, "encoder_embed_dim", "encoder_ffn_embed_dim")
    many, few = teacher.config.encoder_layers, model.config.encoder_layers
    if many % few:
        raise ValueError(
            f"Block averaging needs a multiple of {few} teacher layers; the teacher has {many}."
        )
    size = many // few
    source = teacher.state_dict()
    target = model.state_dict()
    for name, value in target.items():
        parts = name.split(".")
        if name.startswith("encoder.layers."):
            first = int(parts[2]) * size
            names = [".".join([*parts[:2], str(first + i), *parts[3:]]) for i in range(size)]
            value.copy_(torch.stack([source[each] for each in names]).mean(0))
        elif not name.startswith("feature_extractor."):
            value.copy_(source[name])


def copy_extractor(model: Hubert, teacher: Hubert) -> None:
    """Copy the convolutional extractor, whose shape all models of the family share."""
    _require_equal(model.config, teacher.config, "conv_dim", "conv_kernel", "extractor_mode")
    model.feature_extractor.load_state_dict(teacher.feature_extractor.state_dict())


def _require_equal(config: HubertConfig, teacher: HubertConfig, *names: str) -> None:
    for name in names:
        ours, theirs = getattr(config, name), getattr(teacher, name)
        if ours != theirs:
            raise ValueError(
                f"The teacher's {name} is {theirs} and the student's {ours}; this initialisation "
                'needs them equal. Use init = "random".'
            )
