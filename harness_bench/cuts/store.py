"""A prepared corpus: one lhotse cut per utterance, one file of cuts per split.

A prepared folder holds `cuts.<split>.jsonl.gz`, `report.json`, `skipped.tsv` and
`provenance.json`. The cut's id is the utterance's id, and each cut has exactly one supervision:
raw text, speaker, language and gender, and every further field in its `custom`.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import zlib
from array import array
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from harness_bench.core.files import atomic_path
from harness_bench.core.own_files import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lhotse.cut import Cut

    from harness_bench.cuts.fields import Row

REPORT, SKIPPED = "report.json", "skipped.tsv"
_encode = json.JSONEncoder(ensure_ascii=False).encode


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file of cuts as they stand; a missing or broken one: ValueError."""
    try:
        with gzip.open(path, "rb") as stream:
            yield from stream
    except FileNotFoundError as error:
        raise ValueError(f"There is no file of cuts {path}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as cuts ({error}). Prepare the corpus again."
        ) from error


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the cuts of a file as rows (`parse`), one at a time; errors as `read_lines`."""
    for number, line in enumerate(read_lines(path), start=1):
        yield parse(line, path, number)


def parse(line: bytes, path: Path, number: int) -> Row:
    """Read one line of a file of cuts; no cut of one supervision: a ValueError names the line.

    Returns:
        What lhotse writes of a cut: id, start and duration in seconds, supervisions, recording.
    """
    try:
        row: Row = json.loads(line)
        (said,) = row["supervisions"]
        fits = (
            isinstance(row["id"], str)
            and 0 < float(row["duration"]) < float("inf")
            and isinstance(row.get("start", 0.0), int | float)
            and isinstance(said.get("custom") or {}, dict)
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path}:{number} is not a cut with one supervision ({error!r})."
        ) from error
    if not fits:
        raise ValueError(f"{path}:{number} is not a cut with an id and a duration above 0.")
    return row


_PREFIX, _SUFFIX = "cuts.", ".jsonl.gz"
CUTS_FILES = f"{_PREFIX}*{_SUFFIX}"
_USUAL_ORDER = ("train", "dev", "test")


def cuts_path(folder: Path, split: str) -> Path:
    """Return where the cuts of a split stand in a prepared folder."""
    return folder / f"{_PREFIX}{split}{_SUFFIX}"


def cuts_files(folder: Path) -> list[Path]:
    """List the files of cuts in a folder, by name."""
    return sorted(folder.glob(CUTS_FILES))


def splits(folder: Path) -> list[str]:
    """List a folder's splits, train, dev, test first; none there, or cut off, is a ValueError."""
    if (folder / UNFINISHED).exists():
        raise ValueError(f"{folder}: writing was cut off there. Run `harness-bench prepare` again.")
    names = [path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for path in cuts_files(folder)]
    if not names:
        raise ValueError(
            f"{folder} holds no cuts. Make them with `harness-bench prepare CORPUS FROM {folder}`."
        )
    rank = {name: number for number, name in enumerate(_USUAL_ORDER)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def read_cuts(folder: str | Path, split: str) -> list[Cut]:
    """Read all cuts of one split, in the file's order; ValueError if there is no such split."""
    folder = Path(folder)
    if split not in (known := splits(folder)):
        raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(known)}.")
    return read_cuts_file(cuts_path(folder, split))


def read_cuts_file(path: Path) -> list[Cut]:
    """Read all cuts of one file, in its order; a broken file is a `ValueError` that names it."""
    from lhotse import CutSet  # noqa: PLC0415 - imports torch

    try:
        return list(CutSet.from_file(path))
    except (OSError, EOFError, ValueError, KeyError, AssertionError) as error:
        raise ValueError(
            f"{path} cannot be read as cuts ({error}). Prepare the corpus again."
        ) from error


def write_cuts(folder: Path, split: str, cuts: Iterable[Cut]) -> int:
    """Write the cuts of one split atomically; return their number."""
    return write_lines(folder, split, map(to_line, cuts))


def to_line(cut: Cut | Row) -> bytes:
    """Return a cut as a line of JSON, as it stands in a file of cuts."""
    row = cut if isinstance(cut, dict) else cut.to_dict()
    return _encode(row).encode() + b"\n"


def write_lines(folder: Path, split: str, lines: Iterable[bytes]) -> int:
    """Write lines of `to_line` as the cuts of one split, atomically; return their number.

    Equal lines give equal bytes: no time of writing goes into the gzip header.
    """
    count = 0
    with (
        atomic_path(cuts_path(folder, split)) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream,
    ):
        for line in lines:
            stream.write(line)
            count += 1
    return count


class Spool:
    """Lines on disk, to be read again in any order, in a file without a name.

    It takes 16 bytes of memory a line and vanishes with the process. Its folder, made if absent,
    is not where the system keeps temporary files, for that may be memory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._begins, self._lengths = array("q"), array("q")
        self._end = 0
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def add(self, line: bytes) -> None:
        """Put a line at the end."""
        if self._stream is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._stream = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - see __exit__
        self._stream.write(line)
        self._begins.append(self._end)
        self._lengths.append(len(line))
        self._end += len(line)

    def line(self, place: int) -> bytes:
        """Return the line that was put there as number `place`."""
        assert self._stream is not None, "there are no lines without a file"
        self._stream.flush()
        return os.pread(self._stream.fileno(), self._lengths[place], self._begins[place])

    def lines(self, order: Iterable[int]) -> Iterator[bytes]:
        """Yield lines by their numbers."""
        return map(self.line, order)
