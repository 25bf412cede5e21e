"""Feeding a training from shards: what it costs the training process, how it resumes, the wait."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, override

import numpy as np
import torch
from lhotse import CutSet
from lhotse.dataset import DynamicBucketingSampler
from torch.utils.data import DataLoader, Dataset

from benchmarks.bench_pretrain_step import shape
from benchmarks.measure import Rows, lower_is_better, speech_lengths, timed, versus, write_cuts
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.fabric import make_fabric
from harness_bench.core.files import read_jsonl
from harness_bench.cuts.shar import AUDIO, CUTS, open_shards, write_shards
from harness_bench.pretrain.config import IterationConfig, LabelConfig, PretrainConfig
from harness_bench.pretrain.data.batches import BatchMaker, MaskedBatch
from harness_bench.pretrain.data.cut_source import ShardedCuts
from harness_bench.pretrain.data.loader import BatchStream, make_loader
from harness_bench.pretrain.data.stream import AudioStream, Position
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.monitor import LOG_FILE
from harness_bench.pretrain.trainer import pretrain

WORKERS = 2
CONSUMED = 10_000  # batches before the resume
REPLAYED = 200  # of them by the peer, whose cost grows with their number


class Corpus:
    """Labelled shards of noise, and a training's settings for them."""

    def __init__(self, folder: Path, count: int, seconds: float) -> None:
        rng = np.random.default_rng(0)
        waves = [0.1 * rng.standard_normal(length) for length in speech_lengths(count, rng)]
        (folder / "audio").mkdir()
        write_shards(write_cuts(folder / "audio", waves), folder / "shar", shard_cuts=100)
        self.folder, self.count = folder / "shar", count
        self.source = ShardedCuts(open_shards(self.folder))
        self.config = PretrainConfig(max_update=6, max_seconds=seconds, num_workers=WORKERS)
        labels = LabelConfig(source="mfcc", clusters=10, kmeans_iterations=1, fit_frames=5000)
        self.labels = make_labels(self.source, folder / "labels", labels)
        self.step = partial(IterationConfig, name="data", labels=labels)

    def batches(self, start: Position | None = None) -> Iterator[MaskedBatch]:
        """Return the batches of the first of one rank."""
        stream = AudioStream(self.source, self.config, 0, 1)
        maker = BatchMaker(self.source, self.labels, self.config)
        made = BatchStream(stream, maker, stream.start() if start is None else start)
        return iter(make_loader(made, WORKERS))


class Reading(Dataset[Any]):
    """What lhotse's tutorials have workers do."""

    @override
    def __getitem__(self, cuts: CutSet) -> Any:
        return [torch.from_numpy(cut.load_audio()[0]) for cut in cuts]


def sampled(corpus: Corpus, skip: int = 0) -> Iterator[Any]:
    """Return batches by lhotse's sampler, which opens shards in the training process."""
    files = {name: sorted(map(str, corpus.folder.glob(f"{name}.*.*"))) for name in (CUTS, AUDIO)}
    shards = CutSet.from_shar(fields=files, shuffle_shards=True)
    sampler = DynamicBucketingSampler(
        shards.repeat(), max_duration=corpus.config.max_seconds, num_buckets=30, shuffle=True,
        buffer_size=min(4000, 10 * corpus.count),
        num_cuts_for_bins_estimate=min(1000, corpus.count),
    )  # fmt: skip
    batches: Iterator[Any] = itertools.islice(sampler, skip, None)
    return iter(DataLoader(Reading(), sampler=batches, batch_size=None, num_workers=WORKERS))


def measure(*, tiny: bool = False) -> Rows:
    """Yield the training process' CPU time per batch, the resume, and the wait of a real step."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        corpus = Corpus(Path(name), 40 if tiny else 1500, 12.5 if tiny else 62.5)
        turns = 3 if tiny else 60
        ours, peer = (per_batch(make, turns) for make in (corpus.batches, partial(sampled, corpus)))
        text = f"batches of {corpus.config.max_seconds:g} s from shards, {WORKERS} workers"
        yield lower_is_better(
            "data_training_process", 1000 * ours, 1000 * peer, "CPU ms per batch",
            note=versus(text, "lhotse"),
        )  # fmt: skip
        position = after(corpus, 30 if tiny else CONSUMED)
        ours = to_first(lambda: corpus.batches(position))
        replayed = 5 if tiny else REPLAYED
        peer = to_first(lambda: sampled(corpus, replayed))
        yield lower_is_better(
            "data_resume", ours, peer * (CONSUMED / replayed), "s to the first batch",
            note=versus(f"resume after {CONSUMED} batches; peer: {replayed} replayed, times "
                        f"{CONSUMED // replayed}", "lhotse"),
        )  # fmt: skip
        seconds = 3.0 if tiny else 12.5
        ours, peer = (waited(corpus, workers, seconds, tiny=tiny) for workers in (WORKERS, 0))
        yield lower_is_better(
            "data_wait_of_h_st_step",
            100 * ours,
            100 * peer,
            "% of the time",
            note=f"updates of H-ST on {seconds:g} s, {WORKERS} workers (peer: ours without any)",
        )


def to_first(make: Callable[[], Iterator[Any]]) -> float:
    """Return the seconds until there is a batch, the end of the workers not among them."""
    begun = time.perf_counter()
    batches = make()
    next(batches)
    seconds = time.perf_counter() - begun
    del batches
    return seconds


def per_batch(make: Callable[[], Iterator[Any]], turns: int) -> float:
    """Return the CPU seconds that a batch costs this process, beginnings aside."""
    batches = make()
    for _ in range(2):
        next(batches)
    return timed(lambda: [next(batches) for _ in range(turns)])[1] / turns


def after(corpus: Corpus, batches: int) -> Position:
    """Return where a training is after so many batches."""
    stream = AudioStream(corpus.source, corpus.config, 0, 1)
    position = stream.start()
    while True:
        block = stream.block(position)
        if position.before + len(block.batches) >= batches:
            return position._replace(taken=batches - position.before)
        position = block.after


def waited(corpus: Corpus, workers: int, seconds: float, *, tiny: bool) -> float:
    """Return the share of a training's time in which it waits for batches."""
    config = PretrainConfig(
        max_update=6, max_seconds=seconds, num_workers=workers, log_interval=3, tensorboard=False,
        max_sample_size=round(seconds * SAMPLE_RATE),
    )  # fmt: skip
    step = corpus.step(model=shape("hst", tiny=tiny), pretrain=config)
    with tempfile.TemporaryDirectory() as out:
        fabric = make_fabric(accelerator="cpu")
        pretrain(step, corpus.source, corpus.labels, Path(out), fabric=fabric)
        return float([*read_jsonl(Path(out) / LOG_FILE)][-1]["data_wait"])
