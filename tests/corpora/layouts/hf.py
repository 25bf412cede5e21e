"""A dataset in parquet files as the Hub has it: two shards of train, and validation."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

SHARDS = {
    "train-00000-of-00002": 2, "train-00001-of-00002": 1, "validation-00000-of-00001": 2,
}  # fmt: skip
UTTERANCES = {
    "train-00000-000000": "train", "train-00000-000001": "train", "train-00001-000000": "train",
    "dev-00000-000000": "dev", "dev-00000-000001": "dev",
}  # fmt: skip
AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(seed: int, samples: int = 8000, kind: str = "FLAC") -> bytes:
    """Return a file of half a second of noise."""
    stream = io.BytesIO()
    wave = 0.1 * np.random.default_rng(seed).standard_normal(samples)
    soundfile.write(stream, wave, 16_000, format=kind)
    return stream.getvalue()


def build(root: Path) -> None:
    """Write the shards, and a file that is not of them."""
    (root / "data").mkdir(parents=True)
    seed = 0
    for name, rows in SHARDS.items():
        audio = [{"bytes": encoded(seed + row), "path": f"{row}.flac"} for row in range(rows)]
        seed += rows
        table = {
            "audio": pa.array(audio, AUDIO),
            "sentence": [f"sentence {row}" for row in range(rows)],
            "client_id": [f"{name[:5]}{row}" for row in range(rows)],
        }
        pq.write_table(pa.table(table), root / "data" / f"{name}.parquet")
    (root / ".gitattributes").write_text("*.parquet filter=lfs\n", encoding="utf-8")
