"""Common Voice: sentences read by volunteers; Arabic and English here, any language likewise.

lhotse's recipe needs the columns `accents` and `variant`, which releases before 10 lack, writes
files while it reads, and passes over missing clips; here every row is an utterance or a listed
reason. The tests hold both to the same ids, texts, speakers and files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance
from harness_bench.corpora.formats import reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_NEEDED = ("client_id", "path", "sentence")
_KEPT = {"accents": "accent", "accent": "accent", "variant": "variant", "age": "age"}
_GENDERS = {
    "male": "male",
    "male_masculine": "male",
    "female": "female",
    "female_feminine": "female",
    "do_not_wish_to_say": None,
    "": None,
}


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """Common Voice: read sentences of one language, official train, dev and test.

    Expects `cv-corpus-*/LANGUAGE/{train,dev,test}.tsv` and `clips/*.mp3` below the folder given,
    which may also be the release's or the language's own. Fields: `accent`, `variant` and `age`
    where a row has them; older releases lack the columns.

    Attributes:
        language: the language's folder, such as ar or en.
    """

    language: str = "ar"

    @property
    def splits(self) -> tuple[str, ...]:
        """The usual three."""
        return USUAL_SPLITS

    def utterances(self, root: Path) -> Iterator[Utterance | Skipped]:
        """Yield the rows of train.tsv, dev.tsv and test.tsv, whichever are there."""
        folder = self._folder(root)
        for split in USUAL_SPLITS:
            if (folder / f"{split}.tsv").is_file():
                yield from self._rows(folder / f"{split}.tsv", split)

    def _folder(self, root: Path) -> Path:
        """Find the one folder of this language."""
        places = [root, root / self.language]
        places += [
            release / self.language
            for release in reading.folders(root)
            if release.name.startswith("cv-corpus")
        ]
        found = [
            place
            for place in places
            if any((place / f"{split}.tsv").is_file() for split in USUAL_SPLITS)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(
                f"{root} holds several of Common Voice: {', '.join(map(str, found))}. Give one of "
                "these folders."
            )
        raise ValueError(
            f"{root} holds no Common Voice of language {self.language!r}. Expected "
            f"cv-corpus-*/{self.language}/train.tsv with clips/*.mp3; another language is chosen "
            "with the option language=CODE."
        )

    def _rows(self, path: Path, split: str) -> Iterator[Utterance | Skipped]:
        """Read one table: tab-separated, with a header, quotes being part of the text."""
        columns: list[str] = []
        for number, line in reading.lines(path):
            cells = line.split("\t")
            if number == 1:
                columns = _columns(path, cells)
            elif line.strip():
                yield self._utterance(path, split, number, columns, cells)
        if not columns:
            raise ValueError(f"{path} is empty; expected a header with {', '.join(_NEEDED)}.")

    def _utterance(
        self, path: Path, split: str, number: int, columns: list[str], cells: list[str]
    ) -> Utterance | Skipped:
        where = f"{reading.printable(path)}:{number}"
        if len(cells) != len(columns):
            detail = f"{len(cells)} cells where the header has {len(columns)}"
            return Skipped(f"row {number} of {split}", Reason.BAD_ROW, detail, where=where)
        row = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
        clip = row["path"]
        if not clip or "/" in clip or "\\" in clip or clip.startswith("."):
            detail = f"path {clip[:80]!r} is no name of a clip"
            return Skipped(f"row {number} of {split}", Reason.BAD_ROW, detail, where=where)
        clip += "" if "." in clip else ".mp3"  # the first releases leave it out
        gender = row.get("gender", "")
        return Utterance(
            id=clip.rpartition(".")[0],
            audio=path.parent / "clips" / clip,
            split=split,
            text=row["sentence"] or None,
            speaker=row["client_id"] or None,
            gender=_GENDERS.get(gender, gender),
            language=row.get("locale") or self.language,
            custom={new: row[name] for name, new in _KEPT.items() if row.get(name)},
            where=where,
        )


def _columns(path: Path, cells: Sequence[str]) -> list[str]:
    """Check a header and return its column names."""
    columns = [cell.strip() for cell in cells]
    absent = [name for name in _NEEDED if name not in columns]
    if absent or len(set(columns)) < len(columns):
        raise ValueError(
            f"{path}: the header lacks {', '.join(absent) or 'nothing, but repeats names'}; it "
            f"reads {', '.join(columns)[:200]!r}. Is it Common Voice's own table, with tabs?"
        )
    return columns
