"""A folder with a manifest: tab-separated, one utterance per line, any further columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance, utterance_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ABSENT = ("", "-")  # what a cell holds when there is nothing to say
_PLAIN = ("path", "id", "duration", "speaker", "transcript", "split", "gender", "language")


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """A folder with manifest.tsv: columns path, duration, speaker, label, transcript, split, ....

    Expects `manifest.tsv` in the folder given, and the audio where it says: UTF-8 with a header
    and no quoting; only `path` (relative to the manifest) is needed. An empty cell or `-` means
    absent. Without a `split` column all is train. Columns `id`, `gender` and `language` are known
    too; every other column is kept under its own name.

    Attributes:
        manifest: file name of the manifest below the root.
        language: language tag of rows that have none of their own.
    """

    manifest: str = "manifest.tsv"
    language: str | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The usual three."""
        return USUAL_SPLITS

    def utterances(self, root: Path) -> Iterator[Utterance | Skipped]:
        """Yield the rows of the manifest, in its order."""
        path = root / self.manifest
        if not path.is_file():
            others = ", ".join(sorted(found.name for found in root.glob("*.tsv"))) or "no .tsv file"
            raise ValueError(
                f"There is no manifest {path} ({root} holds {others}). "
                "Name another one with the option manifest=NAME."
            )
        # Split at line feeds only: transcripts may hold characters that str.splitlines breaks at.
        header, *lines = _decode(path).split("\n")
        columns = _columns(path, header.split("\t"))
        for number, line in enumerate(lines, start=2):
            if line.strip():
                yield self._utterance(path, columns, number, line.split("\t"))

    def _utterance(
        self, manifest: Path, columns: list[str], number: int, cells: list[str]
    ) -> Utterance | Skipped:
        """Turn one row into an utterance, or into the reason why it is unusable."""
        where = f"{manifest}:{number}"
        name = cells[0].strip() or f"row {number}"
        if len(cells) != len(columns):
            detail = f"{len(cells)} cells where the header has {len(columns)}"
            return Skipped(name, Reason.BAD_ROW, detail, where=where)
        row = {
            column: text
            for column, cell in zip(columns, cells, strict=True)
            if (text := cell.strip()) not in ABSENT
        }
        if "path" not in row:
            return Skipped(name, Reason.BAD_ROW, "the path is absent", where=where)
        audio, uid = manifest.parent / row["path"], row.get("id") or utterance_id(row["path"])
        duration = _seconds(row.get("duration"))
        if duration is None and "duration" in row:
            detail = f"duration {row['duration']!r} is not a number of seconds above 0"
            return Skipped(uid, Reason.BAD_ROW, detail, str(audio), where)
        return Utterance(
            id=uid,
            audio=audio,
            split=row.get("split", "" if "split" in columns else "train"),
            stated_duration=duration,
            text=row.get("transcript"),
            speaker=row.get("speaker"),
            language=row.get("language", self.language),
            gender=row.get("gender"),
            custom={key: value for key, value in row.items() if key not in _PLAIN},
            where=where,
        )


def _decode(path: Path) -> str:
    """Read UTF-8 text, with or without a byte order mark; other encodings are an error."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 (byte {error.start}: {error.reason}). "
            "Convert it, for example with `iconv -f WINDOWS-1256 -t UTF-8`."
        ) from error


def _columns(path: Path, header: list[str]) -> list[str]:
    """Check the header line of a manifest and return its column names."""
    columns = [name.strip() for name in header]
    if "path" not in columns:
        raise ValueError(
            f"{path}: the header has no column 'path'; it reads {columns}. "
            "Expected tab-separated names: path, duration, speaker, label, transcript, split."
        )
    if repeated := sorted({name for name in columns if columns.count(name) > 1 or not name}):
        raise ValueError(f"{path}: column names must differ and not be empty; see {repeated}.")
    return columns


def _seconds(text: str | None) -> float | None:
    """Read a positive finite number; None when it is none."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
