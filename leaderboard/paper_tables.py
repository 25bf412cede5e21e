"""Tables as a paper lays them out, what was measured below what it prints: LaTeX and Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass

from harness_bench.core.config import STRICT, load
from harness_bench.core.sanitize import canonical
from harness_bench.results.record import load_results

from .build import PAPER
from .tables import MARKDOWN, NONE, TEX, figure, interval, parameters, signed, uncertainty

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.results.record import Metric, Result

    from .tables import Markup

SEED = ".seed"  # behind a split: another seed of what is scored there
PRINTED, DIFFERENCE = "paper", "difference"
DECIMALS, PRINTED_DECIMALS = 1, 2  # of ours and of the paper's
SYNTHETIC = "Figures of synthetic speech say nothing about real speech."
LEGEND = (
    "Difference: ours minus the paper's, with the 95 % interval of ours, as the paper gives none; "
    "bold where it leaves 0 out. ±: standard deviation over seeds, whose mean the figure is. "
    "Intervals of ASR are the mean of its seeds' intervals, and do not hold that spread."
)
SIZES = (
    "Parameters of ours: with the pretraining head, as fairseq counts them, and in brackets the "
    "exported upstream alone; compression is that of the former."
)
_Text = Annotated[str, Field(min_length=1)]


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class LayoutColumn:
    """One column: what the paper scored, and what of ours stands below it."""

    group: _Text  # the head over all columns of this name that follow each other
    head: str = ""
    task: _Text
    paper: _Text  # corpus of the paper's figures
    corpus: str = ""  # of ours; default: the paper's
    split: str = "test"
    metric: str = ""  # of ours; default: the one that ranks
    compared: bool = True  # False: the paper has no figure of this


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class LayoutRow:
    """One row of the paper, and the models of ours that may be meant by it."""

    label: _Text
    paper: str = ""  # model of the paper's results; empty: the paper has no such row
    ours: tuple[str, ...] = ()  # a line for each reading of what the paper says
    compression: str = ""  # as printed, in per cent


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class TableLayout:
    """One table of the paper."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]  # of its file and label
    caption: _Text
    columns: tuple[LayoutColumn, ...] = Field(min_length=1)
    rows: tuple[LayoutRow, ...] = Field(min_length=1)
    compressed: str = ""  # the model of ours that compression is measured from; empty: no column
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LaidCell:
    """What one cell says, before any markup."""

    text: str = NONE
    small: str = ""  # intervals and spreads
    bold: bool = False


@dataclass(frozen=True)
class LaidTable:
    """A table ready to be written: lines of one row of the paper stand together."""

    name: str
    caption: str
    heads: tuple[tuple[str, str], ...]  # group and head of each column
    blocks: tuple[tuple[tuple[LaidCell, ...], ...], ...]
    notes: tuple[str, ...] = ()


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class Layouts:
    """A file of tables."""

    tables: tuple[TableLayout, ...] = Field(min_length=1)


def load_layouts(path: Path) -> tuple[TableLayout, ...]:
    """Read `[[tables]]` of a TOML file; what is wrong in it is a `ValueError` that names it."""
    return load(Layouts, path).tables


def read_both(results: Path) -> list[Result]:
    """Read the results of a folder that can be read, if there is one, and the paper's own."""
    own = load_results(results)[0] if results.is_dir() else {}
    return [*own.values(), *load_results(PAPER)[0].values()]


def lay_out(layout: TableLayout, results: Iterable[Result], counts: Mapping[str, int]) -> LaidTable:
    """Fill a table; what was not measured, or is not printed, is a dash.

    `counts` are parameters with the pretraining head, by model, where they are known.
    """
    found = _Found(layout, results, counts)
    sizes = ["Parameters", *["Compression (%)"] * bool(layout.compressed)]
    heads = [("", "Model"), ("", ""), *(("", size) for size in sizes)]
    heads += [(column.group, column.head) for column in layout.columns]
    blocks = tuple(tuple(found.lines(row)) for row in layout.rows)
    notes = [*layout.notes, LEGEND, SIZES, *[SYNTHETIC] * found.synthetic]
    return LaidTable(layout.name, layout.caption, tuple(heads), blocks, tuple(notes))


class _Found:
    """What is known for one table: results by what they are of, and sizes."""

    def __init__(
        self, layout: TableLayout, results: Iterable[Result], counts: Mapping[str, int]
    ) -> None:
        self.layout, self.counts = layout, counts
        # Seeds of ASR are results each: of the splits test, test.seed1, test.seed2.
        self.results: dict[tuple[str, ...], list[Result]] = {}
        known = [each for each in results if not each.head]
        for each in sorted(known, key=lambda result: result.key):
            source, model, task, corpus, split, *_ = each.key
            corpus = corpus.removeprefix("synthetic " * each.synthetic)
            key = (source, model, task, corpus, split.partition(SEED)[0])
            self.results.setdefault(key, []).append(each)
        self.exported = {
            canonical(each.model): each.parameters
            for each in known
            if each.source == "measured" and each.parameters is not None
        }
        wanted = {canonical(name) for row in layout.rows for name in row.ours}
        self.synthetic = any(each.synthetic and canonical(each.model) in wanted for each in known)

    def lines(self, row: LayoutRow) -> Iterable[tuple[LaidCell, ...]]:
        """Yield the paper's line where it has one, and ours with its difference for each model."""
        columns, label = self.layout.columns, LaidCell(row.label)
        printed = [self._printed(row, column) for column in columns]
        if row.paper:
            said = [each.parameters for key, found in self.results.items() for each in found
                    if key[:2] == ("reported", canonical(row.paper))]  # fmt: skip
            size = LaidCell(parameters(next(filter(None, said), None)))
            cells = [LaidCell(figure(each, PRINTED_DECIMALS)) if each else LaidCell()
                     for each in printed]  # fmt: skip
            yield (label, LaidCell(PRINTED), *self._sizes(size, row.compression), *cells)
            label = LaidCell("")
        for model in row.ours:
            figures = [self._measured(model, column) for column in columns]
            sizes = self._sizes(self._size(model), self._compression(model))
            yield (label, LaidCell(model), *sizes, *map(_own, figures))
            pairs = [*zip(figures, printed, strict=True)]
            if any(ours and theirs for ours, theirs in pairs):
                blank, minus = [LaidCell("")] * len(sizes), [_minus(*pair) for pair in pairs]
                yield (LaidCell(""), LaidCell(DIFFERENCE), *blank, *minus)
            label = LaidCell("")

    def _sizes(self, size: LaidCell, compression: str) -> list[LaidCell]:
        return [size, *[LaidCell(compression or NONE)] * bool(self.layout.compressed)]

    def _printed(self, row: LayoutRow, column: LayoutColumn) -> Metric | None:
        found = self._found("reported", row.paper, column.task, column.paper, "test")
        return found[0].main if found and column.compared else None

    def _measured(self, model: str, column: LayoutColumn) -> Metric | None:
        corpus = column.corpus or column.paper
        found = self._found("measured", model, column.task, corpus, column.split)
        chosen = [each.metrics.get(column.metric or each.main_metric) for each in found]
        metrics = [each for each in chosen if each]
        return mean_of(metrics) if metrics else None

    def _found(self, source: str, *of: str) -> list[Result]:
        return self.results.get((source, *map(canonical, of)), [])

    def _size(self, model: str) -> LaidCell:
        whole, alone = self.counts.get(model), self.exported.get(canonical(model))
        if whole is None:
            return LaidCell(NONE if alone is None else f"({parameters(alone)})")
        return LaidCell(parameters(whole), "" if alone is None else f"({parameters(alone)})")

    def _compression(self, model: str) -> str:
        """Return 1 - size / size of the model that compression is measured from, in per cent."""
        whole, own = self.counts.get(self.layout.compressed), self.counts.get(model)
        return f"{100 * (1 - own / whole):.2f}" if whole and own and own < whole else NONE


def mean_of(seeds: Sequence[Metric]) -> Metric:
    """Return the mean over seeds that were scored on the same utterances, with their spread.

    Its interval is the mean of theirs: never narrower than that of the mean, since the error of a
    mean is at most the mean error.
    """
    first, *others = seeds
    if not others:
        return first
    values, spans = [each.value for each in seeds], [each.interval for each in seeds]
    update: dict[str, object] = {"value": mean(values), "spread": stdev(values), "interval": None}
    if all(spans):
        ends = {end: mean(getattr(span, end) for span in spans) for end in ("low", "high")}
        update["interval"] = first.interval.model_copy(update=ends) if first.interval else None
    return first.model_copy(update=update)


def _own(metric: Metric | None) -> LaidCell:
    if metric is None:
        return LaidCell()
    return LaidCell(figure(metric, DECIMALS), uncertainty(metric, DECIMALS))


def _minus(ours: Metric | None, theirs: Metric | None) -> LaidCell:
    if ours is None or theirs is None:
        return LaidCell()
    text = signed(ours.value - theirs.value, DECIMALS)
    if (span := ours.interval) is None or not span.is_known:
        return LaidCell(text)
    low, high = span.low - theirs.value, span.high - theirs.value
    moved = span.model_copy(update={"low": low, "high": high})
    shown = interval(moved, DECIMALS).replace("-", "\u2212")
    return LaidCell(text, shown, bold=not low <= 0 <= high)


def latex(table: LaidTable) -> str:
    """Write a table for the packages booktabs and graphicx."""
    lines = [*_rules([_tex_line(block) for block in map(list, table.blocks)])]
    groups = [(name, len([*same])) for name, same in groupby(group for group, _ in table.heads)]
    spanned, rules, at = [], [], 1
    for name, width in groups:
        across = rf"\multicolumn{{{width}}}{{c}}{{{TEX.escape(name)}}}"
        spanned.append(across if name else " & " * (width - 1))
        rules += [rf"\cmidrule(lr){{{at}-{at + width - 1}}}"] * bool(name)
        at += width
    heads = " & ".join(TEX.escape(head) for _, head in table.heads)
    top = [rf"{' & '.join(spanned)} \\", " ".join(rules)] if rules else []
    return "\n".join([
        "% Needs the packages booktabs and graphicx.",
        r"\begin{table*}[t]", r"\centering",
        rf"\caption{{{TEX.escape(' '.join([table.caption, *table.notes]))}}}",
        rf"\label{{tab:{table.name}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{ll{'r' * (len(table.heads) - 2)}}}",
        r"\toprule", *top, rf"{heads} \\", r"\midrule", *lines,
        r"\bottomrule", r"\end{tabular}}", r"\end{table*}",
    ]) + "\n"  # fmt: skip


def markdown(table: LaidTable) -> str:
    """Write a table as GitHub Markdown."""
    heads = [" ".join(filter(None, head)) for head in table.heads]
    lines = [[*map(MARKDOWN.escape, heads)], ["---", "---", *["---:"] * (len(heads) - 2)]]
    lines += [[_cell(cell, MARKDOWN) for cell in line] for block in table.blocks for line in block]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"- {MARKDOWN.escape(note)}" for note in table.notes)
    return f"## {MARKDOWN.escape(table.caption)}\n\n{rows}\n\n{notes}\n"


def _tex_line(block: Sequence[Sequence[LaidCell]]) -> str:
    return "\n".join(rf"{' & '.join(_cell(cell, TEX) for cell in line)} \\" for line in block)


def _rules(blocks: Sequence[str]) -> Iterable[str]:
    for number, block in enumerate(blocks):
        yield from [r"\addlinespace", block] if number else [block]


def _cell(cell: LaidCell, markup: Markup) -> str:
    text = markup.escape(cell.text)
    text = markup.places[1].format(text) if cell.bold else text
    return text + (markup.interval.format(markup.escape(cell.small)) if cell.small else "")
