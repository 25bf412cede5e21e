"""From audio to labels: fit a labeler on a sample held in memory, then one streaming pass."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from itertools import batched
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import torch

from harness_bench.audio.frames import FRAMES_PER_HOUR
from harness_bench.audio.resample import NAME as RESAMPLER
from harness_bench.core.config import resolved
from harness_bench.core.distributed import barrier, together, world
from harness_bench.core.files import digest_strings, write_json
from harness_bench.core.log import bar, say
from harness_bench.core.skipped import MAX_SKIPPED, PATTERN, SkipList
from harness_bench.core.workdir import WorkDir, read_note
from harness_bench.cuts.shar import labels_path
from harness_bench.pretrain.data.cut_source import (
    PART_CUTS,
    CutList,
    Part,
    ShardedCuts,
    as_source,
)
from harness_bench.pretrain.labels import kmeans, quality, store
from harness_bench.pretrain.labels.features import BF16, HiddenSource, MfccSource
from harness_bench.pretrain.labels.windows import read_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lhotse.cut import Cut
    from torch import Tensor

    from harness_bench.pretrain.config import LabelConfig
    from harness_bench.pretrain.data.cut_source import CutSource
    from harness_bench.pretrain.labels.features import FeatureSource
    from harness_bench.pretrain.labels.windows import Rows, WindowBatch

SPARE = 20_000  # frames that a sample may be larger than expected without a copy of it
SLACK = 0.05  # of a language's part of the frames
NONE = torch.zeros(0, dtype=torch.int64)


def make_labels(  # noqa: PLR0913 - one keyword per setting of the pass
    cuts: Sequence[Cut] | CutSource,
    out: Path,
    config: LabelConfig,
    *,
    teacher: Path | None = None,
    device: torch.device | None = None,
    fitted: store.Labels | None = None,
    max_skipped: float = MAX_SKIPPED,
    num_workers: int = 0,
    precision: str = "32-true",
    balance: Mapping[str, float] | None = None,
) -> store.Labels:
    """Label all cuts into `out` (labeler, shards, report); whole parts of earlier runs are kept.

    The labeler is fitted on a random subset of `fit_hours`, or `fit_share` of all audio, of which
    at most `fit_frames` random frames are held in memory; or it is that of other labels, `fitted`,
    as dev sets need it. Then every utterance is read once more:
    audio, features, nearest centroid, uint16. Features are never written. A killed pass resumes at
    the first missing shard; labels are keyed by the digests of teacher, settings and utterances,
    and those made from other inputs are replaced. What cannot be read has no labels and is listed
    in `out`/skipped.RANK.tsv.

    Args:
        cuts: utterances, or an opened corpus.
        out: folder of the labels.
        config: what to cluster and how.
        teacher: checkpoint of any model type, for hidden states.
        device: what the teacher and k-means run on; default the CPU.
        fitted: labels whose labeler is taken, and in whose precision the teacher runs.
        max_skipped: largest share of utterances that cannot be read.
        num_workers: processes that read audio, and compute MFCC; labels do not depend on them.
        precision: bf16-mixed runs the teacher under autocast, and the key of its labels says so.
            Labels that are there in full precision, finished or begun, stay as they are.
        balance: language -> weight: what k-means sees is shared as what training hears.

    Raises:
        ValueError: no cuts, too little audio for the clusters, more that cannot be read than
            `max_skipped`, no such teacher layer, or `fitted` labels of another teacher.
    """
    audio = as_source(cuts)
    if not audio.utterances:
        raise ValueError("There are no cuts to label; prepare a corpus first.")
    device = device or torch.device("cpu")
    source = _source(config, teacher, device)
    if fitted is not None:
        _match(source, fitted)
    elif isinstance(source, HiddenSource) and precision == "bf16-mixed":
        source.bf16 = not _work(out, source, config, audio, None, balance).begun
    work = _work(out, source, config, audio, fitted, balance)
    with work.lock():  # two students of one teacher share their labels
        if not (work.finished and (out / store.REPORT_FILE).is_file()):
            work.begin((*store.PATTERNS, kmeans.LABELER, PATTERN), config=config, seed=config.seed)
            skips = SkipList(out, world()[0], max_skipped)
            reading = _Pass(audio, source, skips, config.batch_seconds, num_workers, device)
            if fitted is None and not (out / kmeans.LABELER).is_file():
                _fit(reading, out, config, balance)
            labeler = kmeans.load_labeler(out if fitted is None else fitted.folder).to(device)
            with together():  # too much that cannot be read, a full disk
                _label_parts(reading, out, labeler)
            report = _report(store.open_labels(out), labeler, audio)
            if world()[0] == 0:
                write_json(out / store.REPORT_FILE, report)
            work.finish()
    return store.open_labels(out)


def _source(config: LabelConfig, teacher: Path | None, device: torch.device) -> FeatureSource:
    if config.source == "mfcc":
        return MfccSource()
    if teacher is None or config.layer is None:
        raise ValueError(
            "Labels from hidden states need a teacher checkpoint and a layer; give both, or "
            'use source = "mfcc".'
        )
    return HiddenSource(teacher, config.layer, device)


def _work(
    out: Path, source: FeatureSource, config: LabelConfig, audio: CutSource,
    fitted: store.Labels | None, balance: Mapping[str, float] | None,
) -> WorkDir:  # fmt: skip
    inputs = {"source": source.digest, "config": resolved(config), "cuts": audio.digest}
    if audio.resampled:
        inputs["resampler"] = RESAMPLER
    if fitted is not None:
        inputs["labeler"] = fitted.digest
    elif balance is not None:
        inputs["balance"] = dict(sorted(balance.items()))
    key = digest_strings(map(str, inputs.values()))
    return WorkDir(out, inputs, key=key, older=(store.OLD_NOTE,))


def _match(source: FeatureSource, fitted: store.Labels) -> None:
    """Take the precision of other labels; centroids of other features are a ValueError."""
    note = read_note(fitted.folder)
    if note is None or not note.inputs:
        return  # notes of older versions do not tell
    made_of = str(note.inputs["source"])
    if isinstance(source, HiddenSource):
        source.bf16 = made_of.endswith(BF16)
    if made_of != source.digest:
        raise ValueError(
            f"The labels in {fitted.folder} were made from {made_of}, and dev would be labelled "
            f"from {source.digest}. Name the teacher and layer that they were made with."
        )


@dataclass(frozen=True)
class _Pass:
    """What is read, how, and what is computed of it."""

    audio: CutSource
    source: FeatureSource
    skips: SkipList
    batch_seconds: float
    num_workers: int
    device: torch.device

    def read(
        self, parts: Callable[[], Iterable[Part]], *, whole_parts: bool = False
    ) -> Iterable[WindowBatch]:
        """Read parts in batches, in workers."""
        return read_windows(
            parts, self.batch_seconds, self.source.inputs, whole_parts=whole_parts,
            num_workers=self.num_workers, pin=self.device.type == "cuda",
        )  # fmt: skip

    def frames(self, batch: WindowBatch, lost: set[str]) -> tuple[Tensor, list[int]]:
        """Compute a batch: frames (N, D) and how many belong to each of its rows.

        Utterances that cannot be read are counted, once, and join `lost`.
        """
        new = {each.id: each for each in batch.skipped if each.id not in lost}
        lost.update(new)
        self.skips.add(batch.utterances, [*new.values()])
        if not batch.rows:
            return torch.zeros(0, self.source.dim, device=self.source.device), []
        found = self.source.frames(batch.inputs, batch.lengths)
        kept = [
            frames[row.context :][: row.frames]
            for frames, row in zip(found, batch.rows, strict=True)
        ]
        return torch.cat(kept), [*map(len, kept)]


def _fit(
    reading: _Pass, out: Path, config: LabelConfig, balance: Mapping[str, float] | None
) -> None:
    """Fit the labeler and write it."""
    with together():
        frames = _sample_frames(reading, config, balance)
    # MFCC come from the CPU; what is clustered lies where the ranks talk and count fast.
    frames = frames.to(reading.device)
    pca = None
    if config.pca_dim is not None or config.pca_variance is not None:
        pca = kmeans.fit_pca(frames, config.pca_dim, variance=config.pca_variance)
        frames = pca.apply(frames)
    fitted = kmeans.fit_kmeans(
        frames,
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


def _sample_frames(
    reading: _Pass, config: LabelConfig, balance: Mapping[str, float] | None = None
) -> Tensor:
    """Hold a random sample of this rank's frames: (n, D) float32, n near fit_frames / ranks."""
    audio, (rank, ranks) = reading.audio, world()
    hours = config.fit_hours if config.fit_share is None else config.fit_share * audio.hours
    drawn = audio.drawn(hours, config.seed, rank, ranks, balance)
    frames = min(float(config.fit_frames), sum(each.hours for each in drawn) * FRAMES_PER_HOUR)
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + rank)
    # One buffer from the start: joining pieces would hold all frames twice.
    room = int(1.1 * frames / ranks) + SPARE
    sample = torch.empty(room, reading.source.dim, device=reading.source.device)
    count, lost = 0, set[str]()
    for each in drawn:
        share = frames * each.share / (each.hours * FRAMES_PER_HOUR)
        if share > 1 + SLACK and rank == 0:
            say(f"{each.name}: its {each.hours:.3g} h give k-means {100 / share:.0f} % of its part")
        batches = reading.read(partial(_subset, each.load))
        title = f"frames for k-means {each.name}".strip()
        for batch in bar(batches, title=title, unit="batch"):
            found, _ = reading.frames(batch, lost)
            wanted = (torch.rand(len(found), generator=generator) < share).nonzero()[:, 0]
            end = count + len(wanted)
            if end > len(sample):  # a rank's share of the audio is exact to an utterance or a shard
                sample = torch.cat([sample[:count], sample.new_empty(end // 4, sample.shape[1])])
            sample[count:end] = found[wanted.to(found.device, non_blocking=True)]
            count = end
    return sample[:count]


def _subset(load: Callable[[], Iterable[Cut]]) -> Iterator[Part]:
    """Yield some cuts in parts."""
    for number, some in enumerate(batched(load(), PART_CUTS)):
        yield Part(number, partial(list, some))


def _label_parts(reading: _Pass, out: Path, labeler: kmeans.Labeler) -> None:
    """Label and write this rank's parts that are missing, each as soon as it is whole."""
    rank, ranks = world()
    audio, parts = reading.audio, reading.audio.parts()
    sharded = isinstance(audio, ShardedCuts)
    path = labels_path if sharded else store.shard_path
    missing = [each for each in parts[rank::ranks] if not path(out, each.number).is_file()]
    total = audio.utterances * len(missing) // len(parts)
    utterances = iter(bar(range(total), title="labels", unit="utt"))
    begun: defaultdict[int, _PartLabels] = defaultdict(_PartLabels)
    for batch in reading.read(partial(list, missing), whole_parts=sharded):
        made = begun[batch.part]
        frames, counts = reading.frames(batch, made.lost)
        labels = labeler(frames.to(reading.device, non_blocking=True))
        if made.add(batch, labels, counts):
            del begun[batch.part]
            if sharded:
                store.write_labels(out, batch.part, made.by_utterance())
            else:
                store.write_shard(path(out, batch.part), dict(sorted(made.by_utterance().items())))
        for _ in range(batch.utterances):
            next(utterances, None)


class _PartLabels:
    """The labels of a part while its batches come, in any order."""

    def __init__(self) -> None:
        self.lost: set[str] = set()  # utterances of which something cannot be read
        self._names: list[str] = []
        self._rows: list[tuple[Rows, int]] = []  # and how many labels each has
        self._labels: list[Tensor] = []
        self._batches = 0

    def add(self, batch: WindowBatch, labels: Tensor, counts: Sequence[int]) -> bool:
        """Take the labels (N,) of a batch, `counts` of each row; return whether that was all."""
        self._names += batch.names
        self._rows += zip(batch.rows, counts, strict=True)
        self._labels.append(labels)
        self._batches += 1
        return self._batches == batch.batches

    def by_utterance(self) -> dict[str, Tensor]:
        """Return the labels (F_i,) int64 of every utterance, none of what cannot be read."""
        flat = torch.cat(self._labels).cpu()  # the one time that a GPU is waited for
        rows = torch.split(flat, [count for _, count in self._rows])
        found = defaultdict(list)
        for (row, _), labels in zip(self._rows, rows, strict=True):
            found[row.id].append((row.first, labels))
        whole = {
            name: torch.cat([labels for _, labels in sorted(pieces, key=itemgetter(0))])
            for name, pieces in found.items()
            if name not in self.lost
        }
        return {name: whole.get(name, NONE) for name in self._names}


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
