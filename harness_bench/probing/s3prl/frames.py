"""Which frames of an upstream lie inside an utterance: told to heads of this project.

s3prl gives a head the samples from one frame to the next, and not how many a frame sees.
"""

import functools
from typing import Any

from harness_bench.audio.frames import FRAME_FIELD
from harness_bench.models.frozen import ModelShape


def shape_of_upstream(model: Any) -> ModelShape:
    """Return the shape of an upstream: of ours the checkpoint's, of others what they tell."""
    model = getattr(model, "module", model)  # wrapped for several processes
    found = getattr(getattr(model, "backbone", None), "shape", None)
    if isinstance(found, ModelShape):
        return found
    return ModelShape(0, 0, int(model.get_downsample_rates("hidden_states")), FRAME_FIELD)


def tell_shape(runner_module: Any) -> None:
    """Let the runner of an imported `s3prl.downstream.runner` tell it to heads; twice is once."""
    stock = runner_module.Runner._get_downstream  # noqa: SLF001 - nothing public stands between
    if hasattr(stock, "__wrapped__"):
        return

    @functools.wraps(stock)
    def get_downstream(runner: Any) -> Any:
        entry = stock(runner)
        expert = getattr(entry.model, "module", entry.model)
        if isinstance(getattr(expert, "shape", None), ModelShape):
            expert.shape = shape_of_upstream(runner.upstream.model)
        return entry

    runner_module.Runner._get_downstream = get_downstream  # noqa: SLF001
