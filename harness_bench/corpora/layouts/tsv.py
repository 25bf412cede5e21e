"""A folder with a table of its audio: TSV, CSV or JSON lines, any further columns."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.core.log import say
from harness_bench.core.sanitize import visible
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance, utterance_id
from harness_bench.corpora.formats import raw_files
from harness_bench.corpora.formats.tables import ABSENT, table, transcripts, understood

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.corpora.base import Found

_PLAIN = ("path", "id", "duration", "speaker", "transcript", "split", "gender", "language")
_TIMES = ("start", "end")
_WORDS = ABSENT - {"", "-"}  # what is absent and might be a word
_MANIFEST = "manifest.tsv"
_OTHERS = ("manifest.csv", "manifest.jsonl", "manifest.json", "metadata.csv", "metadata.jsonl")
_SAME = 0.02  # seconds by which a stated duration may differ from end - start
_COMMA, _CLOCK = re.compile(r"(\d+)[,\u066b](\d+)"), re.compile(r"(?:(\d+):)?(\d+):([\d.]+)")


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """A folder with manifest.tsv: columns path, duration, speaker, label, transcript, split, ....

    Expects `manifest.tsv` (or .csv, .jsonl) in the folder given, and the audio where it says: UTF-8
    with a header; only `path`, relative to the table, is needed. Columns `start` and `end` (or
    `duration`), in seconds, make segments. Without a `split` column all is train. Other usual names
    are recognised (audio, text, sentence, offset, speaker_id, ...); other columns become fields.
    An empty cell, `-`, `nan`, `None`, `null` or `NA` means absent.

    Attributes:
        manifest: file name of the table below the root.
        language: language tag of rows that have none of their own.
        transcript: the column that holds the transcript, where several might.
    """

    splits: ClassVar = USUAL_SPLITS

    manifest: str = _MANIFEST
    language: str | None = None
    transcript: str | None = None

    def utterances(self, root: Path) -> Found:
        """Yield the rows of the table, in its order."""
        reader = _Reader(self._table(root), self)
        for number, first, cells in table(reader.path, ("path",), reader.rename):
            name, where = first or f"row {number}", f"{reader.path}:{number}"
            yield reader.utterance(name, cells, where)
        reader.tell()

    def _table(self, root: Path) -> Path:
        path = root / self.manifest
        if path.is_file():
            return path
        if root.is_file():
            raise ValueError(f"{root} is a file; give its folder, and manifest={root.name}.")
        others = [root / name for name in _OTHERS if (root / name).is_file()]
        if self.manifest == _MANIFEST and len(others) == 1:
            return others[0]
        kinds = ("*.tsv", "*.csv", "*.json*")
        held = ", ".join(sorted(visible(found.name) for kind in kinds for found in root.glob(kind)))
        raise ValueError(
            f"There is no manifest {path} ({root} holds {held or 'no .tsv, .csv or .jsonl'}). "
            "Name another one with the option manifest=NAME."
        )


class _Reader:
    """The reader of one table: what its columns mean, and what is to be told of it."""

    def __init__(self, path: Path, options: Corpus) -> None:
        self.path, self.options = path, options
        self.texts: list[str] = []  # the columns with transcripts
        self.known: set[str] = set()  # columns that are no further fields
        self.segmented = False  # whether rows have a start
        self.nothing: Counter[str] = Counter()  # words taken for nothing, with their column
        self.respelled = 0  # files found under another spelling of their path

    def rename(self, columns: list[str]) -> list[str]:
        """Return what the columns mean; say it where they are called otherwise."""
        names = understood(columns, self.options.transcript)
        changed = [f"{old} as {new}" for old, new in zip(columns, names, strict=True) if old != new]
        if changed:
            say(f"{self.path}: read {visible(', '.join(changed))}")
        if "" in names:
            say(f"{self.path}: columns without a name are not read")
        if "split" not in names:
            say(f"{self.path}: without a column split, all is train; heads and ASR need dev, too")
        self.texts = ["transcript"] if self.options.transcript else transcripts(names)
        self.segmented = "start" in names
        self.known = {*_PLAIN, *self.texts, *(_TIMES if self.segmented else ())}
        ends = [name for name in ("end", "duration") if name in names]
        if (self.segmented and not ends) or (not self.segmented and "end" in ends):
            raise ValueError(
                f"{self.path}: segments need a column start, and end or duration, in seconds; the "
                f"header reads {visible(', '.join(columns))[:200]!r}. Rename "
                "the columns that are not times."
            )
        if len(self.texts) > 1:
            self._compare(names)
        return names

    def _compare(self, names: list[str]) -> None:
        """Refuse two transcripts that say different things, before work is spent."""
        for number, _, cells in table(self.path, ("path",), lambda _: names):
            said = {name: cells[name] for name in self.texts} if isinstance(cells, dict) else {}
            if len({*said.values()} - ABSENT) > 1:
                texts = " and ".join(f"{name} {text[:60]!r}" for name, text in said.items())
                raise ValueError(
                    f"{self.path}:{number} has several transcripts: {texts}. Choose one by the "
                    "option transcript=COLUMN; the others are kept as fields."
                )

    def utterance(self, name: str, cells: dict[str, str] | str, where: str) -> Utterance | Skipped:
        """Return what a row says."""
        if isinstance(cells, str):
            return Skipped(name, Reason.BAD_ROW, cells, where=where)
        row = {column: text for column, text in cells.items() if text not in ABSENT}
        if len(row) < len(cells):
            said = (f"{name} {text!r}" for name, text in cells.items() if text in _WORDS)
            self.nothing.update(said)
        if "path" not in row:
            return Skipped(name, Reason.BAD_ROW, "the path is absent", where=where)
        audio, uid = self._audio(row["path"]), row.get("id") or utterance_id(row["path"])
        try:
            start, duration, stated = self._span(row)
        except ValueError as error:
            return Skipped(uid, Reason.BAD_ROW, str(error), str(audio), where)
        if duration is not None and "id" not in row:
            uid += f"_{round(1000 * start):07d}_{round(1000 * (start + duration)):07d}"
        return Utterance(
            id=uid,
            audio=audio,
            split=row.get("split", "" if "split" in cells else "train"),
            start=start,
            duration=duration,
            stated_duration=stated,
            text=next((row[column] for column in self.texts if column in row), None),
            speaker=row.get("speaker"),
            language=row.get("language", self.options.language),
            gender=row.get("gender"),
            custom={key: value for key, value in row.items() if key not in self.known},
            where=where,
        )

    def _audio(self, cell: str) -> Path:
        """Return the file of a path, also if a Mac or Windows spells the same name otherwise."""
        folder = self.path.parent
        if (not cell.isascii() or "\\" in cell) and not os.path.exists(folder / cell):  # noqa: PTH110 - raises nothing
            plain = cell.replace("\\", "/")
            spelled = (folder / unicodedata.normalize(form, plain) for form in ("NFC", "NFD"))
            for path in (folder / plain, *spelled):
                if os.path.isfile(path):  # noqa: PTH113 - as above
                    self.respelled += 1
                    return path
        return folder / cell

    def _span(self, row: dict[str, str]) -> tuple[float, float | None, float | None]:
        """Return start and duration of a segment, and what a whole file's duration should be."""
        duration = _seconds(row, "duration")
        if not self.segmented:
            return 0.0, None, duration
        start, end = _seconds(row, "start"), _seconds(row, "end")
        if start is end is duration is None:
            return 0.0, None, None
        start = start or 0.0
        if end is None:
            if duration is None:
                raise ValueError(f"start is {start:g}, but neither end nor duration is there")
            return start, duration, None
        if end <= start:
            raise ValueError(f"end {end:g} is not after start {start:g}")
        if duration is not None and abs(end - start - duration) > _SAME:
            raise ValueError(f"start {start:g}, end {end:g} and duration {duration:g} disagree")
        return start, round(end - start, 6), None

    def tell(self) -> None:
        """Say once what was understood of the rows, and might have been meant otherwise."""
        if self.nothing:
            most = ", ".join(f"{what}: {count}" for what, count in self.nothing.most_common(5))
            say(f"{self.path}: taken as absent: {most}. Write it otherwise if it is a word.")
        if self.respelled:
            say(
                f"{self.path}: {self.respelled} files were found under another spelling of their "
                "path (Unicode form, or / for \\)"
            )


def _seconds(row: dict[str, str], name: str) -> float | None:
    """Return a time of a row, None where it is absent; no number is a ValueError that shows it."""
    if name not in row:
        return None
    text, number = row[name], raw_files.seconds(row[name])
    if number or (number is not None and name == "start"):
        return number
    hint = ""
    if comma := _COMMA.fullmatch(text):
        whole, part = (
            "".join(str(unicodedata.digit(sign)) for sign in of) for of in comma.groups()
        )
        hint = f"; write {whole}.{part}"
    elif clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (raw_files.seconds(part or 0) or 0 for part in clock.groups())
        hint = f"; write {3600 * hours + 60 * minutes + seconds:g}"
    above = "from 0 on" if name == "start" else "above 0"
    raise ValueError(f"{name} {text!r} is not a number of seconds {above}{hint}")
