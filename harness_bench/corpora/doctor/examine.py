"""Examine a prepared folder: count it, compare it, listen to it, and write what was found."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness_bench import corpora
from harness_bench.core.config import build, load, resolved, typed
from harness_bench.core.files import atomic_path, read_json, write_json, write_text
from harness_bench.core.log import bar
from harness_bench.core.workdir import PROVENANCE
from harness_bench.corpora.doctor.known import Known, of_corpus
from harness_bench.corpora.doctor.listen import (
    FINDINGS,
    Findings,
    Listening,
    listen,
    listen_to_shards,
    look,
)
from harness_bench.corpora.doctor.plot import draw
from harness_bench.corpora.doctor.report import Examination, LeftOut, render
from harness_bench.corpora.doctor.tally import Tally
from harness_bench.corpora.doctor.verdicts import Line, judge
from harness_bench.cuts import store
from harness_bench.cuts.shar import CUTS, INDEX, is_sharded, open_shards
from harness_bench.cuts.store import REPORT, SKIPPED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.corpora.doctor.verdicts import Verdict
    from harness_bench.cuts.fields import Row
    from harness_bench.cuts.shar import Shard

FOLDER = "doctor"  # in the prepared folder
SHARDS = "shards"  # what all shards of a folder are called: they know of no splits
REPORT_JSON, REPORT_MD = "doctor.json", "doctor.md"
_SHOWN = 10  # of what `prepare` left out for each reason


@dataclass(frozen=True)
class Prepared:
    """What a prepared folder says of itself; all may be unknown of one made by other tools."""

    corpus: str | None
    options: dict[str, Any] | None  # of the corpus, defaults filled in
    report: dict[str, Any]


def examine(
    folder: Path,
    out: Path | None = None,
    config: Listening | None = None,
    known: Path | None = None,
) -> Examination:
    """Examine a prepared folder and write doctor.json, doctor.md, findings.tsv and two plots.

    Cuts are read one by one and kept as some 100 bytes each. Shards are one split of the name
    `shards`.

    Args:
        folder: as `prepare` or `harness-bench shard` writes it.
        out: where to write; default: the folder `doctor` in it.
        config: what to listen to.
        known: TOML of known figures, in place of those of the corpus that it was prepared as.

    Raises:
        ValueError: no cuts there, a broken file, or figures that are none.
    """
    config, out = config or Listening(), out or folder / FOLDER
    pieces = _pieces(folder)
    prepared = describe(folder)
    figures = load(Known, known) if known else of_corpus(prepared.corpus)
    with (
        atomic_path(out / FINDINGS) as partial,
        partial.open("w", encoding="utf-8") as table,
    ):
        findings = Findings(table)
        tallies = {piece.name: _examined(piece, config, figures, findings) for piece in pieces}
    lines = judge(figures, tallies, prepared.options) if figures else []
    found = Examination(
        folder=folder,
        corpus=prepared.corpus,
        tallies=tallies,
        lines=[*lines, *_as_prepared(prepared.report, tallies), *_as_sharded(pieces, tallies)],
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
    report = read_json(folder / REPORT) if (folder / REPORT).is_file() else {}
    name = report.get("corpus") if isinstance(report, dict) else None
    if not isinstance(name, str) or name not in corpora.available():
        return Prepared(None, None, report if isinstance(report, dict) else {})
    made = read_json(folder / PROVENANCE) if (folder / PROVENANCE).is_file() else {}
    given = (made.get("config") or {}).get("options")
    if not isinstance(given, dict):
        return Prepared(name, None, report)
    kind = corpora.get(name)
    whole = build(kind, typed(kind, given), source=f"{folder / PROVENANCE}")
    return Prepared(name, resolved(whole), report)


@dataclass(frozen=True)
class _Piece:
    """What is counted by itself: one split, or all shards of a folder."""

    name: str
    files: list[Path]  # of cuts
    shards: tuple[Shard, ...] = ()  # the same, where they hold their audio

    def rows(self) -> Iterator[Row]:
        """Yield all cuts."""
        rows = (row for path in self.files for row in store.read_rows(path))
        yield from bar(rows, title=f"counting {self.name}", unit="utt")


def _pieces(folder: Path) -> list[_Piece]:
    if is_sharded(folder):
        shards = tuple(open_shards(folder))
        return [_Piece(SHARDS, [shard.field(CUTS) for shard in shards], shards)]
    return [_Piece(split, [store.cuts_path(folder, split)]) for split in store.splits(folder)]


def _examined(piece: _Piece, config: Listening, known: Known | None, findings: Findings) -> Tally:
    rate = known.sampling_rate if known else None
    references = known.references if known else ()

    def looked_at() -> Iterator[Row]:
        for row in piece.rows():
            for finding in look(row, piece.name, config, rate):
                findings.add(finding)
            yield row

    tally = Tally(looked_at(), references)
    if piece.shards:
        listen_to_shards(piece.shards, piece.name, config, findings)
    else:
        rows = store.read_rows(piece.files[0])
        listen(rows, piece.name, config, findings, tally.whole.utterances)
    return tally


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


def _as_sharded(pieces: list[_Piece], tallies: dict[str, Tally]) -> Iterator[Line]:
    """Compare the cuts of shards with the index that was written with them, where there is one."""
    for piece in pieces:
        if piece.shards and (piece.shards[0].folder / INDEX).is_file():
            known = sum(shard.utterances for shard in piece.shards)
            counted = tallies[piece.name].whole.utterances
            what = f"{piece.name}: as many cuts as the index says"
            verdict: Verdict = "equal" if known == counted else "differs"
            yield Line(what, f"{known:,}", f"{counted:,}", verdict, "", INDEX)


def _left_out(path: Path) -> list[LeftOut]:
    """Read by which reasons `prepare` left utterances out, the most frequent first."""
    counts: Counter[str] = Counter()
    first: dict[str, list[dict[str, str]]] = {}
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            reason = row.get("reason") or "unknown"
            counts[reason] += 1
            if counts[reason] <= _SHOWN:
                first.setdefault(reason, []).append(
                    {key: value or "" for key, value in row.items() if key}
                )
    return [LeftOut(reason, n, tuple(first[reason])) for reason, n in counts.most_common()]
