"""Datasets on disk, made and read, that the tests of the corpus hf share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness_bench.core.config import build, typed
from harness_bench.corpora.base import Skipped, Utterance
from harness_bench.corpora.layouts.hf import Corpus
from harness_bench.cuts import store
from tests.corpora.layouts.hf import AUDIO as STRUCT
from tests.corpora.layouts.hf import encoded


def write(path: Path, audio: Any, **columns: list[Any]) -> Path:
    """Write one parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"audio": audio, **columns}), path)
    return path


def files_of(seeds: range, kind: str = "FLAC") -> pa.Array:
    """Return encoded audio as datasets writes it."""
    return pa.array([{"bytes": encoded(s, kind=kind), "path": f"{s}.x"} for s in seeds], STRUCT)


def read(root: Path, **options: str) -> list[Utterance | Skipped]:
    """List the rows of a local dataset with options as a command line gives them."""
    return list(build(Corpus, typed(Corpus, options), source="test").utterances(root))


def said(root: Path, **options: str) -> list[Utterance]:
    """Return the rows that can be used."""
    return [item for item in read(root, **options) if isinstance(item, Utterance)]


def unpacked(out: Path) -> dict[str, Path]:
    """Return the unpacked files, id -> path."""
    return {
        cut.id: Path(cut.recording.sources[0].source)
        for split in store.splits(out)
        for cut in store.read_cuts(out, split)
    }
