"""Ways to start a student: random, block averages of its teacher, thinned ones, its extractor."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from harness_bench.models.hubert import Hubert
from harness_bench.models.thinning import check_widths, copy_reduced

if TYPE_CHECKING:
    from harness_bench.models.config import HubertConfig

_EXTRACTOR = ("conv_dim", "conv_kernel", "conv_stride", "conv_bias", "extractor_mode")
# What decides the meaning or the shape of a teacher's weights beside its widths.
_KIND = ("layer_norm_first", "conv_pos", "conv_pos_groups")
_WIDTHS = ("encoder_embed_dim", "encoder_ffn_embed_dim", "has_projection")
# Way to start -> what must be equal in teacher and student.
_ALIKE = {
    "random": (),
    "block_average": (*_EXTRACTOR, *_WIDTHS, *_KIND),
    "copy_extractor": _EXTRACTOR,
    "slice": (*_EXTRACTOR, *_KIND),
    "svd": (*_EXTRACTOR, *_KIND),
}


def initialise(config: HubertConfig, how: str, teacher: Hubert | None, seed: int) -> Hubert:
    """Build a model and start it as `how` says; the same seed gives the same weights.

    "block_average": block i is the mean of the teacher's i-th run of blocks (paper, section 2), all
    else is copied; the number of heads may differ, since it changes no shape. "slice" and "svd"
    average too, over runs whose lengths may differ by one, and reduce the widths
    (`thinning.copy_reduced`). "copy_extractor" takes the convolutions alone. No teacher for what
    needs one, or one that `check_start` refuses, is a ValueError.
    """
    if how != "random" and teacher is None:
        raise ValueError(f'init = "{how}" needs a teacher; name one, or use init = "random".')
    check_start(config, how, teacher.config if teacher else config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Hubert(config)
        if teacher is not None and how != "random":
            _copy(model, teacher, how)
    return model


@torch.no_grad()
def _copy(model: Hubert, teacher: Hubert, how: str) -> None:
    if how == "block_average":
        _copy_means(model, teacher)
        return
    model.feature_extractor.load_state_dict(teacher.feature_extractor.state_dict())
    if how != "copy_extractor":
        middle = Hubert(replace(teacher.config, encoder_layers=model.config.encoder_layers))
        _copy_means(middle, teacher)
        copy_reduced(model, middle, how)


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


def check_start(config: HubertConfig, how: str, teacher: HubertConfig) -> None:
    """Check that a teacher of that shape can start such a student, before either is built.

    An unknown initialisation and shapes that do not fit are a ValueError that names them.
    """
    if how not in _ALIKE:
        raise ValueError(f'There is no init = "{how}"; known: {", ".join(_ALIKE)}.')
    for name in _ALIKE[how]:
        ours, theirs = getattr(config, name), getattr(teacher, name)
        if ours != theirs:
            way = '"svd" (or "slice")' if name.startswith("encoder_") else '"random"'
            raise ValueError(
                f"The teacher's {name} is {theirs} and the student's {ours}; this initialisation "
                f"needs them equal. Use init = {way}."
            )
    many, few = teacher.encoder_layers, config.encoder_layers
    if how == "block_average" and many % few:
        raise ValueError(
            f"Block averaging needs a multiple of {few} teacher layers; the teacher has {many}. "
            'init = "svd" takes runs of unequal length.'
        )
    if how in ("slice", "svd"):
        if few > many:
            raise ValueError(
                f"The student's encoder_layers is {few} and the teacher's {many}: there are not "
                'enough blocks to average. Take fewer layers, or init = "copy_extractor".'
            )
        check_widths(config, teacher, how)
