"""What a head makes of the hidden states: their learned weighted sum, or their plain mean.

s3prl learns the sum always. Its weights are a softmax of numbers that start at zero, so kept at
zero they are the plain mean, on any upstream and any task.
"""

import functools
import sys
from collections.abc import Mapping
from typing import Any

from harness_bench.models.layers import MEAN, WEIGHTED
from harness_bench.probing.head.config import PATIENCE

KEY = "layers"  # of the config's part `runner`
_RUNNER = "s3prl.downstream.runner"


def layers_of(settings: Mapping[str, Any]) -> str:
    """Return what the `runner` part of a config asks for: weighted or mean; else ValueError."""
    asked = settings.get(KEY, WEIGHTED)
    if asked not in (WEIGHTED, MEAN):
        raise ValueError(
            f"config.runner.{KEY} = {asked!r}; expected {WEIGHTED} (learned sum) or {MEAN} (plain "
            "mean). For one hidden state, use -l NUMBER."
        )
    return str(asked)


def choose_layers(runner_module: Any) -> None:
    """Let the runner of an imported `s3prl.downstream.runner` take plain means; twice is once."""
    stock = runner_module.Runner._init_model  # noqa: SLF001 - nothing public stands between
    if hasattr(stock, "__wrapped__"):
        return

    @functools.wraps(stock)
    def init_model(
        runner: Any, model: Any, name: str, trainable: Any, interfaces: Any = None
    ) -> Any:
        plain = name == "Featurizer" and layers_of(runner.config["runner"]) == MEAN
        if plain:
            # Before the stock function, which would share its gradients among processes.
            model.requires_grad_(requires_grad=False)
        entry = stock(runner, model, name, trainable, interfaces)
        if plain and hasattr(model, "weights"):  # a single state has none
            model.weights.zero_()  # `-i` may have brought those of another run
        return entry

    runner_module.Runner._init_model = init_model  # noqa: SLF001


def refuse_unheeded(settings: Mapping[str, Any]) -> None:
    """Refuse a plain mean under s3prl's own runner, which would learn the sum all the same.

    And patience, of which it knows nothing.
    """
    unheeded = {KEY: layers_of(settings), PATIENCE: settings.get(PATIENCE)}
    if unheeded == {KEY: WEIGHTED, PATIENCE: None}:
        return
    runner = getattr(sys.modules.get(_RUNNER), "Runner", None)
    if not hasattr(getattr(runner, "_init_model", None), "__wrapped__"):
        raise ValueError(
            f"config.runner: {unheeded} needs `python -m harness_bench.run_downstream`: "
            "s3prl's own runner would learn the weighted sum, to the last step, all the same."
        )
