"""Ways to start a student: random, block averages of its teacher, thinned ones, its extractor."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from harness_bench.models.hubert import Hubert
from harness_bench.models.thinning import check_widths, copy_reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_bench.models.config import HubertConfig

# What decides the meaning or the shape of a teacher's weights beside its widths.
_KIND = ("layer_norm_first", "conv_pos", "conv_pos_groups")


def initialise(config: HubertConfig, how: str, teacher: Hubert | None, seed: int) -> Hubert:
    """Build a model and start it as `how` says.

    Args:
        config: the new model's shape.
        how: "random", "block_average", "copy_extractor", "slice" or "svd".
        teacher: needed by all but "random".
        seed: governs all random parts; the same seed gives the same weights.

    Raises:
        ValueError: no teacher, or one whose shape does not fit; says which dimension.
    """
    steps: dict[str, Callable[[Hubert, Hubert], None]] = {
        "random": lambda _model, _teacher: None,
        "block_average": average_blocks,
        "copy_extractor": copy_extractor,
        "slice": partial(thin_blocks, how="slice"),
        "svd": partial(thin_blocks, how="svd"),
    }
    if how != "random" and teacher is None:
        raise ValueError(f'init = "{how}" needs a teacher; name one, or use init = "random".')
    check_start(config, how, teacher.config if teacher else config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Hubert(config)
    if teacher is not None:
        with torch.no_grad():
            steps[how](model, teacher)
    return model


def check_start(config: HubertConfig, how: str, teacher: HubertConfig) -> None:
    """Check that a teacher of that shape can start such a student, before either is built.

    An unknown initialisation and shapes that do not fit are a ValueError that names them.
    """
    if how not in _CHECKS:
        raise ValueError(f'There is no init = "{how}"; known: {", ".join(_CHECKS)}.')
    _CHECKS[how](config, teacher)


def average_blocks(model: Hubert, teacher: Hubert) -> None:
    """Set block i to the mean of the teacher's i-th run of blocks (paper, section 2).

    Everything outside the blocks is copied. With 24 teacher and 4 student blocks, each student
    block is the mean of 6. The number of heads may differ: it changes no shape.
    """
    check_start(model.config, "block_average", teacher.config)
    _copy_means(model, teacher)


def thin_blocks(model: Hubert, teacher: Hubert, how: str) -> None:
    """Average runs of blocks at the teacher's widths, then reduce the widths.

    At equal widths this is `average_blocks`; elsewhere see `thinning.copy_reduced`. Where the
    student's blocks do not divide the teacher's, runs differ in length by one. "slice" keeps the
    strongest channels, heads and units; "svd" projects on the stream's strongest subspace.
    """
    check_start(model.config, how, teacher.config)
    few = model.config.encoder_layers
    with torch.random.fork_rng(devices=[]):  # The weights drawn here are all replaced.
        middle = Hubert(replace(teacher.config, encoder_layers=few))
    _copy_means(middle, teacher)
    copy_extractor(model, teacher)
    copy_reduced(model, middle, how)


def copy_extractor(model: Hubert, teacher: Hubert) -> None:
    """Copy the convolutional extractor, whose shape all models of the family share."""
    check_start(model.config, "copy_extractor", teacher.config)
    model.feature_extractor.load_state_dict(teacher.feature_extractor.state_dict())


def _copy_means(model: Hubert, teacher: Hubert) -> None:
    """Copy a teacher of equal widths; blocks are means over runs of its blocks."""
    many, few = teacher.config.encoder_layers, model.config.encoder_layers
    starts = [index * many // few for index in range(few + 1)]
    source = teacher.state_dict()
    for name, value in model.state_dict().items():
        parts = name.split(".")
        if not name.startswith("encoder.layers."):
            value.copy_(source[name])
            continue
        run = range(starts[int(parts[2])], starts[int(parts[2]) + 1])
        names = [".".join([*parts[:2], str(index), *parts[3:]]) for index in run]
        value.copy_(torch.stack([source[each] for each in names]).mean(0))


def _check_average(config: HubertConfig, teacher: HubertConfig) -> None:
    _check_extractor(config, teacher)
    _require_equal(
        config, teacher, "encoder_embed_dim", "encoder_ffn_embed_dim", "has_projection", *_KIND
    )
    many, few = teacher.encoder_layers, config.encoder_layers
    if many % few:
        raise ValueError(
            f"Block averaging needs a multiple of {few} teacher layers; the teacher has {many}. "
            'init = "svd" takes runs of unequal length.'
        )


def _check_thin(config: HubertConfig, teacher: HubertConfig, how: str) -> None:
    _check_extractor(config, teacher)
    _require_equal(config, teacher, *_KIND)
    many, few = teacher.encoder_layers, config.encoder_layers
    if few > many:
        raise ValueError(
            f"The student's encoder_layers is {few} and the teacher's {many}: there are not "
            'enough blocks to average. Take fewer layers, or init = "copy_extractor".'
        )
    check_widths(config, teacher, how)


def _check_extractor(config: HubertConfig, teacher: HubertConfig) -> None:
    _require_equal(
        config, teacher, "conv_dim", "conv_kernel", "conv_stride", "conv_bias", "extractor_mode"
    )


def _require_equal(config: HubertConfig, teacher: HubertConfig, *names: str) -> None:
    for name in names:
        ours, theirs = getattr(config, name), getattr(teacher, name)
        if ours != theirs:
            way = '"svd" (or "slice")' if name.startswith("encoder_") else '"random"'
            raise ValueError(
                f"The teacher's {name} is {theirs} and the student's {ours}; this initialisation "
                f"needs them equal. Use init = {way}."
            )


_CHECKS: dict[str, Callable[[HubertConfig, HubertConfig], None]] = {
    "random": lambda _config, _teacher: None,
    "block_average": _check_average,
    "copy_extractor": _check_extractor,
    "slice": partial(_check_thin, how="slice"),
    "svd": partial(_check_thin, how="svd"),
}
