"""The board as one static page that asks nothing of the network and opens from disk."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from functools import cache
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from harness_bench.core.html import render
from harness_bench.core.sanitize import clean, shorten

from .. import tables
from ..tables import costs, figure, interval, parameters, signed, uncertainty

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_bench.results.record import Exported, Leakage, Metric

    from ..board import (
        Board,
        BoardColumn,
        BoardTable,
        Evidence,
        ModelRow,
        PairedDifference,
        ResultCell,
        Source,
    )
    from ..plots import TablePlots

    Addresses = dict[tuple[str, BoardColumn | str], str]  # source, and column or model -> address

_HERE = Path(__file__).parent
_SCRIPTS = (
    "page.js", "page_table.js", "page_address.js", "page_views.js", "page_plots.js",
    "page_start.js",
)  # fmt: skip
_STYLES = ("page.css", "page_plots.css")
_LONGEST = 2000  # characters of one provenance entry, such as a command
_P_DIGITS = 9  # with fewer 0.04997 would be 0.05, and the script would not see the claim
_SIZES = (0, 10, 50, 150, 500, 1500)  # million parameters, the ends of the classes of size
_MOST_VALUES = 60  # of one breakdown, such as programmes; the largest ones
KINDS = {
    "pretrained": "pretrained", "random": "not trained (random weights)",
    "baseline": "baseline without a model", "other": "other",
}  # fmt: skip


def render_page(board: Board, plots: Mapping[Source, TablePlots]) -> str:
    """Write the page; every string from a result file is escaped by the template."""
    names, shown = addresses(board), _filled(board)
    rows = [row for table in shown for row in table.rows]
    present, counts = {row.kind for row in rows}, {row.parameters for row in rows}
    return render(
        _read("page.html.j2"),
        board=board,
        title=clean(board.title),
        tables=shown,
        names=names,
        kinds={kind: text for kind, text in KINDS.items() if kind in present},
        # With the smallest first and what is not known last.
        sizes=dict(map(size_of, sorted(counts, key=lambda count: (count is None, count or 0)))),
        leaking=sum(row.leaking for row in rows),
        plots=plots,
        data=site_data(board, names),
        write=tables,  # how figures are written everywhere
        **{
            each.__name__: each
            for each in (clean, shorten, scales, position, size_of, against_paper)
        },
        style="".join(map(_read, _STYLES)),
        # The page may run this one script and load nothing, whatever a result file contains.
        script="".join(map(_read, _SCRIPTS)),
    )


def _filled(board: Board) -> list[BoardTable]:
    return [table for table in (board.measured, board.reported) if table.rows]


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def against_paper(cell: ResultCell) -> str:
    """Write how a figure differs from the paper's: "+1.2, better than the paper"."""
    if cell.delta is None or cell.against_paper is None:
        return ""
    if cell.against_paper == "equal":
        return "as the paper"
    return f"{signed(cell.delta, 1)}, {cell.against_paper} than the paper"


def size_of(count: int | None) -> tuple[str, str]:
    """Return the class of size that a parameter count belongs to: its name, and in words."""
    if count is None:
        return "unknown", "not known"
    place = bisect_left(_SIZES, count / tables.MILLION, lo=1)
    if place == len(_SIZES):
        return f"{_SIZES[-1]}M-", f"over {_SIZES[-1]:,} M"
    low, high = _SIZES[place - 1 : place + 1]
    return f"{low}-{high}M", f"{low}–{high:,} M" if low else f"up to {high} M"


def scales(table: BoardTable) -> dict[BoardColumn, tuple[float, float]]:
    """Return the lowest and highest figure of each column, intervals included."""
    cells = {column: [cell for _, cell in table.entries(column)] for column in table.columns}
    return {
        column: (min(cell.low for cell in found), max(cell.high for cell in found))
        for column, found in cells.items()
    }


def position(value: float, scale: tuple[float, float]) -> str:
    """Return a figure's place on the small scale of its cell, in percent of the width."""
    low, high = scale
    return f"{100 * (value - low) / (high - low):.1f}" if high > low else "50"


def addresses(board: Board) -> Addresses:
    """Name every column and model on the page: short, stable from build to build, each once."""
    tables = (board.measured, board.reported)
    things: list[tuple[str, BoardColumn | str, tuple[str, ...]]] = [
        (table.source, each, (each.task, each.corpus, each.metric, each.normaliser))
        for table in tables
        for each in table.columns
    ]
    things += [(table.source, row.model, (row.model,)) for table in tables for row in table.rows]
    found: Addresses = {}
    given: set[str] = set()
    for source, thing, parts in things:
        stem = re.sub(r"[^\w.]+", "-", "-".join(filter(None, (source, *parts)))).strip("-")[:80]
        name, number = stem, 1
        while name in given:
            number += 1
            name = f"{stem}-{number}"
        found[source, thing] = name
        given.add(name)
    return found


def model_links(board: Board, source: Source) -> dict[str, str]:
    """Return the address of each model's page, as the page's own script writes it."""
    names = addresses(board)
    return {
        model: f"#/model/{quote(name, safe='')}"
        for (origin, model), name in names.items()
        if origin == source and isinstance(model, str)
    }


def site_data(board: Board, names: Addresses) -> dict[str, Any]:
    """Return everything that the script shows, as plain lists and dictionaries for JSON."""
    shown = _filled(board)
    return {
        "columns": [_column(table, column, names) for table in shown for column in table.columns],
        "leaks": tables.LEAKS,
        "models": [_model(table, row, names) for table in shown for row in table.rows],
    }


def _column(table: BoardTable, column: BoardColumn, names: Addresses) -> dict[str, Any]:
    evidence = table.evidence.get(column)
    owner = {cell.file: names[table.source, row.model] for row, cell in table.entries(column)}
    plain = ("head", "task", "corpus", "split", "metric", "unit")
    return {
        "id": names[table.source, column],
        "source": table.source,
        **{name: getattr(column, name) for name in plain},
        "profile": column.normaliser,
        "synthetic": column.synthetic,
        "up": column.higher_is_better,
        "tests": _tests(evidence, owner) if evidence else [],
        "breakdowns": _breakdowns(evidence, owner) if evidence else [],
    }


def _tests(evidence: Evidence, owner: Mapping[Path, str]) -> list[dict[str, Any]]:
    """Write the paired tests: models, and a [difference, low, high, p, p by Holm] for each two."""
    return [
        {
            "models": [owner[file] for file in files],
            "method": found.method,
            "few": found.too_few,
            "decidable": found.decidable,
            "pairs": [
                [
                    [round(float(matrix[i, j]), digits) for matrix, digits in
                     ((found.differences, 4), (found.low, 4), (found.high, 4),
                      (found.p_values, _P_DIGITS), (found.p_holm, _P_DIGITS))]
                    for j in range(i)
                ]
                for i in range(len(files))
            ],
        }
        for files, found in evidence.tests
    ]  # fmt: skip


def _breakdowns(evidence: Evidence, owner: Mapping[Path, str]) -> list[dict[str, Any]]:
    """Write for each dimension its values and each model's [figure, utterances] in them."""
    dimensions = dict.fromkeys(name for found in evidence.breakdowns.values() for name in found)
    made = []
    for dimension in dimensions:
        slices = {
            owner[file]: {part.value: part for part in found.get(dimension, ())}
            for file, found in evidence.breakdowns.items()
        }
        sizes: Counter[str] = Counter()
        for parts in slices.values():
            sizes |= Counter({value: part.utterances for value, part in parts.items()})
        values = sorted(sizes, key=lambda value: (-sizes[value], value))
        shown = values[:_MOST_VALUES]
        made.append(
            {
                "by": clean(dimension),
                "values": [shorten(value, 60) for value in shown],
                "more": len(values) - len(shown),
                "models": {
                    model: [
                        [round(parts[value].figure, 2), parts[value].utterances]
                        if value in parts and not isnan(parts[value].figure) else None
                        for value in shown
                    ]
                    for model, parts in slices.items()
                },
            }
        )  # fmt: skip
    return made


def _model(table: BoardTable, row: ModelRow, names: Addresses) -> dict[str, Any]:
    return {
        "id": names[table.source, row.model],
        "source": table.source,
        "name": row.model,
        "kind": KINDS[row.kind],
        "mark": row.kind,
        "parameters": parameters(row.parameters),
        "exact": row.parameters,
        "costs": costs(row.costs),
        "leaking": row.leaking,
        "licence": row.licence,
        "links": row.links,
        "results": {
            names[table.source, column]: _result(row.cells[column], table.decimals)
            for column in table.columns
            if column in row.cells
        },
    }


def _result(cell: ResultCell, decimals: int) -> dict[str, Any]:
    span = cell.metric.interval
    made: dict[str, Any] = {
        "value": cell.metric.value,
        "text": figure(cell.metric, decimals),
        "interval": uncertainty(cell.metric, decimals),
        "method": clean(span.method) if span else "",
        "low": span.low if span else None,
        "high": span.high if span else None,
        "place": cell.place,
        "medal": cell.medal,
        "leaking": cell.leaking,
        "rank": tables.rank_of(cell),
        "weights": [round(weight, 4) for weight in cell.result.layer_weights],
        "entries": provenance(cell),
    }
    if cell.paper and cell.delta is not None:
        made["paper"] = [
            figure(cell.paper.main, 2), cell.against_paper, against_paper(cell)
        ]  # fmt: skip
    return made


def provenance(cell: ResultCell) -> list[tuple[str, str]]:
    """List what a reader needs to trust or repeat a figure, absent entries left out."""
    result = cell.result
    entries: list[tuple[str, object]] = [
        ("source", f"reported: {result.citation}" if result.source == "reported" else "measured"),
        *((name, _metric(metric)) for name, metric in result.metrics.items()),
        ("text profile", result.normaliser),
        ("utterances", f"{result.utterances:,}" if result.utterances else None),
        ("hours", None if result.hours is None else f"{result.hours:.2f}"),
        ("compared with the best", cell.best and _p_values(cell.best)),
        ("pretraining data", result.pretraining_data),
        ("leakage", _leakage(result.leakage)),
        ("exported", _exported(result.exported)),
        ("learning rates tried", _pairs(result.learning_rates, ": dev ")),
        ("seed", result.seed),
        ("seeds", ", ".join(map(str, result.seeds))),
        ("seconds", None if result.seconds is None else f"{result.seconds:.1f}"),
        ("seconds by stage", _pairs(result.stage_seconds, " ")),
        ("hardware", result.hardware),
        ("command", result.command),
        ("training config", result.training_config),
        ("checkpoint", result.checkpoint_source),
        ("checkpoint digest", result.checkpoint_digest),
        ("split digest", result.split_digest),
        ("predictions", result.predictions),
        ("versions", _pairs(result.versions, " ")),
        ("created", result.created.strftime("%Y-%m-%d %H:%M %Z")),
        ("file", cell.file.name),
    ]
    return [
        (clean(name), shorten(str(value), _LONGEST))
        for name, value in entries
        if value not in (None, "")
    ]


def _metric(metric: Metric) -> str:
    spans = [span for span in (metric.interval, *metric.other_intervals) if span]
    written = "; ".join(f"{interval(span, 1)} {span.method}" for span in spans)
    varied = None if metric.spread is None else f"standard deviation over seeds {metric.spread:.2f}"
    texts = [f"{figure(metric, 2)} {metric.unit} {written}".strip(), varied]
    return "; ".join(filter(None, texts))


def _p_values(pair: PairedDifference) -> str:
    return f"p = {pair.p_value:.4f}, {pair.p_holm:.4f} by Holm for all pairs of the column"


def _exported(found: Exported | None) -> str | None:
    if found is None:
        return None
    span, change = found.interval, signed(found.difference, 2)
    changed = f"{change} {interval(span, 2)} {span.method}"
    return f"{found.runtime} of {found.parent}: {changed}; largest {found.max_difference:.2g}"


def _leakage(leakage: Leakage | None) -> str | None:
    if leakage is None:
        return None
    compared = f"compared with {', '.join(leakage.compared_with)}" if leakage.compared_with else ""
    return "; ".join(filter(None, [leakage.verdict, compared, leakage.detail]))


def _pairs(values: Mapping[str, object], between: str) -> str:
    return ", ".join(f"{key}{between}{value}" for key, value in values.items())
