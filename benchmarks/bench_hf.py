"""Datasets in parquet files: unpacking and checking them, beside the library `datasets`."""

import io
import shutil
import tempfile
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from benchmarks.measure import Rows, in_turn, lower_is_better, versus
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.corpora.prepare import prepare

SHARDS = 4
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def measure(*, tiny: bool = False) -> Rows:
    """Yield CPU seconds of preparing rows of one second, the first time and again."""
    each, repeats = (5, 1) if tiny else (250, 3)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(root / "data", each)
        rows = f"{SHARDS * each} rows of a second"
        times = in_turn(partial(_ours, root, each), partial(_peer, root, each), repeats=repeats)
        note = versus(f"{rows}: unpack, decode, check, write cuts; unpack and decode", "datasets")
        yield lower_is_better("prepare_hf_vs_datasets", *times, "CPU s", note=note)
        times = in_turn(partial(_again, root, each), partial(_peer, root, each), repeats=repeats)
        note = versus(f"{rows}, unpacked before; as above", "datasets")
        yield lower_is_better("prepare_hf_again_vs_datasets", *times, "CPU s", note=note)


def write_dataset(folder: Path, each: int) -> None:
    """Write shards of noise in FLAC, in row groups as `datasets` makes them."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for shard in range(SHARDS):
        rows = [{"bytes": _flac(rng), "path": f"{shard}_{row}.flac"} for row in range(each)]
        table = pa.table({"audio": pa.array(rows, STRUCT), "text": ["text"] * each})
        name = f"train-{shard:05d}-of-{SHARDS:05d}.parquet"
        pq.write_table(table, folder / name, row_group_size=100)


def _flac(rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, 0.1 * rng.standard_normal(SAMPLE_RATE), SAMPLE_RATE, format="FLAC")
    return stream.getvalue()


def _ours(root: Path, each: int) -> int:
    shutil.rmtree(root / "out", ignore_errors=True)
    return _again(root, each)


def _again(root: Path, each: int) -> int:
    kept = prepare("hf", root / "data", root / "out", jobs=1).kept
    assert kept == SHARDS * each, f"{kept} rows were kept"
    return kept


def _peer(root: Path, each: int) -> int:
    """Write every row's file, and decode it once, as a script by hand would."""
    shutil.rmtree(root / "peer", ignore_errors=True)
    (root / "peer").mkdir()
    files = sorted(map(str, (root / "data").glob("*.parquet")))
    found = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    for number, row in enumerate(found):
        path = root / "peer" / f"{number}.flac"
        path.write_bytes(row["audio"]["bytes"])
        assert len(soundfile.read(path)[0]) == SAMPLE_RATE
    assert len([*(root / "peer").iterdir()]) == SHARDS * each
    return SHARDS * each
