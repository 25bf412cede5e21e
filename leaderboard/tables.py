"""The board as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import html
import io
import re
from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from rich.text import Text

from harness_bench.core.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness_bench.results.record import Costs, Interval, Metric, Result

    from .board import Board, Cell, Row, Score, Table

_CSV_FIELDS = (
    "source", "model", "model_kind", "parameters", "task", "corpus", "split", "synthetic",
    "metric", "main", "value", "low", "high", "interval", "unit", "higher_is_better",
    "place", "rank", "minus_best", "p_value", "paper", "minus_paper",
    "real_time_factor", "gpu_real_time_factor", "macs_per_second", "peak_bytes", "disk_bytes",
    "utterances", "hours", "normaliser", "seed", "leakage", "pretraining_data", "citation",
    "checkpoint_digest", "split_digest", "created", "file",
)  # fmt: skip
# How a spreadsheet's formula begins; the wide forms too, which East Asian settings obey.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≈": r"$\approx$", "–": "--",
    "\u2212": "$-$",
}  # fmt: skip


def markdown(board: Board, plots: Iterable[tuple[str, str]] = ()) -> str:
    """Write the board as GitHub Markdown; `plots` are (alternative text, file name) pairs."""
    parts = [f"# {_md(board.title)}", *_md_warnings(board)]
    for table, title in ((board.measured, "Measured"), (board.reported, "Reported elsewhere")):
        if table.rows:
            parts += [f"## {title}", _md_table(table), *(f"- {_md(note)}" for note in table.notes)]
    parts += _md_paper(board.measured)
    parts += [
        _md(LEGEND),
        *([_md(SCORE)] if board.scored else []),
        *(f"![{_md(text)}]({name})" for text, name in plots),
    ]
    if board.reported.rows:
        cited = sorted({clean(cell.result.citation) for cell in _cells(board.reported)})
        parts += ["Sources of reported figures:", "\n".join(f"- {_md(text)}" for text in cited)]
    if board.problems:
        files = [f"- {_md(name)}: {_md(why)}" for name, why in board.problems.items()]
        parts += ["## Result files left out", "\n".join(files)]
    return "\n\n".join(parts) + "\n"


def latex(board: Board) -> str:
    """Write the board as LaTeX tables for the booktabs package."""
    head = f"% {_tex(board.title)}. Needs the packages booktabs and, for other scripts, fontspec."
    if board.measured.synthetic:
        head += f"\n% Synthetic data. {SYNTHETIC}"
    tables = [_tex_table(table) for table in (board.measured, board.reported) if table.rows]
    return "\n\n".join([head, *tables]) + "\n"


def to_csv(board: Board) -> str:
    """Write one line per model, task, split and metric: everything, for further analysis."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, _CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    for cell in (*_cells(board.measured), *_cells(board.reported)):
        for name, metric in cell.result.metrics.items():
            values = _csv_values(cell, name, metric)
            writer.writerow({key: _csv_safe(value) for key, value in values.items()})
    return stream.getvalue()


def _cells(table: Table) -> Iterable[Cell]:
    """Yield the cells of a table row by row."""
    for row in table.rows:
        yield from (row.cells[column] for column in table.columns if column in row.cells)


def _md_warnings(board: Board) -> list[str]:
    """Say what a reader must know before the first figure."""
    lines = [f"**Synthetic data.** {SYNTHETIC}"] if board.measured.synthetic else []
    if board.hidden:
        lines.append(f"Shown: split `{board.split}`. Not shown, of other splits: {board.hidden}.")
    return lines


def _md_table(table: Table) -> str:
    """Write one table."""
    head = ["model", *_summary_heads(table), *(_md(column.head) for column in table.columns)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in table.rows:
        cells = [_md_cell(row.cells.get(column), table.decimals) for column in table.columns]
        lines.append([_md(row.model), *_summary(table, row), *cells])
    return _md_lines(lines)


def _md_lines(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _md_paper(table: Table) -> list[str]:
    """Write measured figures beside the paper's, where there are both."""
    lines = [
        [_md(row.model), _md(column.head), figure(cell.metric, table.decimals),
         figure(cell.paper.main, 2), signed(cell.delta or 0, 1)]
        for row in table.rows
        for column, cell in row.cells.items()
        if cell.paper
    ]  # fmt: skip
    if not lines:
        return []
    head = [["model", "column", "measured", "paper", "difference"], ["---", "---", *["---:"] * 3]]
    return ["## Beside the paper", _md_lines([*head, *lines])]


def _summary_heads(table: Table) -> list[str]:
    return ["parameters", "mean rank", *(["score"] if table.scored else [])]


def _summary(table: Table, row: Row) -> list[str]:
    """Return what sums a model up, in the order of `_summary_heads`."""
    found = [parameters(row.parameters), mean_rank(row, len(table.columns))]
    return [*found, score(row.score)] if table.scored else found


def _md_cell(cell: Cell | None, decimals: int) -> str:
    """Write one cell."""
    if cell is None:
        return NONE
    value = figure(cell.metric, decimals)
    value = {1: f"**{value}**", 2: f"<ins>{value}</ins>"}.get(cell.place, value)
    return " ".join(
        filter(None, [value, "≈" if cell.tied else "", interval(cell.metric.interval, decimals)])
    )


def _md(text: str) -> str:
    """Escape a string for Markdown, in which HTML is live."""
    safe = html.escape(clean(text), quote=False)
    return re.sub(r"([\\`*_{}\[\]#|~!])", r"\\\1", safe)


def _tex_table(table: Table) -> str:
    """Write one tabular; unknown figures are dashes."""
    heads = map(str.capitalize, _summary_heads(table))
    columns = ["Model", *heads, *(_tex(column.head) for column in table.columns)]
    body = [
        [
            _tex(row.model),
            *map(_tex, _summary(table, row)),
            *(_tex_cell(row.cells.get(column), table.decimals) for column in table.columns),
        ]
        for row in table.rows
    ]
    lines = [
        f"% {table.source}",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        _tex_line(columns),
        r"\midrule",
        *map(_tex_line, body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def _tex_line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _tex_cell(cell: Cell | None, decimals: int) -> str:
    """Write one cell: best bold, second underlined, interval small."""
    if cell is None:
        return "--"
    value = figure(cell.metric, decimals)
    value = {1: rf"\textbf{{{value}}}", 2: rf"\underline{{{value}}}"}.get(cell.place, value)
    mark = r"\,$\approx$" if cell.tied else ""
    span = interval(cell.metric.interval, decimals)
    return value + mark + (rf" {{\scriptsize {span}}}" if span else "")


def _tex(text: str) -> str:
    """Escape a string for LaTeX."""
    return "".join(_LATEX.get(char, char) for char in clean(text))


def _csv_values(cell: Cell, name: str, metric: Metric) -> dict[str, object]:
    """Return one CSV line of a result's metric by field."""
    result: Result = cell.result
    own = {key: getattr(result, key) for key in _CSV_FIELDS if hasattr(result, key)}
    span = metric.interval
    spent = result.costs.model_dump(exclude={"hardware"}) if result.costs else {}
    ranked: dict[str, object] = {
        "place": cell.place,
        "rank": cell.rank,
        "minus_best": cell.best.difference if cell.best else None,
        "p_value": cell.best.p_value if cell.best else None,
        "paper": cell.paper.main.value if cell.paper else None,
        "minus_paper": cell.delta,
    }
    main = name == result.main_metric  # the metric that was ranked
    return (
        own
        | spent
        | (ranked if main else {})
        | {
            "metric": name,
            "main": main,
            "value": metric.value,
            "low": span.low if span else None,
            "high": span.high if span else None,
            "interval": span.method if span else "",
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "leakage": result.leakage.verdict if result.leakage else "",
            "created": result.created.isoformat(timespec="seconds"),
            "file": cell.file.name,
        }
    )


def _csv_safe(value: object) -> object:
    """Keep spreadsheets from taking an untrusted string for a formula."""
    if not isinstance(value, str):
        return value
    line = clean(value)
    return f"'{line}" if line.startswith(_FORMULA) else line


_STYLES = {1: "bold green", 2: "underline"}


def render_terminal(board: Board) -> RichTable:
    """Make a rich table; names are `Text`, so that no markup in them is obeyed."""
    table = board.measured
    made = RichTable(title=Text(board.title), caption=_caption(synthetic=table.synthetic))
    made.add_column("model")
    made.add_column("parameters", justify="right")
    for column in table.columns:
        made.add_column(
            Text(f"{column.task}\n{column.corpus}\n{column.metric} {column.unit} {column.arrow}"),
            justify="right",
        )
    for row in table.rows:
        cells = [_cell(row.cells.get(column), table.decimals) for column in table.columns]
        made.add_row(Text(row.model), parameters(row.parameters), *cells)
    return made


def _caption(*, synthetic: bool) -> str:
    """Explain the marks, and say first when the data are synthetic."""
    marks = "bold: best, underlined: second, ≈: not told apart from the best; 95 % intervals"
    return f"synthetic data: says nothing about real speech\n{marks}" if synthetic else marks


def _cell(cell: Cell | None, decimals: int) -> Text:
    """Write one cell."""
    if cell is None:
        return Text(NONE, style="dim")
    made = Text(figure(cell.metric, decimals), style=_STYLES.get(cell.place, ""))
    made.append("≈" if cell.tied else " ", style="not bold not underline")
    made.append(interval(cell.metric.interval, decimals), style="dim not bold not underline")
    return made


NONE = "–"
SYNTHETIC = (
    "Columns marked synthetic compare the models on computer-made speech; their figures say "
    "nothing about real speech."
)
LEGEND = (
    "Bold: best figure; underlined: second; ≈: not told apart from the best by a paired bootstrap "
    "(p ≥ 0.05, no correction for several comparisons). [low, high]: 95 % bootstrap interval. "
    "Mean rank: mean over the columns of 1 + the number of models that are better beyond chance; "
    "(2/3): over the 2 of 3 columns in which the model has a figure."
)
SCORE = (
    "Score, as SUPERB defines it: in each column 0 for FBANK and 1000 for the best model, linear "
    "between; the mean over the columns in which some model is better than FBANK. (2/3): a mean "
    "over 2 of 3 such columns, not comparable with the others."
)
MILLION, THOUSAND = 10**6, 10**3


def parameters(count: int | None) -> str:
    """Write a parameter count: 316 M, 4.8 M, 512 k, 0, or a dash where it is not known."""
    if count is None:
        return NONE
    if count >= MILLION:
        return f"{_significant(count / MILLION)} M"
    return f"{_significant(count / THOUSAND)} k" if count >= THOUSAND else str(count)


def figure(metric: Metric, decimals: int) -> str:
    """Write a metric's value without its unit; a reported one as its source prints it."""
    return metric.printed or f"{metric.value:.{decimals}f}"


def interval(span: Interval | None, decimals: int) -> str:
    """Write an interval as [low, high], or nothing where there is none."""
    return f"[{span.low:.{decimals}f}, {span.high:.{decimals}f}]" if span else ""


def mean_rank(row: Row, columns: int) -> str:
    """Write a mean rank; over how many columns, where the model lacks some."""
    part = "" if len(row.cells) == columns else f" ({len(row.cells)}/{columns})"
    return f"{row.mean_rank:.2f}".rstrip("0").rstrip(".") + part


def score(found: Score | None) -> str:
    """Write SUPERB's score; over how many columns, where the model lacks some."""
    if found is None:
        return NONE
    return f"{found.value:.0f}".replace("-", "\u2212") + (
        "" if found.whole else f" ({found.columns}/{found.of})"
    )


def signed(number: float, decimals: int) -> str:
    """Write a difference with its sign, a true minus where it is negative."""
    return f"{number:+.{decimals}f}".replace("-", "\u2212")


def costs(found: Costs | None) -> dict[str, str]:
    """Write what is known of a model's costs, by name."""
    if found is None:
        return {}
    values = {
        "real-time factor, CPU": _short(found.real_time_factor, 1),
        "real-time factor, GPU": _short(found.gpu_real_time_factor, 1),
        "GMAC per second of audio": _short(found.macs_per_second, 1e9),
        "memory (MB)": _short(found.peak_bytes, 1e6),
        "size on disk (MB)": _short(found.disk_bytes, 1e6),
        "measured on": clean(found.hardware),
    }
    return {name: value for name, value in values.items() if value}


def _short(number: float | None, unit: float) -> str:
    return "" if number is None else f"{number / unit:.3g}"


def _significant(number: float) -> str:
    """Write up to 3 digits and no trailing zeros."""
    digits = 0 if number >= 100 else 1 if number >= 10 else 2  # noqa: PLR2004
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
