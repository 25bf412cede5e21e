"""Common Voice: sentences read by volunteers, or their own words; any language.

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
# Spontaneous Speech has one table for all splits, and other names for the same.
_SPONTANEOUS = {"audio_file": "path", "transcription": "sentence"}
_KEPT = {"accents": "accent", "accent": "accent", "variant": "variant", "age": "age"}
_GENDERS = {
    "male_masculine": "male",
    "female_feminine": "female",
    "do_not_wish_to_say": None,
    "": None,
}


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """Common Voice: read or spontaneous speech of one language, official train, dev and test.

    Expects `cv-corpus-*/LANGUAGE/{train,dev,test}.tsv` and `clips/*.mp3` below the folder given, or
    `sps-corpus-*-LANGUAGE/ss-corpus-LANGUAGE.tsv` and `audios/*.mp3` of Spontaneous Speech, or the
    release's or the language's own folder. Fields: `accent`, `variant` and `age` where a row has
    them; older releases lack the columns.

    Attributes:
        language: the language's folder, such as ar or en.
    """

    splits: ClassVar = USUAL_SPLITS

    language: str = "ar"

    def utterances(self, root: Path) -> Found:
        """Yield the rows of train.tsv, dev.tsv and test.tsv, or of Spontaneous Speech's table."""
        folder = self._folder(root)
        for split in USUAL_SPLITS:
            path = folder / f"{split}.tsv"
            for number, _, row in table(path, _NEEDED) if path.is_file() else ():
                yield self._utterance(path, split, number, row)
        path = folder / self._spontaneous
        for number, _, row in table(path, _NEEDED, _as_read) if path.is_file() else ():
            split = "spontaneous" if isinstance(row, str) else row.get("split", "")
            item = self._utterance(path, split, number, row)
            if split == "unassigned" and isinstance(item, Utterance):
                item = item.skipped(Reason.BY_RULE, "no split: its transcription is not validated")
            yield item

    @property
    def _spontaneous(self) -> str:
        return f"ss-corpus-{self.language}.tsv"

    def _folder(self, root: Path) -> Path:
        inside = folders(root)
        releases = [each / self.language for each in inside if each.name.startswith("cv-corpus")]
        releases += [each for each in inside if each.name.startswith("sps-corpus")]
        tables = (*(f"{split}.tsv" for split in USUAL_SPLITS), self._spontaneous)
        found = [
            place
            for place in (root, root / self.language, *releases)
            if any((place / name).is_file() for name in tables)
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
            f"cv-corpus-*/{self.language}/train.tsv with clips/*.mp3, or {self._spontaneous} with "
            "audios/*.mp3; another language is chosen with the option language=CODE."
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
            audio=path.parent / ("audios" if path.name == self._spontaneous else "clips") / clip,
            split=split,
            text=row["sentence"] or None,
            speaker=row["client_id"] or None,
            gender=_GENDERS.get(gender, gender),
            language=row.get("locale") or self.language,
            custom={new: row[name] for name, new in _KEPT.items() if row.get(name)},
            where=where,
        )


def _as_read(columns: list[str]) -> list[str]:
    """Return the columns of Spontaneous Speech under the names of the read sentences' tables."""
    return [_SPONTANEOUS.get(name, name) for name in columns]
