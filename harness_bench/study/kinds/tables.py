"""The paper's tables with ours: LaTeX and Markdown of what there is when this runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.files import write_text
from harness_bench.corpora.doctor.known import table_1
from harness_bench.leaderboard.paper_tables import (
    DIFFERENCE,
    PRINTED,
    PRINTED_DECIMALS,
    SYNTHETIC,
    LaidCell,
    LaidTable,
    latex,
    lay_out,
    load_layouts,
    markdown,
    read_both,
)
from harness_bench.leaderboard.tables import NONE, signed
from harness_bench.models.config import paper_parameters
from harness_bench.pretrain.config import load_family

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness_bench.corpora.doctor.examine import Cell
    from harness_bench.study.job import Place, StudyJob

HOURS = (
    "Difference: ours minus the paper's; bold where rounding, or the tolerance of the paper's own "
    "figures, does not explain it. Lists of the paper's QASR and KSUEmotions are unpublished; ours "
    "are drawn by a seed."
)


def run(place: Place) -> dict[str, list[str]]:
    """Write each table as NAME.tex, and all of them as tables.md.

    Settings: `layouts`, a TOML of tables (docs/study.md) relative to the study's file; the study
    adds the `cuts` of each corpus by its name in results, and which rows are `iterations` of its
    family. Paths: `base`, the folder of its file, and `family`, where it has one.
    """
    settings = place.job.settings
    layouts = load_layouts(Path(place.job.paths["base"], settings["layouts"]))
    results, counts = read_both(place.out / "results"), parameters(place.job)
    folders = {name: place.out / folder for name, folder in settings.get("cuts", {}).items()}
    synthetic = any(each.synthetic for each in results)
    tables = [hours_table(folders, synthetic=synthetic)]
    tables += [lay_out(layout, results, counts) for layout in layouts]
    for table in tables:
        write_text(place.folder / f"{table.name}.tex", latex(table))
    write_text(place.folder / "tables.md", "\n".join(map(markdown, tables)))
    return {"tables": [table.name for table in tables]}


def parameters(job: StudyJob) -> dict[str, int]:
    """Count the parameters of the rows that a family makes, pretraining head included."""
    if (file := job.paths.get("family")) is None:
        return {}
    steps = {step.name: step for step in load_family(Path(file)).iterations}
    rows = {row: steps[name] for row, name in job.settings.get("iterations", {}).items()}
    return {
        row: paper_parameters(step.model, step.labels.clusters, step.pretrain.final_dim)
        for row, step in rows.items()
    }


def hours_table(folders: Mapping[str, Path], *, synthetic: bool = False) -> LaidTable:
    """Fill Table 1: hours of each split as printed, and counted in prepared folders, by their name.

    Folders that hold no corpus of the table, or are not there, have no line.
    """
    from harness_bench.corpora.doctor.examine import describe, reproduce  # noqa: PLC0415 - draws

    corpora = {name: describe(each).corpus for name, each in folders.items()}
    printed = reproduce(()).cells
    blocks = []
    for row in table_1().rows:
        cells = [LaidCell(cell.printed or NONE) for cell in printed if cell.data == row.data]
        lines = [[LaidCell(row.data), LaidCell(PRINTED), *cells, LaidCell(row.task)]]
        for name in (name for name, corpus in corpora.items() if corpus == row.corpus):
            counted = reproduce([folders[name]]).cells
            lines += _hours(name, [each for each in counted if each.data == row.data])
        blocks.append(tuple(map(tuple, lines)))
    splits = dict.fromkeys(cell.split for cell in printed)
    heads = [("", "Data"), ("", ""), *(("Hours", split) for split in splits), ("", "Task")]
    notes = (HOURS, *[SYNTHETIC] * synthetic)
    return LaidTable(
        "table1", "Hours of the downstream corpora.", tuple(heads), tuple(blocks), notes
    )


def _hours(name: str, cells: Sequence[Cell]) -> Iterable[list[LaidCell]]:
    known = [LaidCell(NONE if each.counted is None else f"{each.counted:.2f}") for each in cells]
    yield [LaidCell(""), LaidCell(name), *known, LaidCell("")]
    minus = [
        LaidCell(signed(each.counted - float(each.printed), PRINTED_DECIMALS),
                 bold=each.verdict == "differs")
        if each.printed and each.counted is not None else LaidCell()
        for each in cells
    ]  # fmt: skip
    if any(each != LaidCell() for each in minus):
        yield [LaidCell(""), LaidCell(DIFFERENCE), *minus, LaidCell("")]
