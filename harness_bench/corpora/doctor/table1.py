"""The paper's Table 1 beside what is in prepared folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_bench.core.tables import columns
from harness_bench.corpora.doctor.examine import describe
from harness_bench.corpora.doctor.known import table_1
from harness_bench.corpora.doctor.verdicts import agreement
from harness_bench.cuts import store
from harness_bench.cuts.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from harness_bench.corpora.doctor.known import PaperRow
    from harness_bench.corpora.doctor.verdicts import Verdict

SPLITS = ("train", "dev", "test")
NEAR_PERCENT = 2.0


@dataclass(frozen=True)
class Cell:
    """Hours of one split of one row, as printed and as counted."""

    data: str
    split: str
    printed: str  # hours; empty where the paper prints a dash
    counted: float | None  # hours; None where there are none to count
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class Reproduced:
    """Table 1 with what was counted."""

    source: str
    cells: list[Cell]
    tasks: Mapping[str, str]  # data -> task

    @property
    def sound(self) -> bool:
        """Whether no hours are more than 2 % off: the paper rounds, and its lists are unpublished.

        What cannot be told is no difference.
        """
        return all(
            agreement(cell.printed, cell.counted, NEAR_PERCENT)[0] == "equal"
            for cell in self.cells
            if cell.printed and cell.counted is not None
        )

    def render(self) -> str:
        """Return the table as text: the paper's rows, each figure with the counted one."""
        rows = [["data", *(f"{split} h" for split in SPLITS), "task", "differences"]]
        for data, task in self.tasks.items():
            of_row = [cell for cell in self.cells if cell.data == data]
            notes = "; ".join(f"{cell.split} {cell.detail}" for cell in of_row if cell.detail)
            rows.append([data, *map(_shown, of_row), task, notes])
        lines = columns(rows, texts=True)
        return "\n".join([*lines, "Each cell: as printed / as counted here.", self.source])


def reproduce(folders: Iterable[Path]) -> Reproduced:
    """Count the hours of Table 1's corpora.

    Args:
        folders: prepared ones, of any corpora; those that Table 1 lacks are an error.

    Raises:
        ValueError: a folder without cuts, of no corpus of the table, or two of one corpus.
    """
    table = table_1()
    known = [row.corpus for row in table.rows]
    hours: dict[str, dict[str, float]] = {}
    for folder in folders:
        splits, corpus = store.splits(folder), describe(folder).corpus
        if corpus not in known:
            raise ValueError(
                f"{folder} holds {corpus or 'no corpus that its report.json names'}; Table 1 is of "
                f"{', '.join(known)}. Leave it out."
            )
        if corpus in hours:
            raise ValueError(f"{folder} is a second folder of {corpus}; give one of them.")
        hours[corpus] = {
            split: Table(kinds=()).extend(store.read_rows(store.cuts_path(folder, split))).hours
            for split in SPLITS
            if split in splits
        }
    cells = [_cell(row, split, hours.get(row.corpus)) for row in table.rows for split in SPLITS]
    return Reproduced(table.source, cells, {row.data: row.task for row in table.rows})


def _cell(row: PaperRow, split: str, hours: Mapping[str, float] | None) -> Cell:
    printed: str = getattr(row, split)
    counted = (hours or {}).get(split)
    verdict: Verdict = "cannot tell"
    detail = "" if not printed else "not given" if hours is None else "no such split"
    if printed and counted is not None:
        verdict, detail = agreement(printed, counted)
    return Cell(row.data, split, printed, counted, verdict, detail)


def _shown(cell: Cell) -> str:
    if not cell.printed and cell.counted is None:
        return "-"
    return f"{cell.printed or '-'} / {'-' if cell.counted is None else f'{cell.counted:.2f}'}"
