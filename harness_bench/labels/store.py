"""Labels on disk: shards of uint16, each one safetensors file, looked up by utterance id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from harness_bench.files import atomic_path, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

SHARD_PATTERN = "labels-*.safetensors"
LABELER = "labeler.safetensors"
KEY_FILE = "key.json"


def write_shard(path: Path, labels: Mapping[str, Tensor]) -> None:
    """Write labels (F_i,) of some utterances as one shard, atomically."""
    ids = list(labels)
    lengths = torch.tensor([0, *(len(labels[name]) for name in ids)], dtype=torch.int64)
    flat = torch.cat([labels[name] for name in ids]) if ids else torch.zeros(0)
    tensors = {"labels": flat.to(torch.uint16), "offsets": lengths.cumsum(0)}
    with atomic_path(path) as partial:
        save_file(tensors, partial, metadata={"ids": json.dumps(ids)})


class LabelStore:
    """All labels of a folder, by utterance id; shards are memory-mapped, 2 bytes a frame."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._where: dict[str, tuple[int, int, int]] = {}
        self._shards: list[Tensor] = []
        for number, path in enumerate(sorted(folder.glob(SHARD_PATTERN))):
            self._read_shard(number, path)
        if not self._where:
            raise ValueError(f"{folder} holds no labels; make them with `harness-bench labels`.")

    def _read_shard(self, number: int, path: Path) -> None:
        with safe_open(path, framework="pt") as shard:
            ids = json.loads(shard.metadata()["ids"])
            offsets = shard.get_tensor("offsets").tolist()
            self._shards.append(shard.get_tensor("labels"))
        for index, name in enumerate(ids):
            self._where[name] = (number, offsets[index], offsets[index + 1])

    @property
    def digest(self) -> str:
        """Return the digest of everything these labels were made from."""
        return str(read_json(self.folder / KEY_FILE))

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, name: object) -> bool:
        return name in self._where

    def __getitem__(self, name: str) -> Tensor:
        """Return the labels (F,) int64 of one utterance."""
        try:
            shard, start, end = self._where[name]
        except KeyError:
            raise ValueError(
                f"{self.folder} has no labels for utterance {name!r}; make labels for these cuts."
            ) from None
        return self._shards[shard][start:end].long()

    def histogram(self, clusters: int) -> Tensor:
        """Count how often each label stands in the whole store: (clusters,) int64."""
        counts = torch.zeros(clusters, dtype=torch.int64)
        for shard in self._shards:
            counts += torch.bincount(shard.long(), minlength=clusters)
        return counts
