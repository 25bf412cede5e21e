"""Models that SpeechBrain fine-tuned: hyperparams.yaml, and the weights in wav2vec2.ckpt.

SpeechBrain takes the architecture from another repository, which hyperparams.yaml names: put that
one's config.json and preprocessor_config.json into the folder.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, override

from harness_bench.models.frozen import (
    CONFIG,
    PREPROCESSOR,
    FrozenModel,
    ModelShape,
    ModelType,
    config_of,
    model_types,
)
from harness_bench.models.transformers import TransformersFolder
from harness_bench.models.weights import plain_names, read_tensors

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = "hyperparams.yaml"
NAMES = ("wav2vec2.ckpt", "wavlm.ckpt", "hubert.ckpt", "ssl_model.ckpt")
_SOURCE = re.compile(r"^\s*(?:\w*_hub|\w*_source|source):\s*([\w.-]+/[\w.-]+)\s*$", re.MULTILINE)
_EPSILON = 1e-5  # of the layer norm that SpeechBrain normalises waveforms with


class SpeechBrainFolder(ModelType):
    """What SpeechBrain's `Pretrainer` reads; its classifiers and decoders are left aside."""

    title = "A model fine-tuned by SpeechBrain"
    elsewhere = "SpeechBrain: `EncoderClassifier.from_hparams(FOLDER)` or the class of its task"

    @override
    def recognises(self, path: Path) -> bool:
        return (path / SETTINGS).is_file() and any((path / name).is_file() for name in NAMES)

    @override
    def shape(self, path: Path) -> ModelShape:
        return _architecture(path).shape(path)

    @override
    def load(self, path: Path) -> FrozenModel:
        base, (file,) = _architecture(path), self.weights(path)
        tensors = read_tensors(file)
        named = plain_names(tensors, file, base.prefixes)
        plain = {ours: tensors[name] for name, ours in named.items()}
        return base.opened(path, plain, epsilon=_EPSILON)

    @override
    def files(self, path: Path) -> list[Path]:
        return [path / SETTINGS, *super().files(path)]

    @override
    def weights(self, path: Path) -> list[Path]:
        return [next(path / name for name in NAMES if (path / name).is_file())]


def _architecture(path: Path) -> TransformersFolder:
    """Return the type of the folder's config.json; without one, say where it comes from."""
    kind = config_of(path).get("model_type")
    for each in model_types():
        if isinstance(each, TransformersFolder) and kind in each.model_types:
            return each
    named = _SOURCE.search((path / SETTINGS).read_text(encoding="utf-8"))
    source = named[1] if named else "the model that SpeechBrain started from"
    raise ValueError(
        f"{path} was written by SpeechBrain, which takes the architecture from {source}: put its "
        f"{CONFIG} and {PREPROCESSOR} into the folder "
        f"(`hf download {named[1] if named else 'OWNER/NAME'} {CONFIG} {PREPROCESSOR} "
        f"--local-dir {path}`). model_type there was {kind!r}."
    )


TYPE = SpeechBrainFolder()
