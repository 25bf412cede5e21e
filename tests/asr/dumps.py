"""Data folders of noise, as stage 4 leaves them, and passes over them."""

from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from harness_bench.asr.features import FeatureConfig, Job, make_features, open_job
from harness_bench.asr.kaldi import write_table

# Many shards and batches of a few utterances.
SMALL = FeatureConfig(batch_seconds=1.5, shard_mb=0.006, readers=2)


def write_dump(folder: Path, count: int = 14, *, seed: int = 0) -> Path:
    """Write `count` utterances of 0.2 to 1 s, and one too short for a frame."""
    rng = np.random.default_rng(seed)
    lengths = [300, *rng.integers(3200, 16_000, count - 1).tolist()]
    samples = {f"u{number:02d}": length for number, length in enumerate(lengths)}
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, length) in enumerate(samples.items()):
        write_audio(folder / f"{name}.flac", length, seed=number)
    write_table(folder / "wav.scp", {name: folder / f"{name}.flac" for name in samples})
    write_table(folder / "utt2num_samples", samples)
    return folder


def write_audio(path: Path, samples: int, *, seed: int, rate: int = 16_000) -> None:
    sf.write(path, 0.3 * np.random.default_rng(seed).uniform(-1, 1, samples), rate)


def job_of(
    checkpoint: Path, layers: str | int = "mean", config: FeatureConfig | None = None
) -> Job:
    return open_job(checkpoint, layers, config or SMALL, torch.device("cpu"))


def written(job: Job, data: Path, out: Path) -> tuple[int, dict[str, bytes]]:
    """Run a pass; return the shards it computed and the bytes of all that ESPnet reads.

    By one thread: the last bit of a sum depends on their number, and more are slower here.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        count = make_features(job, data, out)
    finally:
        torch.set_num_threads(threads)
    files = [*out.glob("feats*.npy"), out / "feats.scp", out / "speech_shape"]
    return count, {path.name: path.read_bytes() for path in files}
