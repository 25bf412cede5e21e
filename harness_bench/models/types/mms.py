"""MMS with the adapters of one language: the path of FOLDER/adapter.LANGUAGE.safetensors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, override

from harness_bench.core.files import digest_file, digest_strings
from harness_bench.models.frozen import FrozenModel, ModelShape, ModelType, config_of, type_of
from harness_bench.models.transformers import TransformersFolder
from harness_bench.models.weights import plain_names, read_tensors, read_weights

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"adapter\.[\w-]+\.safetensors")  # as transformers calls them


class MmsAdapter(ModelType):
    """Weights of wav2vec 2.0 whose adapters a file beside them replaces.

    The folder's own path stands for the adapters that are among its weights.
    """

    title = "wav2vec 2.0 with adapters (MMS)"
    elsewhere = "transformers: `Wav2Vec2ForCTC.from_pretrained(FOLDER, target_lang=LANGUAGE)`"

    @override
    def recognises(self, path: Path) -> bool:
        return path.is_file() and _NAME.fullmatch(path.name) is not None

    @override
    def shape(self, path: Path) -> ModelShape:
        return _base(path).shape(path.parent)

    @override
    def load(self, path: Path) -> FrozenModel:
        base, folder = _base(path), path.parent
        tensors = read_weights(folder, base.prefixes)
        adapters = read_tensors(path)
        named = plain_names(adapters, path, base.prefixes)
        new = {ours: adapters[name] for name, ours in named.items() if "adapter_layer" in ours}
        own = {name for name in tensors if "adapter_layer" in name}
        if not new or own - new.keys():  # surplus ones do not fit config.json
            raise ValueError(
                f"{path} has {len(new)} adapters' weights and lacks "
                f"{sorted(own - new.keys())[:3]}; with the rest of {folder}, two languages would "
                "be mixed. Get the whole file."
            )
        return base.opened(folder, {**tensors, **new})

    @override
    def weights(self, path: Path) -> list[Path]:
        return [*_base(path).weights(path.parent), path]

    @override
    def files(self, path: Path) -> list[Path]:
        return [*_base(path).files(path.parent), path]

    @override
    def digest(self, path: Path) -> str:
        return digest_strings(map(digest_file, self.files(path)))


def _base(path: Path) -> TransformersFolder:
    base = type_of(path.parent)
    if not isinstance(base, TransformersFolder) or not config_of(path.parent).get(
        "adapter_attn_dim"
    ):
        raise ValueError(
            f"{path} holds adapters, but {path.parent} is no model that takes any: its config.json "
            "has no adapter_attn_dim."
        )
    return base


TYPE = MmsAdapter()
