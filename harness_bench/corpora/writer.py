"""The cuts of a running `prepare`, on disk as they will be written, so that memory stays small."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import ExitStack
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import atomic_path, digest_strings
from harness_bench.core.sanitize import is_name
from harness_bench.corpora.base import REFERENCE
from harness_bench.cuts.fields import DIGEST, fields_of
from harness_bench.cuts.store import Spool, cuts_path, to_line, write_lines
from harness_bench.cuts.table import LABEL_FIELDS, Table, value_of
from harness_bench.leakage.compare import DECLARED, shared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness_bench.corpora.check import Checked
    from harness_bench.cuts.fields import Row
    from harness_bench.leakage.compare import Pair

REFERENCES = "references"  # folder of the transcripts of further annotators
_DIGEST_BYTES = 16


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
        row["custom"] = {DIGEST: item.digest}
    return row | {"type": "MultiCut" if item.channels > 1 else "MonoCut"}


@lru_cache(maxsize=256)
def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - drops "..", keeps links


def _check_part(what: str, name: str) -> None:
    """Refuse a name of a corpus that would lead a file out of the prepared folder."""
    if not is_name(name):
        raise ValueError(
            f"{what[:200]} cannot be part of a file's name: give it a name without slashes and "
            "signs that cannot be seen."
        )


class PreparedSplit:
    """The cuts of one split: a table of them, and their lines on disk."""

    def __init__(self, name: str, folder: Path) -> None:
        self.table = Table(name, kinds=DECLARED, categories=dict.fromkeys(LABEL_FIELDS))
        self.spool = Spool(folder)
        self._digests = bytearray()
        self._references: set[str] = set()

    def add(self, item: Checked) -> None:
        """Take in an utterance."""
        row = row_of(item)
        self.spool.add(to_line(row))
        self.table.add(row)
        self._digests += bytes.fromhex(item.digest or "00" * _DIGEST_BYTES)
        for name in item.utterance.custom:
            if name.startswith(REFERENCE) and name not in self._references:
                _check_part(f"field {name!r}", name.removeprefix(REFERENCE))
                self._references.add(name)

    def value(self, kind: str, place: int) -> str | None:
        """Return the value of one kind of the utterance at a place."""
        return value_of(json.loads(self.spool.line(place)), kind)

    def digest_at(self, place: int) -> str:
        """Return the digest of an utterance's samples; zeros where they were not read."""
        begin = place * _DIGEST_BYTES
        return self._digests[begin : begin + _DIGEST_BYTES].hex()

    def files(self) -> list[str]:
        """Return the paths of what `write` writes, relative to its folder."""
        return [cuts_path(Path(), self.table.name).name, *self._texts().values()]

    def _texts(self) -> dict[str, str]:
        annotators = ((name, name.removeprefix(REFERENCE)) for name in sorted(self._references))
        return {name: f"{REFERENCES}/{self.table.name}.{who}.txt" for name, who in annotators}

    def write(self, out: Path) -> None:
        """Write the cuts by id, and the transcripts of further annotators as Kaldi's text."""
        order = self.table.order()
        write_lines(out, self.table.name, self.spool.lines(order))
        for name, path in self._texts().items():
            with atomic_path(out / path) as partial, partial.open("w", encoding="utf-8") as stream:
                for row in map(json.loads, self.spool.lines(order)):
                    if (text := fields_of(row).get(name)) is not None:
                        stream.write(f"{row['id']} {' '.join(text.split())}".rstrip() + "\n")


class PreparedSplits(ExitStack):
    """The cuts of all splits, in the order given; at its end their files on disk are gone."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        super().__init__()
        self._known = {name: PreparedSplit(name, folder) for name in names}
        for name in self._known:
            _check_part(f"split {name!r}", name)
        for split in self._known.values():
            self.enter_context(split.spool)
        self.rates: Counter[int] = Counter()  # Hz -> utterances
        self.mixed_down = 0  # utterances with several channels

    def add(self, item: Checked) -> None:
        """Put an utterance into its split, which must be one of those named at the beginning."""
        self._known[item.utterance.split].add(item)
        self.rates[item.sampling_rate] += 1
        self.mixed_down += item.channels > 1

    def filled(self) -> list[PreparedSplit]:
        """List the splits that have cuts."""
        return [split for split in self._known.values() if len(split.table)]

    def __len__(self) -> int:
        return sum(len(split.table) for split in self._known.values())

    def leakage(self) -> tuple[Pair, ...]:
        """Compare every split with every later one."""
        return tuple(
            shared(first.table, second.table, second.value)
            for first, second in combinations(self.filled(), 2)
        )

    def digest(self) -> str:
        """Return the digest of all ids and samples, by id over all splits."""
        order = sorted(
            (uid, split.table.name, place, split)
            for split in self.filled()
            for place, uid in enumerate(split.table.ids())
        )
        return digest_strings(f"{uid} {split.digest_at(place)}" for uid, _, place, split in order)
