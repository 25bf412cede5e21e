"""Examine prepared folders: against what is known of them, by ear, and against Table 1."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from harness_bench import corpora
from harness_bench.core.config import build, load, resolved, typed
from harness_bench.core.files import atomic_path, read_json, write_json, write_text
from harness_bench.core.log import bar
from harness_bench.core.tables import columns
from harness_bench.core.workdir import PROVENANCE
from harness_bench.corpora import presets
from harness_bench.corpora.doctor.known import Known, Line, agreement, judge, of_corpus, table_1
from harness_bench.corpora.doctor.listen import FINDINGS, Findings, Listening, listen, look
from harness_bench.corpora.doctor.report import Examination, LeftOut, draw, render
from harness_bench.corpora.doctor.tally import Tally
from harness_bench.cuts import store
from harness_bench.cuts.shar import CUTS, INDEX, is_sharded, open_shards
from harness_bench.cuts.store import REPORT, SKIPPED
from harness_bench.cuts.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness_bench.corpora.doctor.known import PaperRow, Verdict
    from harness_bench.cuts.fields import Row
    from harness_bench.cuts.shar import Shard

FOLDER = "doctor"  # in the prepared folder
SHARDS = "shards"  # what all shards of a folder are called: they know of no splits
REPORT_JSON, REPORT_MD = "doctor.json", "doctor.md"
_SHOWN = 10  # of what `prepare` left out for each reason
_PAPER_SPLITS = ("train", "dev", "test")
_NEAR_PERCENT = 2.0


class Prepared(NamedTuple):
    """What a prepared folder says of itself; all may be unknown of one made by other tools."""

    corpus: str | None
    options: dict[str, Any] | None  # of the corpus, defaults filled in
    report: dict[str, Any]


def examine(
    folder: Path,  # as `prepare` or `harness-bench shard` writes it
    out: Path | None = None,  # default: the folder `doctor` in it
    config: Listening | None = None,
    known: Path | None = None,  # TOML of figures, in place of those of the corpus it holds
) -> Examination:
    """Examine a prepared folder and write doctor.json, doctor.md, findings.tsv and two plots.

    Cuts are read one by one and kept as some 100 bytes each. Shards are one split of the name
    `shards`.

    Raises:
        ValueError: no cuts there, a broken file, or figures that are none.
    """
    config, out = config or Listening(), out or folder / FOLDER
    shards = tuple(open_shards(folder)) if is_sharded(folder) else ()
    files = {SHARDS: [shard.field(CUTS) for shard in shards]}
    if not shards:
        files = {split: [store.cuts_path(folder, split)] for split in store.splits(folder)}
    prepared = describe(folder)
    figures = load(Known, known) if known else _known(prepared)
    with (
        atomic_path(out / FINDINGS) as partial,
        partial.open("w", encoding="utf-8") as table,
    ):
        findings, tallies = Findings(table), dict[str, Tally]()
        for split, paths in files.items():
            rows = _looked_at(_rows(paths), split, config, figures, findings)
            tallies[split] = tally = Tally(rows, figures.references if figures else ())
            total = tally.whole.utterances
            listen(_rows(paths), split, config, findings, total=total, shards=shards)
    lines = judge(figures, tallies, prepared.options) if figures else []
    found = Examination(
        folder=folder,
        corpus=prepared.corpus,
        tallies=tallies,
        lines=[*lines, *_as_prepared(prepared.report, tallies), *_as_sharded(shards, tallies)],
        left_out=_left_out(folder / SKIPPED),
        findings=findings,
        listening=config,
        known=figures.source if figures else "",
    )
    draw(tallies, out)
    write_json(out / REPORT_JSON, found.to_dict())
    write_text(out / REPORT_MD, render(found))
    return found


def describe(folder: Path) -> Prepared:
    """Read which corpus a folder holds and with which options it was prepared."""
    report = _read(folder / REPORT)
    name = report.get("corpus")
    if name not in corpora.available():
        return Prepared(None, None, report)
    given = (_read(folder / PROVENANCE).get("config") or {}).get("options")
    if not isinstance(given, dict):
        return Prepared(name, None, report)
    kind = corpora.get(name)
    whole = build(kind, typed(kind, given), source=f"{folder / PROVENANCE}")
    return Prepared(name, resolved(whole), report)


def _known(prepared: Prepared) -> Known | None:
    """Return what is known of a corpus, or of the preset by which it was prepared."""
    preset = (prepared.options or {}).get("preset")
    return presets.get(preset).known if preset else of_corpus(prepared.corpus)


def _read(path: Path) -> dict[str, Any]:
    found = read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _rows(paths: Iterable[Path]) -> Iterator[Row]:
    return (row for path in paths for row in store.read_rows(path))


def _looked_at(
    rows: Iterable[Row], split: str, config: Listening, known: Known | None, findings: Findings
) -> Iterator[Row]:
    rate = known.sampling_rate if known else None
    for row in bar(rows, title=f"counting {split}", unit="utt"):
        for finding in look(row, split, config, rate):
            findings.add(finding)
        yield row


def _as_prepared(report: dict[str, Any], tallies: dict[str, Tally]) -> Iterator[Line]:
    """Compare the cuts with the report that `prepare` wrote beside them."""
    for split, about in (report.get("splits") or {}).items():
        counted, detail = "0", "the split is gone"
        if (tally := tallies.get(split)) is not None:
            same = about["digest"] == tally.digest
            counted = f"{tally.whole.utterances:,}"
            detail = "" if same else "cuts were added, taken away or put in another order"
        what = f"{split}: the same ids as prepared"
        verdict: Verdict = "differs" if detail else "equal"
        yield Line(what, f"{about['utterances']:,}", counted, verdict, detail, REPORT)


def _as_sharded(shards: Sequence[Shard], tallies: dict[str, Tally]) -> Iterator[Line]:
    """Compare the cuts of shards with the index that was written with them, where there is one."""
    if shards and (shards[0].folder / INDEX).is_file():
        known = sum(shard.utterances for shard in shards)
        counted = tallies[SHARDS].whole.utterances
        verdict: Verdict = "equal" if known == counted else "differs"
        what = f"{SHARDS}: as many cuts as the index says"
        yield Line(what, f"{known:,}", f"{counted:,}", verdict, "", INDEX)


def _left_out(path: Path) -> list[LeftOut]:
    """Read by which reasons `prepare` left utterances out, the most frequent first."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE, restval=""))
    counts = Counter(row["reason"] for row in rows)
    return [
        LeftOut(reason, n, tuple(islice((row for row in rows if row["reason"] == reason), _SHOWN)))
        for reason, n in counts.most_common()
    ]


@dataclass(frozen=True)
class Cell:
    """Hours of one split of one row of Table 1, as printed and as counted."""

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
            agreement(cell.printed, cell.counted, _NEAR_PERCENT)[0] == "equal"
            for cell in self.cells
            if cell.printed and cell.counted is not None
        )

    def render(self) -> str:
        """Return the table as text: the paper's rows, each figure with the counted one."""
        rows = [["data", *(f"{split} h" for split in _PAPER_SPLITS), "task", "differences"]]
        for data, task in self.tasks.items():
            of_row = [cell for cell in self.cells if cell.data == data]
            notes = "; ".join(f"{cell.split} {cell.detail}" for cell in of_row if cell.detail)
            rows.append([data, *map(_shown, of_row), task, notes])
        lines = columns(rows, texts=True)
        return "\n".join([*lines, "Each cell: as printed / as counted here.", self.source])


def reproduce(folders: Iterable[Path]) -> Reproduced:
    """Count the hours of Table 1's corpora in prepared folders.

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
            for split in _PAPER_SPLITS
            if split in splits
        }
    cells = [
        _cell(row, split, hours.get(row.corpus)) for row in table.rows for split in _PAPER_SPLITS
    ]
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
