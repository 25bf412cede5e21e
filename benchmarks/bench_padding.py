"""Share of padding in the batches that pretraining really sees, against batches drawn at random."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import Rows, lower_is_better, speech_lengths, write_cuts
from harness_bench.audio.frames import SAMPLE_RATE, frame_count
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.pretrain.data.batches import BatchMaker
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.data.stream import AudioStream
from harness_bench.pretrain.labels.store import LabelStore, write_shard


def measure(*, tiny: bool = False) -> Rows:
    """Yield the percentage of padded samples over one epoch."""
    count = 12 if tiny else 500
    config = PretrainConfig(max_update=1, max_seconds=62.5, num_buckets=30, num_workers=0)
    lengths = speech_lengths(count, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        ours = _bucketed(Path(folder), lengths, config)
    peer = _random(lengths, round(config.max_seconds * SAMPLE_RATE))
    note = (
        f"padding, {count} utterances in batches of {config.max_seconds:g} s, {config.num_buckets} "
        "buckets (peer: random order, same budget)"
    )
    yield lower_is_better("padding_vs_random_order", ours, peer, "% of samples", note=note)


def _bucketed(folder: Path, lengths: NDArray[np.int64], config: PretrainConfig) -> float:
    """Return the percentage of padding in one epoch of our batches, from silent files."""
    cuts = write_cuts(folder, [np.zeros(length) for length in lengths])
    labels = {
        cut.id: torch.zeros(frame_count(int(length)))
        for cut, length in zip(cuts, lengths, strict=True)
    }
    write_shard(folder / "labels-0.safetensors", labels)
    source = CutList(cuts)
    stream, maker = (
        AudioStream(source, config, 0, 1),
        BatchMaker(source, LabelStore(folder), config),
    )
    batches = map(maker, stream.block(stream.start()).batches)
    sizes = [(int(batch.lengths.sum()), batch.samples.numel()) for batch in batches]
    return 100 * (1 - sum(used for used, _ in sizes) / sum(total for _, total in sizes))


def _random(lengths: NDArray[np.int64], limit: int) -> float:
    """Return the percentage of padding where batches are filled in random order."""
    total, members, longest = 0, 0, 0
    for length in np.random.default_rng(1).permutation(lengths):
        if max(longest, length) * (members + 1) > limit:
            total, members, longest = total + members * longest, 0, 0
        members, longest = members + 1, max(longest, int(length))
    return 100 * (1 - int(lengths.sum()) / (total + members * longest))
