"""The cuts of a running `prepare`, on disk as they will be written, so that memory stays small."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from functools import lru_cache
from itertools import combinations
from typing import IO, TYPE_CHECKING, Any, Self

from harness_bench.core.files import atomic_path, digest_strings
from harness_bench.corpora.base import REFERENCE
from harness_bench.cuts import fields, store
from harness_bench.cuts.table import Columns
from harness_bench.leakage.compare import compare_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from harness_bench.corpora.check import Checked
    from harness_bench.cuts.store import Row
    from harness_bench.leakage import compare

_encode = json.JSONEncoder(ensure_ascii=False).encode


def row_of(item: Checked) -> Row:
    """Describe a checked utterance; what is absent has no key."""
    utterance, rate = item.utterance, item.sampling_rate
    channels = list(range(item.channels))
    channel: Any = channels if item.channels > 1 else 0
    recording = {
        "id": utterance.id,
        "sources": [{"type": "file", "channels": channels, "source": _absolute(utterance.audio)}],
        "sampling_rate": rate,
        "num_samples": item.file_samples,
        "duration": item.file_samples / rate,
        "channel_ids": channels,
    }
    supervision = {
        "id": utterance.id,
        "recording_id": utterance.id,
        "start": 0.0,
        "duration": item.duration,
        "channel": channel,
        "text": utterance.text,
        "language": utterance.language,
        "speaker": utterance.speaker,
        "gender": utterance.gender,
        "custom": dict(sorted(utterance.custom.items())) or None,
    }
    row = {
        "id": utterance.id,
        "start": round(utterance.start * rate) / rate,
        "duration": item.duration,
        "channel": channel,
        "supervisions": [{key: value for key, value in supervision.items() if value is not None}],
        "recording": recording,
    }
    if item.digest:
        row["custom"] = {fields.DIGEST: item.digest}
    return row | {"type": "MultiCut" if item.channels > 1 else "MonoCut"}


def to_line(row: Row) -> bytes:
    """Return a row as a line of JSON, as `cuts.to_line` writes a cut."""
    return _encode(row).encode() + b"\n"


@lru_cache(maxsize=256)
def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - drops "..", keeps links


REFERENCES = "references"  # folder of the transcripts of further annotators
_DIGEST_BYTES = 16


class Rows:
    """Cuts by split, in a file without a name that vanishes with the process."""

    def __init__(self, folder: Path, splits: Iterable[str]) -> None:
        self.folder = folder
        self.columns = {split: Columns() for split in splits}
        self._begin = {split: array("q") for split in self.columns}
        self._length = {split: array("q") for split in self.columns}
        self._digests = {split: bytearray() for split in self.columns}
        self._references: dict[str, set[str]] = {split: set() for split in self.columns}
        self._end = 0
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def add(self, item: Checked) -> None:
        """Put an utterance into its split, which must be one of those named at the beginning."""
        split, row = item.utterance.split, row_of(item)
        if self._stream is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Not where the system keeps temporary files: that may be memory.
            self._stream = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - see __exit__
        line = to_line(row)
        self._stream.write(line)
        self._begin[split].append(self._end)
        self._length[split].append(len(line))
        self._digests[split] += bytes.fromhex(item.digest or "00" * _DIGEST_BYTES)
        self._end += len(line)
        self.columns[split].add(row)
        names = item.utterance.custom
        self._references[split].update(name for name in names if name.startswith(REFERENCE))

    def splits(self) -> list[str]:
        """List the splits that have cuts, in the order given at the beginning."""
        return [split for split, columns in self.columns.items() if len(columns)]

    def __len__(self) -> int:
        return sum(map(len, self.columns.values()))

    def lines(self, split: str) -> Iterator[bytes]:
        """Yield the cuts of a split as JSON lines, by id."""
        for place in self.columns[split].order():
            yield self._line(split, place)

    def leakage(self) -> tuple[compare.Overlap, ...]:
        """Compare every split with every later one."""
        return tuple(
            compare_columns(self.columns[a], self.columns[b], (a, b), self._reader(b))
            for a, b in combinations(self.splits(), 2)
        )

    def digest(self) -> str:
        """Return the digest of all ids and samples, by id over all splits."""
        order = sorted(
            (uid, split, place)
            for split in self.splits()
            for place, uid in enumerate(self.columns[split].ids)
        )
        return digest_strings(f"{uid} {self._digest(split, place)}" for uid, split, place in order)

    def write(self, out: Path) -> None:
        """Write the cuts of every split, and the references of further annotators beside them."""
        for split in self.splits():
            store.write_lines(out, split, self.lines(split))
            for name in sorted(self._references[split]):
                self._write_reference(out, split, name)

    def _write_reference(self, out: Path, split: str, name: str) -> None:
        """Write one annotator's text as Kaldi has it: an id and its words on a line."""
        path = out / REFERENCES / f"{split}.{name.removeprefix(REFERENCE)}.txt"
        with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as stream:
            for line in self.lines(split):
                row = json.loads(line)
                custom = row["supervisions"][0].get("custom", {})
                if name in custom:
                    stream.write(f"{row['id']} {' '.join(custom[name].split())}".rstrip() + "\n")

    def _line(self, split: str, place: int) -> bytes:
        stream = self._stream
        assert stream is not None, "there are no rows without a file"
        stream.flush()
        return os.pread(stream.fileno(), self._length[split][place], self._begin[split][place])

    def _reader(self, split: str) -> Callable[[int], Row]:
        return lambda place: json.loads(self._line(split, place))

    def _digest(self, split: str, place: int) -> str:
        begin = place * _DIGEST_BYTES
        return self._digests[split][begin : begin + _DIGEST_BYTES].hex()
