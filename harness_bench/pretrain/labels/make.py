"""From audio to labels: fit a labeler on a sample held in memory, then one streaming pass.

What gets clustered is 39-dim MFCC (iteration 1) or a teacher's hidden states (later ones).
"""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, Any

import torch
import torchaudio
from torchaudio.compliance import kaldi

from harness_bench.audio.batching import by_duration, collate
from harness_bench.audio.frames import FRAMES_PER_HOUR, SAMPLE_RATE, frame_count
from harness_bench.core.config import resolved
from harness_bench.core.distributed import barrier, world
from harness_bench.core.files import digest_strings, write_json
from harness_bench.core.log import bar, say
from harness_bench.core.skipped import MAX_SKIPPED, PATTERN, SkipList
from harness_bench.core.workdir import WorkDir, read_note
from harness_bench.cuts.shar import labels_path
from harness_bench.models.frozen import checkpoint_digest, load_backbone
from harness_bench.pretrain.data.cut_source import PART_CUTS, CutList, ShardedCuts, as_source
from harness_bench.pretrain.labels import kmeans, quality, store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.audio.batching import Waveforms
    from harness_bench.pretrain.config import LabelConfig
    from harness_bench.pretrain.data.cut_source import CutSource

MFCC_COEFFICIENTS = 13
NONE = torch.zeros(0, dtype=torch.int64)


class MfccSource:
    """Kaldi-compatible 13 MFCC with first and second differences (paper, section 2; HuBERT)."""

    dim = 3 * MFCC_COEFFICIENTS
    digest = "mfcc39-kaldi-v1"

    def frames(self, batch: Waveforms) -> list[Tensor]:
        """Compute every utterance alone: (F_i, 39) float32."""
        pairs = zip(batch.samples, batch.lengths.tolist(), strict=True)
        return [mfcc39(wave[:length]) for wave, length in pairs]


def mfcc39(wave: Tensor) -> Tensor:
    """Return (F, 39) MFCC + delta + delta-delta of a waveform (samples,) at 16 kHz.

    25 ms windows every 10 ms without padding at the edges and without dither, so window 2j covers
    exactly the 400 samples of the extractor's frame j: every second window is kept.
    """
    frames = frame_count(wave.shape[-1])
    if frames == 0:
        return wave.new_zeros(0, MfccSource.dim)
    static = kaldi.mfcc(
        wave[None].cpu(),
        num_ceps=MFCC_COEFFICIENTS,
        use_energy=False,
        dither=0.0,
        sample_frequency=SAMPLE_RATE,
    ).T  # (13, windows)
    delta = torchaudio.functional.compute_deltas(static)
    second = torchaudio.functional.compute_deltas(delta)
    return torch.cat([static, delta, second]).T[::2][:frames].contiguous()


class HiddenSource:
    """One layer of a teacher, fairseq's convention (hidden_states[L] is block L's output)."""

    def __init__(self, folder: Path, layer: int, device: torch.device) -> None:
        self.model = load_backbone(folder).to(device)
        layers = self.model.shape.num_layers
        if layer > layers:
            raise ValueError(
                f"Layer {layer} was asked of {folder}, which has {layers}; give 0 to {layers}."
            )
        self.layer, self.device = layer, device
        self.dim = self.model.shape.hidden_size
        self.digest = f"hidden-{layer}-of-{checkpoint_digest(folder)}"

    @torch.inference_mode()
    def frames(self, batch: Waveforms) -> list[Tensor]:
        """Run the blocks up to the layer: (F_i, D) float32 per utterance."""
        moved = batch.to(self.device)
        states, frames = self.model(moved.samples, moved.lengths, max_layer=self.layer)
        rows = states[self.layer].float()
        return [row[:count] for row, count in zip(rows, frames.tolist(), strict=True)]


type FeatureSource = MfccSource | HiddenSource


def make_labels(
    cuts: Sequence[Cut] | CutSource,
    out: Path,
    config: LabelConfig,
    *,
    teacher: Path | None = None,
    device: torch.device | None = None,
    fitted: store.Labels | None = None,
    max_skipped: float = MAX_SKIPPED,
) -> store.Labels:
    """Label all cuts into `out` (labeler, shards, report); whole parts of earlier runs are kept.

    The labeler is fitted on a random subset of `fit_hours`, or `fit_share` of all audio, of which
    at most `fit_frames` random frames are held in memory; or it is that of other labels, `fitted`,
    as dev sets need it. Then every utterance is read once more:
    audio, features, nearest centroid, uint16. Features are never written. A killed pass resumes at
    the first missing shard; labels are keyed by the digests of teacher, settings and utterances,
    and those made from other inputs are replaced. What cannot be read has no labels and is listed
    in `out`/skipped.RANK.tsv. No cuts, too little audio for the clusters, more that cannot be
    read than `max_skipped` or no such teacher layer is a ValueError, and so are `fitted` labels of
    another teacher.
    """
    audio = as_source(cuts)
    if not audio.utterances:
        raise ValueError("There are no cuts to label; prepare a corpus first.")
    device = device or torch.device("cpu")
    source: FeatureSource = MfccSource()
    if config.source != "mfcc":
        if teacher is None or config.layer is None:
            raise ValueError(
                "Labels from hidden states need a teacher checkpoint and a layer; give both, or "
                'use source = "mfcc".'
            )
        source = HiddenSource(teacher, config.layer, device)
    settings = resolved(config)
    inputs = {"source": source.digest, "config": settings, "cuts": audio.digest}
    if fitted is not None:
        _check_source(fitted, source)
        inputs["labeler"] = fitted.digest
    key = digest_strings(map(str, inputs.values()))
    work = WorkDir(out, inputs, key=key, older=(store.OLD_NOTE,))
    with work.lock():  # two students of one teacher share their labels
        if not (work.finished and (out / store.REPORT_FILE).is_file()):
            work.begin((*store.PATTERNS, kmeans.LABELER, PATTERN), config=config, seed=config.seed)
            skips = SkipList(out, world()[0], max_skipped)
            if fitted is None:
                labeler = _fitted(audio, out, config, source, device, skips)
            else:
                labeler = kmeans.load_labeler(fitted.folder).to(device)
            _label_parts(audio, out, source, labeler, config.batch_seconds, skips)
            barrier()
            report = _report(store.open_labels(out), labeler, audio)
            if world()[0] == 0:
                write_json(out / store.REPORT_FILE, report)
            work.finish()
    return store.open_labels(out)


def _check_source(fitted: store.Labels, source: FeatureSource) -> None:
    """Refuse centroids of other features; notes of older versions do not tell."""
    note = read_note(fitted.folder)
    made_of = note.inputs.get("source") if note is not None and note.inputs else source.digest
    if made_of != source.digest:
        raise ValueError(
            f"The labels in {fitted.folder} were made from {made_of}, and dev would be labelled "
            f"from {source.digest}. Name the teacher and layer that they were made with."
        )


def _fitted(
    audio: CutSource, out: Path, config: LabelConfig, source: FeatureSource, device: torch.device,
    skips: SkipList,
) -> kmeans.Labeler:  # fmt: skip
    if not (out / kmeans.LABELER).is_file():
        # MFCC come from the CPU; what is clustered lies where the ranks talk and count fast.
        frames = _sample_frames(audio, config, source, skips).to(device)
        pca = None
        if config.pca_dim is not None or config.pca_variance is not None:
            pca = kmeans.fit_pca(frames, config.pca_dim, variance=config.pca_variance)
        fitted = kmeans.fit_kmeans(
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
            kmeans.save_labeler(out, kmeans.Labeler(fitted.centroids, pca, fitted.inertia))
        barrier()
    return kmeans.load_labeler(out).to(device)


def _sample_frames(
    audio: CutSource, config: LabelConfig, source: FeatureSource, skips: SkipList
) -> Tensor:
    """Hold a random sample of this rank's frames: (n, D) float32, n near fit_frames / ranks."""
    rank, ranks = world()
    hours = config.fit_hours if config.fit_share is None else config.fit_share * audio.hours
    expected = min(hours, audio.hours) * FRAMES_PER_HOUR
    share = min(1.0, config.fit_frames / expected)
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + rank)
    kept = []
    mine = audio.subset(hours, config.seed, rank, ranks)
    for frames in _all_frames(mine, source, config.batch_seconds, "frames for k-means", skips):
        wanted = torch.rand(len(frames), generator=generator) < share
        kept.append(frames[wanted.to(frames.device)])
    return torch.cat(kept) if kept else torch.zeros(0, source.dim)


def _all_frames(
    cuts: Iterable[Cut], source: FeatureSource, seconds: float, title: str, skips: SkipList
) -> Iterator[Tensor]:
    for window in batched(bar(cuts, title=title, unit="utt"), PART_CUTS):
        for batch in by_duration(window, seconds):
            for _, frames in _named_frames(batch, source, skips):
                yield frames


def _named_frames(
    cuts: Sequence[Cut], source: FeatureSource, skips: SkipList
) -> Iterator[tuple[str, Tensor]]:
    """Yield the id and frames (F, D) of every utterance of a batch that can be read."""
    waves = collate(cuts)
    skips.add(len(waves.ids), waves.skipped)
    if waves.ids:
        yield from zip(waves.ids, source.frames(waves), strict=True)


def _label_parts(
    audio: CutSource, out: Path, source: FeatureSource, labeler: kmeans.Labeler, seconds: float,
    skips: SkipList,
) -> None:  # fmt: skip
    rank, ranks = world()
    sharded = isinstance(audio, ShardedCuts)
    for part in audio.parts()[rank::ranks]:
        path = labels_path(out, part.number) if sharded else store.shard_path(out, part.number)
        if path.is_file():
            continue
        cuts = part.load()
        labels = {cut.id: NONE for cut in cuts}  # of what cannot be read they stay so
        for batch in bar(list(by_duration(cuts, seconds)), title=path.name, unit="batch"):
            for name, rows in _named_frames(batch, source, skips):
                labels[name] = labeler(rows.to(labeler.centroids.device)).cpu()
        if sharded:
            store.write_labels(out, part.number, cuts, labels)
        else:
            store.write_shard(path, dict(sorted(labels.items())))


def _report(labels: store.Labels, labeler: kmeans.Labeler, audio: CutSource) -> dict[str, Any]:
    """Say how well the clusters are used; where cuts in memory are aligned, what they stand for.

    No audio is read; `quality.label_quality` measures against more. Each rank counts its share of
    the files: thousands of hours would keep one rank busy for hours and the others waiting.
    """
    rank, ranks = world()
    cuts = audio.cuts if isinstance(audio, CutList) else []
    levels = quality.alignment_levels(cuts)
    reader = quality.choose_units(cuts, quality.ALIGNMENT) if levels else None
    tally = quality.LabelCounts(len(labeler.centroids), reader)
    for row in labels.rows(rank, ranks):
        tally.add(row)
    tally.sum_over_ranks(labeler.centroids.device)
    for cut in cuts if reader else []:
        tally.add_units(cut, labels.of(cut))
    return {"hours": audio.hours, **tally.report(labeler)}
