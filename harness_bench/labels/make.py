"""From audio to labels: fit a labeler on a sample held in memory, then one streaming pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from harness_bench.batches import by_duration, collate, pick_hours, total_hours
from harness_bench.config import resolved
from harness_bench.files import atomic_path, digest_strings, read_json, write_json
from harness_bench.labels.kmeans import KMeans, assign, fit_kmeans
from harness_bench.labels.pca import Pca, fit_pca
from harness_bench.labels.sources import FeatureSource, open_source
from harness_bench.labels.store import KEY_FILE, LABELER, SHARD_PATTERN, LabelStore, write_shard
from harness_bench.models.hubert import frame_count
from harness_bench.progress import bar, say
from harness_bench.provenance import write_provenance
from harness_bench.ranks import barrier, world

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.iteration import LabelConfig

SHARD_CUTS = 2000
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class Labeler:
    """The map from a frame to its label: PCA where asked for, then the nearest centroid."""

    centroids: Tensor  # (K, d) float32
    pca: Pca | None

    def __call__(self, frames: Tensor) -> Tensor:
        """Label frames (F, D) -> (F,) int64."""
        reduced = frames if self.pca is None else self.pca.apply(frames)
        return assign(reduced, self.centroids.to(frames))[0]


def make_labels(
    cuts: Sequence[Cut],
    out: Path,
    config: LabelConfig,
    *,
    teacher: Path | None = None,
    device: torch.device | None = None,
) -> LabelStore:
    """Label all cuts into `out` (labeler, shards, report); whole parts of earlier runs are kept.

    The labeler is fitted on a random subset of `fit_hours`, of which at most `fit_frames` random
    frames are held in memory. Then every utterance is read once more: audio, features, nearest
    centroid, uint16. Features are never written. A killed pass goes on at the first missing shard;
    labels made from other inputs are replaced.

    Raises:
        ValueError: no cuts, too little audio for the clusters, or no such teacher layer.
    """
    if not cuts:
        raise ValueError("There are no cuts to label; prepare a corpus first.")
    source = open_source(config, teacher, device or torch.device("cpu"))
    key = digest_strings([source.digest, str(resolved(config)), *sorted(cut.id for cut in cuts)])
    _start(out, key)
    if not (out / REPORT_FILE).is_file():
        labeler = _fitted(cuts, out, config, source)
        _label_shards(cuts, out, source, labeler, config.batch_seconds)
        barrier()
        if world()[0] == 0:
            inputs = {"source": source.digest, "cuts": digest_strings(c.id for c in cuts)}
            write_provenance(out, config=resolved(config), seed=config.seed, inputs=inputs)
            write_json(out / REPORT_FILE, _report(LabelStore(out), labeler, total_hours(cuts)))
        barrier()
    return LabelStore(out)


def _start(out: Path, key: str) -> None:
    """Keep what an earlier run with the same inputs left; clear what another left."""
    path = out / KEY_FILE
    same = path.is_file() and read_json(path) == key
    barrier()  # Every rank has looked before any of them writes.
    if not same and world()[0] == 0:
        for old in (*out.glob(SHARD_PATTERN), out / LABELER, out / REPORT_FILE, path):
            old.unlink(missing_ok=True)
        write_json(path, key)
    barrier()


def _fitted(cuts: Sequence[Cut], out: Path, config: LabelConfig, source: FeatureSource) -> Labeler:
    """Load the labeler of an interrupted run, or fit and save it."""
    path = out / LABELER
    if not path.is_file():
        frames = _sample_frames(cuts, config, source)
        pca = fit_pca([frames], config.pca_dim) if config.pca_dim is not None else None
        fitted = fit_kmeans(
            frames if pca is None else pca.apply(frames),
            config.clusters,
            iterations=config.kmeans_iterations,
            tolerance=config.kmeans_tolerance,
            seed=config.seed,
        )
        say(
            f"k-means: {config.clusters} clusters of {len(frames)} frames in {fitted.rounds} "
            f"rounds, mean squared distance {fitted.inertia:.4g}"
        )
        if world()[0] == 0:
            _save_labeler(path, fitted, pca)
        barrier()
    return _load_labeler(path)


def _save_labeler(path: Path, fitted: KMeans, pca: Pca | None) -> None:
    tensors = {"centroids": fitted.centroids.cpu(), "inertia": torch.tensor(fitted.inertia)}
    if pca is not None:
        tensors |= {"pca_mean": pca.mean.cpu(), "pca_components": pca.components.cpu()}
        tensors["pca_explained"] = torch.tensor(pca.explained)
    with atomic_path(path) as partial:
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial)


def _load_labeler(path: Path) -> Labeler:
    tensors = load_file(path)
    pca = None
    if "pca_mean" in tensors:
        share = float(tensors["pca_explained"])
        pca = Pca(tensors["pca_mean"], tensors["pca_components"], share)
    return Labeler(tensors["centroids"], pca)


def _sample_frames(cuts: Sequence[Cut], config: LabelConfig, source: FeatureSource) -> Tensor:
    """Hold a random sample of this rank's frames: (n, D) float32, n near fit_frames / ranks."""
    rank, ranks = world()
    mine = pick_hours(cuts, config.fit_hours, config.seed)[rank::ranks]
    expected = sum(frame_count(round(cut.duration * 16_000)) for cut in mine)
    share = min(1.0, config.fit_frames / ranks / max(expected, 1))
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + rank)
    kept = []
    for frames in _all_frames(mine, source, config.batch_seconds, "frames for k-means"):
        wanted = torch.rand(len(frames), generator=generator) < share
        kept.append(frames[wanted.to(frames.device)])
    return torch.cat(kept) if kept else torch.zeros(0, source.dim)


def _all_frames(
    cuts: Sequence[Cut], source: FeatureSource, seconds: float, title: str
) -> Iterator[Tensor]:
    """Yield the frames of every utterance, shortest first."""
    for batch in bar(list(by_duration(cuts, seconds)), title=title, unit="batch"):
        yield from source.frames(collate(batch))


def _label_shards(
    cuts: Sequence[Cut], out: Path, source: FeatureSource, labeler: Labeler, seconds: float
) -> None:
    """Write this rank's shards that are not there yet."""
    ordered = sorted(cuts, key=lambda cut: cut.id)
    rank, ranks = world()
    numbers = range(rank, math.ceil(len(ordered) / SHARD_CUTS), ranks)
    for number in numbers:
        path = out / f"labels-{number:05d}.safetensors"
        if path.is_file():
            continue
        part = ordered[number * SHARD_CUTS : (number + 1) * SHARD_CUTS]
        labels: dict[str, Tensor] = {}
        for batch in bar(list(by_duration(part, seconds)), title=path.stem, unit="batch"):
            frames = source.frames(collate(batch))
            for cut, rows in zip(batch, frames, strict=True):
                labels[cut.id] = labeler(rows).cpu()
        write_shard(path, dict(sorted(labels.items())))


def _report(store: LabelStore, labeler: Labeler, hours: float) -> dict[str, Any]:
    """Say how well the clusters are used."""
    clusters = len(labeler.centroids)
    counts = store.histogram(clusters).double()
    shares = counts / counts.sum().clamp(min=1)
    entropy = float(-(shares[shares > 0] * shares[shares > 0].log2()).sum())
    return {
        "utterances": len(store),
        "hours": hours,
        "frames": int(counts.sum()),
        "clusters": clusters,
        "clusters_used": int((counts > 0).sum()),
        "entropy_bits": entropy,
        "entropy_bits_at_most": math.log2(clusters),
        "pca_dim": None if labeler.pca is None else labeler.pca.components.shape[1],
        "pca_explained_variance": None if labeler.pca is None else labeler.pca.explained,
    }
