"""A folder with a manifest: tab-separated, one utterance per line, any further columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance, utterance_id
from harness_bench.corpora.formats import raw_files

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.corpora.base import Found

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

    splits: ClassVar = USUAL_SPLITS

    manifest: str = "manifest.tsv"
    language: str | None = None

    def utterances(self, root: Path) -> Found:
        """Yield the rows of the manifest, in its order."""
        path = root / self.manifest
        if not path.is_file():
            others = ", ".join(sorted(found.name for found in root.glob("*.tsv"))) or "no .tsv file"
            raise ValueError(
                f"There is no manifest {path} ({root} holds {others}). "
                "Name another one with the option manifest=NAME."
            )
        for number, first, cells in raw_files.table(path, ("path",)):
            name, where = first or f"row {number}", f"{path}:{number}"
            yield self._utterance(path.parent, name, cells, where)

    def _utterance(
        self, folder: Path, name: str, cells: dict[str, str] | str, where: str
    ) -> Utterance | Skipped:
        if isinstance(cells, str):
            return Skipped(name, Reason.BAD_ROW, cells, where=where)
        row = {column: text for column, text in cells.items() if text not in ABSENT}
        if "path" not in row:
            return Skipped(name, Reason.BAD_ROW, "the path is absent", where=where)
        audio, uid = folder / row["path"], row.get("id") or utterance_id(row["path"])
        duration = raw_files.seconds(row.get("duration"))
        if not duration and "duration" in row:
            detail = f"duration {row['duration']!r} is not a number of seconds above 0"
            return Skipped(uid, Reason.BAD_ROW, detail, str(audio), where)
        return Utterance(
            id=uid,
            audio=audio,
            split=row.get("split", "" if "split" in cells else "train"),
            stated_duration=duration,
            text=row.get("transcript"),
            speaker=row.get("speaker"),
            language=row.get("language", self.language),
            gender=row.get("gender"),
            custom={key: value for key, value in row.items() if key not in _PLAIN},
            where=where,
        )
