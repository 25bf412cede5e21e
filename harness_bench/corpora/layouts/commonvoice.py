"""Common Voice: sentences read by volunteers; Arabic and English here, any language likewise.

lhotse's recipe needs the columns `accents` and `variant`, which releases before 10 lack, writes
files while it reads, and passes over missing clips; here every row is an utterance or a listed
reason. The tests hold both to the same ids, texts, speakers and files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.corpora.base import USUAL_SPLITS, Reason, Skipped, Utterance, printable
from harness_bench.corpora.formats.raw_files import folders
from harness_bench.corpora.formats.tables import table

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.corpora.base import Found

_NEEDED = ("client_id", "path", "sentence")
_KEPT = {"accents": "accent", "accent": "accent", "variant": "variant", "age": "age"}
_GENDERS = {
    "male_masculine": "male",
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

    splits: ClassVar = USUAL_SPLITS

    language: str = "ar"

    def utterances(self, root: Path) -> Found:
        """Yield the rows of train.tsv, dev.tsv and test.tsv, whichever are there."""
        folder = self._folder(root)
        for split in USUAL_SPLITS:
            path = folder / f"{split}.tsv"
            for number, _, row in table(path, _NEEDED) if path.is_file() else ():
                yield self._utterance(path, split, number, row)

    def _folder(self, root: Path) -> Path:
        releases = [each for each in folders(root) if each.name.startswith("cv-corpus")]
        found = [
            place
            for place in (root, *(each / self.language for each in (root, *releases)))
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

    def _utterance(
        self, path: Path, split: str, number: int, row: dict[str, str] | str
    ) -> Utterance | Skipped:
        name, where = f"row {number} of {split}", f"{printable(path)}:{number}"
        if isinstance(row, str):
            return Skipped(name, Reason.BAD_ROW, row, where=where)
        clip = row["path"]
        if not clip or "/" in clip or "\\" in clip or clip.startswith("."):
            detail = f"path {clip[:80]!r} is no name of a clip"
            return Skipped(name, Reason.BAD_ROW, detail, where=where)
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
