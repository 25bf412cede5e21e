"""How many frames of an utterance reach CTC, counted before anything trains.

Numbers of the encoders' convolutions are read from ESPnet's own modules.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness_bench.core.config import read_yaml

# The class that each of an encoder's `input_layer` stands for; the others keep all frames.
_SUBSAMPLING = {
    "conv1d1": "Conv1dSubsampling1", "conv1d2": "Conv1dSubsampling2",
    "conv1d3": "Conv1dSubsampling3", "conv2d": "Conv2dSubsampling",
    "conv2d1": "Conv2dSubsampling1", "conv2d2": "Conv2dSubsampling2",
    "conv2d6": "Conv2dSubsampling6", "conv2d8": "Conv2dSubsampling8",
}  # fmt: skip
_PARTS = ("frontend_conf", "encoder_conf", "model_conf")
_DEFAULT_LAYER, _DEFAULT_CTC = "conv2d", 0.5  # ESPnet's
_BINS, _WIDTH = 80, 4  # of a module that is only asked for its convolutions


@dataclass(frozen=True)
class Subsampling:
    """The convolutions in front of an encoder."""

    least: int = 1  # frames below which ESPnet raises TooShortUttError
    convolutions: tuple[tuple[int, int], ...] = ()  # kernel and stride

    def frames(self, count: int) -> int:
        """Return what is left of so many frames, 0 if they are too few."""
        if count < self.least:
            return 0
        for kernel, stride in self.convolutions:
            count = (count - kernel) // stride + 1
        return max(count, 0)


def subsampling_of(input_layer: str | None) -> Subsampling:
    """Return an encoder's subsampling by the name of its `input_layer`."""
    if input_layer not in _SUBSAMPLING:
        return Subsampling()
    from espnet2.legacy.nets.pytorch_backend.transformer import subsampling  # noqa: PLC0415 - torch
    from torch import nn  # noqa: PLC0415

    module = getattr(subsampling, _SUBSAMPLING[input_layer])(_BINS, _WIDTH, 0.0)
    layers = [each for each in module.conv if isinstance(each, nn.Conv1d | nn.Conv2d)]
    short, limit = subsampling.check_short_utt(module, 0)
    return Subsampling(
        limit if short else 1, tuple((each.kernel_size[0], each.stride[0]) for each in layers)
    )


@dataclass(frozen=True)
class CtcFrames:
    """Frames of utterances at CTC, of one training."""

    of_frontend: Callable[[int], int]  # samples -> frames
    subsampling: Subsampling
    name: str  # what they come from
    aligned: bool  # whether CTC has a share in the loss

    def fault(self, samples: int, labels: Sequence[int]) -> str:
        """Say why an utterance cannot be trained on, or nothing.

        CTC gives each label a frame, and a blank between two equal ones.
        """
        given = self.of_frontend(samples)
        frames = self.subsampling.frames(given)
        if not frames:
            return f"{given} frames are too short for {self.name}; {self.subsampling.least} needed"
        needed = len(labels) + sum(a == b for a, b in pairwise(labels))
        if self.aligned and needed > frames:
            return f"{len(labels)} labels need {needed} frames, {self.name} leaves {frames}"
        return ""


def ctc_frames(
    config: Path, words: Sequence[str], upstream: Callable[[int], int] | None
) -> CtcFrames | None:
    """Return how a training counts frames; None where its frontend is none of the recipe's.

    Args:
        config: the training's YAML.
        words: of asr_train's command line, which win over it.
        upstream: samples -> frames of the checkpoint; None: FBANK.
    """
    settings = _settings(config, words)
    if settings["frontend"] != ("harness" if upstream else "default"):
        return None
    fbank, encoder = settings["frontend_conf"], settings["encoder_conf"]
    hop = int(fbank.get("hop_length") or 128)  # ESPnet's default
    layer = encoder.get("input_layer", _DEFAULT_LAYER)
    return CtcFrames(
        upstream or (lambda samples: samples // hop + 1),
        subsampling_of(layer),
        f"{'the upstream' if upstream else 'FBANK'} with input_layer {layer}",
        bool(settings["model_conf"].get("ctc_weight", _DEFAULT_CTC)),
    )


def _settings(config: Path, words: Sequence[str]) -> dict[str, Any]:
    """Read what decides about frames as ESPnet does: the config, then the command line."""
    from espnet2.utils.nested_dict_action import NestedDictAction  # noqa: PLC0415 - extra

    values = read_yaml(config)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in _PARTS:
        parser.add_argument(f"--{name}", action=NestedDictAction, default=values.get(name) or {})
    parser.add_argument("--frontend", default=values.get("frontend") or "default")
    return vars(parser.parse_known_args(words)[0])
