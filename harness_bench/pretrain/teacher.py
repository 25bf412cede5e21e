"""Teachers of an iteration: an earlier iteration, anybody's checkpoint, or a named model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.audio.frames import FRAME_FIELD, FRAME_SHIFT
from harness_bench.models import hub
from harness_bench.models.checkpoint import load_config
from harness_bench.models.frozen import load_backbone, shape_of
from harness_bench.models.initialization import check_start
from harness_bench.models.types.fairseq import read_fairseq
from harness_bench.models.types.hubert import Backbone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_bench.models.hubert import Hubert
    from harness_bench.pretrain.config import IterationConfig


def find_teacher(name: str, made: Mapping[str, Path]) -> Path:
    """Return the checkpoint that a teacher's name stands for; a named model may be downloaded.

    Args:
        name: an earlier iteration, a path, or a model of models/hub.toml, in this order.
        made: iteration -> its checkpoint folder.

    Raises:
        ValueError: none of the three, or a named model without weights.
    """
    if name in made:
        return made[name]
    if "/" not in name and name in hub.names():
        return hub.resolve(name)
    path = Path(name)
    if not path.exists():
        raise ValueError(
            f"teacher = {name!r} is no iteration ({', '.join(made) or 'none'}), no checkpoint "
            f"folder or file, and no named model ({', '.join(hub.names())})."
        )
    return path


def check_teacher(step: IterationConfig, path: Path) -> None:
    """Check, from its settings alone, that a teacher from outside fits an iteration.

    Raises:
        ValueError: another frame rate, a layer it does not have, or weights that cannot start the
            student.
    """
    if step.labels.source == "hidden":
        shape, layer = shape_of(path), step.labels.layer or 0
        if (shape.downsample_rate, shape.receptive_field) != (FRAME_SHIFT, FRAME_FIELD):
            raise ValueError(
                f"teacher {path} gives a frame per {shape.downsample_rate} samples that sees "
                f"{shape.receptive_field}; labels stand for {FRAME_SHIFT} and {FRAME_FIELD}."
            )
        if layer > shape.num_layers:
            raise ValueError(
                f"labels.layer = {layer}, but teacher {path} has {shape.num_layers} layers."
            )
    if step.pretrain.init != "random":
        config = load_config(path) if path.is_dir() else read_fairseq(path).config
        check_start(step.model, step.pretrain.init, config)


def open_hubert(path: Path) -> Hubert:
    """Open a teacher whose weights start a student.

    Raises:
        ValueError: no checkpoint there, or not of HuBERT's architecture.
    """
    model = load_backbone(path)
    if not isinstance(model, Backbone):
        raise ValueError(  # noqa: TRY004 - a user's path
            f"{path} is not of HuBERT's architecture, whose weights alone start students; "
            'init = "random" takes labels from it all the same.'
        )
    return model.hubert
