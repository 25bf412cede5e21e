"""HuBERT files of fairseq, opened as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from harness_bench.models.fairseq import read_fairseq
from harness_bench.models.frozen import FrozenModel, ModelShape, ModelType
from harness_bench.models.types.hubert import Backbone, hubert_shape

if TYPE_CHECKING:
    from pathlib import Path


class FairseqFile(ModelType):
    """A `.pt` file: the settings stand in it, beside the weights."""

    @override
    def recognises(self, path: Path) -> bool:
        return path.is_file()

    @override
    def shape(self, path: Path) -> ModelShape:
        return hubert_shape(read_fairseq(path).config)

    @override
    def load(self, path: Path) -> FrozenModel:
        return Backbone(read_fairseq(path).model())

    @override
    def files(self, path: Path) -> list[Path]:
        return [path]


TYPE = FairseqFile()
