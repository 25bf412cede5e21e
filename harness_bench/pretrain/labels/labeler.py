"""The map from a frame to its label, and its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from harness_bench.core.files import atomic_path
from harness_bench.pretrain.labels.kmeans import assign
from harness_bench.pretrain.labels.pca import Pca
from harness_bench.pretrain.labels.store import LABELER

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@dataclass(frozen=True)
class Labeler:
    """PCA where asked for, then the nearest centroid."""

    centroids: Tensor  # (K, d) float32
    pca: Pca | None
    inertia: float  # mean squared distance to the centroid over the frames it was fitted on

    def to(self, device: torch.device) -> Labeler:
        """Return the labeler on a device."""
        pca = self.pca
        if pca is not None:
            pca = Pca(pca.mean.to(device), pca.components.to(device), pca.explained)
        return Labeler(self.centroids.to(device), pca, self.inertia)

    def __call__(self, frames: Tensor) -> Tensor:
        """Label frames (F, D) -> (F,) int64."""
        reduced = frames if self.pca is None else self.pca.apply(frames)
        return assign(reduced, self.centroids.to(frames))[0]


def save_labeler(folder: Path, labeler: Labeler) -> None:
    """Write the labeler into a folder of labels."""
    tensors = {"centroids": labeler.centroids, "inertia": torch.tensor(labeler.inertia)}
    if labeler.pca is not None:
        tensors |= {"pca_mean": labeler.pca.mean, "pca_components": labeler.pca.components}
        tensors["pca_explained"] = torch.tensor(labeler.pca.explained)
    with atomic_path(folder / LABELER) as partial:
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, partial)


def load_labeler(folder: Path) -> Labeler:
    """Read the labeler of a folder of labels.

    Raises:
        ValueError: there is none.
    """
    path = folder / LABELER
    if not path.is_file():
        raise ValueError(f"{folder} has no {LABELER}; make labels with `harness-bench labels`.")
    tensors = load_file(path)
    pca = None
    if "pca_mean" in tensors:
        share = float(tensors["pca_explained"])
        pca = Pca(tensors["pca_mean"], tensors["pca_components"], share)
    return Labeler(tensors["centroids"], pca, float(tensors["inertia"]))
