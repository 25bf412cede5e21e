"""The list of utterances that a long job could not use: kept in a file, told, limited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.core.files import write_text
from harness_bench.core.log import say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAX_SKIPPED = 0.05  # share of utterances; as `harness-bench prepare` has it
PATTERN = "skipped.*.tsv"
_FEW = 10  # so many are no sign of a broken disk, whatever their share


class SkipList:
    """Utterances left out by one rank of a job, each once, in FOLDER/skipped.RANK.tsv.

    A resumed job goes on with the list. `rank` may be another name, such as that of a split.
    """

    def __init__(self, folder: Path, rank: int | str = 0, max_share: float = MAX_SKIPPED) -> None:
        self.path, self.max_share = folder / f"skipped.{rank}.tsv", max_share
        self.listed = self._read()
        self.seen = self.lost = 0  # utterances of this process, repeated ones again

    def __len__(self) -> int:
        return len(self.listed)

    def _read(self) -> set[str]:
        if not self.path.is_file():
            return set()
        *lines, torn = self.path.read_text(encoding="utf-8").split("\n")
        if torn:  # a kill cut the last line off; its utterance is listed again
            write_text(self.path, "".join(f"{line}\n" for line in lines))
        return {line.split("\t")[0] for line in lines[1:]}

    def add(self, read: int, skipped: Sequence[tuple[str, str]]) -> None:
        """Count some utterances that were read, and list those that were not: ids and reasons.

        Raises:
            ValueError: of all that were tried, more than `max_share` could not be used.
        """
        self.seen, self.lost = self.seen + read + len(skipped), self.lost + len(skipped)
        new = {name: reason for name, reason in skipped if name not in self.listed}
        if new:
            self._list(new)
            name, reason = next(iter(new.items()))
            say(f"{len(self)} utterances skipped so far, now {name!r}: {reason} See {self.path}.")
        if self.lost > max(_FEW, self.max_share * self.seen):
            raise ValueError(
                f"{self.lost} of {self.seen} utterances cannot be used, more than max_skipped = "
                f"{self.max_share:g} allows; {self.path} lists them. Is the disk there? Prepare "
                "the corpus again, or allow more."
            )

    def _list(self, reasons: Mapping[str, str]) -> None:
        self.listed |= reasons.keys()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as out:
            if out.tell() == 0:
                out.write("id\treason\n")
            for name, reason in reasons.items():
                out.write(f"{name}\t{' '.join(reason.split())}\n")
