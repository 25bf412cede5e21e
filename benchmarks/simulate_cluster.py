"""Feed a training of many ranks from the metadata of millions of utterances, without GPU or audio.

python benchmarks/simulate_cluster.py [--ranks 24] [--workers 8] [--shards 16500] [--folder DIR]

Shards of 1,000 utterances: two thirds Arabic, the rest English or mixed, balanced by half. Only
some of them are distinct, the others links to them; no rank knows. Prints start and resume, memory
of a rank's processes, open files, and the shares in stretches of 200 updates over all ranks.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.measure import speech_lengths, timed
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.files import write_json
from harness_bench.cuts.shar import AUDIO, CUTS, INDEX, describe_shard, open_shards
from harness_bench.pretrain.config import PretrainConfig
from harness_bench.pretrain.data.batches import NO_BATCH, MaskedBatch
from harness_bench.pretrain.data.cut_source import ShardedCuts
from harness_bench.pretrain.data.loader import BatchStream, make_loader
from harness_bench.pretrain.data.stream import AudioStream, Position
from harness_bench.pretrain.data.windows import Window

DISTINCT, CUTS_PER_SHARD, STRETCH = 60, 1000, 200
SHARES = (0.0, 0.0, 0.0, 0.0, 1.0, 0.5)  # of English, shard by shard
CONFIG = PretrainConfig(max_update=1, max_seconds=62.5, balance={"ar": 1.0, "en": 1.0})


def write_corpus(folder: Path, shards: int) -> None:
    """Write metadata; archives of audio are there, and empty."""
    rng, rows = np.random.default_rng(0), []
    for number in range(shards):
        name = f"{CUTS}.{number:06d}.jsonl.gz"
        (folder / f"{AUDIO}.{number:06d}.tar").touch()
        if number < DISTINCT:
            with gzip.open(folder / name, "wt", compresslevel=1) as out:
                out.writelines(lines(number, rng))
            rows.append(describe_shard(folder, number))
        else:
            (folder / name).symlink_to(f"{CUTS}.{number % DISTINCT:06d}.jsonl.gz")
            rows.append({**rows[number % DISTINCT], "number": number})
    write_json(folder / INDEX, rows)


def lines(number: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield the cuts of a shard as they stand in its file."""
    for place, samples in enumerate(speech_lengths(CUTS_PER_SHARD, rng).tolist()):
        name, seconds = f"youtube-{number:06d}-{place:04d}", samples / SAMPLE_RATE
        language = "en" if rng.random() < SHARES[number % len(SHARES)] else "ar"
        source = AudioSource("shar", [0], "")
        recording = Recording(name, [source], SAMPLE_RATE, samples, seconds)
        said = SupervisionSegment(name, name, 0.0, seconds, language=language, speaker="s")
        cut = MonoCut(name, 0.0, seconds, 0, [said], recording=recording)
        yield json.dumps(cut.to_dict()) + "\n"


class Silence:
    """Makes batches that say how much they heard of each language, and read nothing."""

    def __call__(self, windows: list[Window]) -> MaskedBatch:
        """Return a batch without audio; its samples are seconds of Arabic and English."""
        heard = torch.zeros(2)
        for window in windows:
            english = window.cut.supervisions[0].language == "en"
            heard[int(english)] += window.duration
        return NO_BATCH._replace(samples=heard)


def run_rank(
    source: ShardedCuts, rank: int, ranks: int, workers: int, updates: int
) -> dict[str, Any]:
    """Run one rank's loader for some batches, then resume it; return figures."""
    found: dict[str, Any] = {}
    stream = AudioStream(source, CONFIG, rank, ranks)
    begun = time.perf_counter()
    batches = loader(stream, stream.start(), workers)
    position = next(batches).position
    found["seconds to the first batch"] = time.perf_counter() - begun
    for _ in range(updates - 1):
        position = next(batches).position
    found["batches a second, all workers"] = updates / (time.perf_counter() - begun)
    processes = [os.getpid(), *children(os.getpid())]
    found["processes"] = len(processes)
    found["MB of all its processes (proportional)"] = sum(map(memory, processes))
    found["open files of its largest process"] = max(map(open_files, processes))
    del batches
    far = Position.of(position)._replace(block=10_000)
    far = far._replace(pools=tuple(p._replace(unit=p.unit + 700 * ranks) for p in far.pools))
    begun = time.perf_counter()
    batches = loader(stream, far, workers)
    next(batches)
    found["seconds to resume"] = time.perf_counter() - begun
    return found


def loader(stream: AudioStream, start: Position, workers: int) -> Iterator[MaskedBatch]:
    """Return the batches of a stream without audio."""
    maker: Any = Silence()
    return iter(make_loader(BatchStream(stream, maker, start), workers))


def children(parent: int) -> list[int]:
    """List the processes that a process started."""
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def memory(process: int) -> float:
    """Return the megabytes of a process; pages that it shares are divided by their sharers."""
    rows = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) / 1000 for row in rows if row.startswith("Pss:"))


def open_files(process: int) -> int:
    """Return the number of files that a process holds open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def shares(source: ShardedCuts, ranks: int, updates: int) -> NDArray[np.float64]:
    """Return the share of English over all ranks in every stretch of updates."""
    heard = np.zeros((updates, 2))
    for rank in range(ranks):
        stream = AudioStream(source, CONFIG, rank, ranks)
        position, update = stream.start(), 0
        while update < updates:
            block = stream.block(position)
            for batch in block.batches[: updates - update]:
                heard[update] += Silence()(batch).samples.numpy()
                update += 1
            position = block.after
    ends = np.concatenate([np.zeros((1, 2)), heard.cumsum(0)])
    stretches = ends[STRETCH:] - ends[:-STRETCH]
    return np.asarray(stretches[:, 1] / stretches.sum(1))


def main() -> None:
    """Write the metadata, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ranks", type=int, default=24)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--shards", type=int, default=16_500)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where to write, and find again, the metadata")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / INDEX).is_file():
            write_corpus(folder, options.shards)
        shards, opening = timed(lambda: open_shards(folder), time.perf_counter)
        source = ShardedCuts([replace(shard, digest=str(shard.number)) for shard in shards])
        found: dict[str, Any] = {
            "utterances": source.utterances, "hours": source.hours,
            "seconds to open the index": opening,
        }  # fmt: skip
        found |= run_rank(source, 0, options.ranks, options.workers, options.updates)
        off = np.abs(shares(source, options.ranks, options.updates) - 0.5).max()
        found[f"largest error of a share in {STRETCH} updates, points"] = 100 * off
        table = Table("figure", f"{options.ranks} ranks of {options.workers} workers")
        for name, value in found.items():
            table.add_row(name, f"{value:,.4g}" if isinstance(value, float) else f"{value:,}")
        Console(width=100).print(table)


if __name__ == "__main__":
    main()
