"""Labels on disk: shards of uint16, each one safetensors file, looked up by utterance id."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, override

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from harness_bench.core.files import atomic_path
from harness_bench.core.workdir import OldNote, read_note
from harness_bench.cuts.shar import labels_path
from harness_bench.pretrain.data.cut_source import ShardedCuts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.pretrain.data.cut_source import CutSource

SHARD_PATTERN = "labels-*.safetensors"
TAR_PATTERN = "labels.*.tar"
PATTERNS = SHARD_PATTERN, TAR_PATTERN
REPORT_FILE = "report.json"
OLD_NOTE = OldNote("key.json", whole=REPORT_FILE)


def shard_path(folder: Path, number: int) -> Path:
    """Return where the labels of a part stand."""
    return folder / f"labels-{number:05d}.safetensors"


def write_shard(path: Path, labels: Mapping[str, Tensor]) -> None:
    """Write labels (F_i,) of some utterances as one shard, atomically."""
    ids = list(labels)
    lengths = torch.tensor([0, *(len(labels[name]) for name in ids)], dtype=torch.int64)
    flat = torch.cat([labels[name] for name in ids]) if ids else torch.zeros(0)
    tensors = {"labels": flat.to(torch.uint16), "offsets": lengths.cumsum(0)}
    with atomic_path(path) as partial:
        save_file(tensors, partial, metadata={"ids": json.dumps(ids)})


class Labels(ABC):
    """The labels of a corpus, wherever they stand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def digest(self) -> str:
        """Return the digest of everything these labels were made from."""
        note = read_note(self.folder, (OLD_NOTE,))
        assert note is not None, f"{self.folder} has labels and no note of their inputs"
        return note.key

    def __len__(self) -> int:
        return sum(1 for _ in self.rows())

    @abstractmethod
    def of(self, cut: Cut) -> Tensor:
        """Return the labels (F,) int64 of the whole utterance that a cut is (a crop of)."""

    def attached(self, source: CutSource) -> CutSource:
        """Return the source as training reads it with these labels."""
        return source

    @abstractmethod
    def rows(self, rank: int = 0, ranks: int = 1) -> Iterator[Tensor]:
        """Yield the labels (F,) int64 of every utterance, or of one rank's share of them."""


class LabelStore(Labels):
    """All labels of a folder, by utterance id; shards are memory-mapped, 2 bytes a frame."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._where: dict[str, tuple[int, int, int]] = {}
        self._shards: list[Tensor] = []
        for number, path in enumerate(sorted(folder.glob(SHARD_PATTERN))):
            with safe_open(path, framework="pt") as shard:
                ids = json.loads(shard.metadata()["ids"])
                offsets = pairwise(shard.get_tensor("offsets").tolist())
                self._shards.append(shard.get_tensor("labels"))
            for name, (start, end) in zip(ids, offsets, strict=True):
                self._where[name] = number, start, end
        if not self._where:
            raise ValueError(f"{folder} holds no labels; make them with `harness-bench labels`.")

    def __getitem__(self, name: str) -> Tensor:
        """Return the labels (F,) int64 of one utterance."""
        if name not in self._where:
            raise ValueError(
                f"{self.folder} has no labels for utterance {name!r}; make labels for these cuts."
            )
        shard, start, end = self._where[name]
        return self._shards[shard][start:end].long()

    @override
    def of(self, cut: Cut) -> Tensor:
        return self[str(cut.supervisions[0].id)]

    @override
    def rows(self, rank: int = 0, ranks: int = 1) -> Iterator[Tensor]:
        places = islice(self._where.values(), rank, None, ranks)
        return (self._shards[number][start:end].long() for number, start, end in places)


class ShardLabels(Labels):
    """Labels as a field of a sharded corpus: nothing is held in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.files = sorted(folder.glob(TAR_PATTERN))

    @override
    def of(self, cut: Cut) -> Tensor:
        return torch.from_numpy(cut.load_labels().astype("int64"))

    @override
    def attached(self, source: CutSource) -> CutSource:
        """Return the sharded source with labels as one more field; another is a ValueError."""
        if not isinstance(source, ShardedCuts) or len(source.shards) != len(self.files):
            raise ValueError(
                f"{self.folder} holds labels of {len(self.files)} shards, which these cuts are "
                "not; make labels for them."
            )
        return source.with_labels(self.folder)

    @override
    def rows(self, rank: int = 0, ranks: int = 1) -> Iterator[Tensor]:
        from lhotse.shar.readers.tar import TarIterator  # noqa: PLC0415 - slow to import

        for path in self.files[rank::ranks]:
            for manifest, _ in TarIterator(str(path)):
                yield torch.from_numpy(manifest.load().astype("int64"))


class NoLabels(Labels):
    """For objectives that need none: label 0 for every frame of any utterance."""

    def __init__(self) -> None:
        super().__init__(Path())

    @property
    @override
    def digest(self) -> str:
        return "none"

    @override
    def of(self, cut: Cut) -> Tensor:
        # More than any utterance has frames; they take no memory.
        return torch.zeros(1, dtype=torch.int64).expand(1 << 40)

    @override
    def rows(self, rank: int = 0, ranks: int = 1) -> Iterator[Tensor]:
        return iter(())


def open_labels(folder: Path) -> Labels:
    """Open a folder of labels, by id or by shard, whichever it is."""
    return ShardLabels(folder) if any(folder.glob(TAR_PATTERN)) else LabelStore(folder)


def write_labels(folder: Path, part: int, labels: Mapping[str, Any]) -> None:
    """Write the labels (utterance id -> (F,) integers below 65,536) of one shard, as its cuts."""
    from lhotse.array import Array  # noqa: PLC0415 - slow to import
    from lhotse.shar.writers.array import ArrayTarWriter  # noqa: PLC0415

    with (
        atomic_path(labels_path(folder, part)) as partial,
        ArrayTarWriter(str(partial), shard_size=None) as tar,
    ):
        for name, values in labels.items():
            row = np.asarray(values).astype(np.uint16)
            manifest = Array("memory", "", "", shape=list(row.shape))
            tar.write(name, row, manifest)
