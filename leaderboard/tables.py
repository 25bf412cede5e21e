"""The board as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from rich.text import Text

from harness_bench.core.files import size_text
from harness_bench.core.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from harness_bench.results.record import Costs, Interval, Metric

    from .board import Board, BoardTable, ModelRow, ResultCell, SuperbScore

_CSV_FIELDS = (
    "source", "model", "model_kind", "parameters", "task", "corpus", "split", "synthetic",
    "metric", "main", "value", "spread", "low", "high", "interval", "unit", "higher_is_better",
    "place", "rank", "rank_first", "rank_last", "among", "mean_rank", "minus_best", "p_value",
    "p_holm", "paper", "minus_paper", "against_paper",
    "runtime", "parent", "minus_parent", "minus_parent_low", "minus_parent_high",
    "real_time_factor", "gpu_real_time_factor", "macs_per_second", "peak_bytes", "disk_bytes",
    "utterances", "hours", "normaliser", "seed", "leakage", "leaking", "licence", "paper_url",
    "weights_url", "homepage_url", "pretraining_data", "citation",
    "checkpoint_digest", "split_digest", "created", "file",
)  # fmt: skip
# How a spreadsheet's formula begins; the wide forms too, which East Asian settings obey.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≈": r"$\approx$", "±": r"$\pm$", "–": "--",
    "†": r"$\dagger$",
    "\u2212": "$-$",
}  # fmt: skip
NONE = "–"
LEAKS = "† leaks"  # behind a model's name; † alone behind its figures that leak
PARTIAL = "Models without a figure in every column that ranks"
SYNTHETIC = (
    "Columns marked synthetic compare the models on computer-made speech; their figures say "
    "nothing about real speech."
)
LEAKS_NOTE = f"{LEAKS}: trained on some of what it is scored on, in the columns marked †."
SCORE = (
    "Score, as SUPERB defines it: in each column 0 for FBANK and 1000 for the best model, linear "
    "between; the mean over the columns in which some model is better than FBANK, for the models "
    "that have a mean rank."
)
MILLION, THOUSAND = 10**6, 10**3
_STYLES = {1: "bold green", 2: "underline"}  # in the terminal


@dataclass(frozen=True)
class Markup:
    """How one kind of file writes a cell; `{}` stands for the figure or its interval."""

    escape: Callable[[str], str]
    places: dict[int, str]  # of the best and the second figure
    tied: str
    interval: str
    rank: str
    none: str


def _md(text: str) -> str:
    """Escape a string for Markdown, in which HTML is live."""
    safe = html.escape(clean(text), quote=False)
    return re.sub(r"([\\`*_{}\[\]#|~!])", r"\\\1", safe)


def _tex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in clean(text))


MARKDOWN = Markup(_md, {1: "**{}**", 2: "<ins>{}</ins>"}, " ≈", " {}", " <sup>{}</sup>", "–")
TEX = Markup(
    _tex,
    {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"},
    r"\,$\approx$",
    r" {{\scriptsize {}}}",
    r"\textsuperscript{{{}}}",
    "--",
)


def markdown(board: Board, plots: Iterable[tuple[str, str]] = ()) -> str:
    """Write the board as GitHub Markdown; `plots` are (alternative text, file name) pairs."""
    parts = [f"# {_md(board.title)}"]
    if board.measured.synthetic:
        parts.append(f"**Synthetic data.** {SYNTHETIC}")
    if board.hidden_leaking:
        names = ", ".join(map(_md, board.hidden_leaking))
        parts.append(f"Left out of tables and ranks, since they leak: {names}.")
    if board.not_shown:
        parts.append(_md(board.not_shown))
    for table, title in ((board.measured, "Measured"), (board.reported, "Reported elsewhere")):
        if table.rows:
            parts += [f"## {title}", *_md_rows(table), *(f"- {_md(note)}" for note in table.notes)]
    parts += _md_paper(board.measured)
    parts += [f"Built {board.built:%Y-%m-%d}."] if board.built else []
    parts += [_md(legend(board))]
    parts += [f"![{_md(text)}]({name})" for text, name in plots]
    if board.reported.rows:
        cited = "\n".join(f"- {_md(text)}" for text in board.reported.sources)
        parts += ["Sources of reported figures:", cited]
    if board.problems:
        files = [f"- {_md(name)}: {_md(why)}" for name, why in board.problems.items()]
        parts += ["## Result files left out", "\n".join(files)]
    return "\n\n".join(parts) + "\n"


def latex(board: Board) -> str:
    """Write the board as LaTeX tables for the booktabs package."""
    head = f"% {_tex(board.title)}. Needs the packages booktabs and, for other scripts, fontspec."
    if board.measured.synthetic:
        head += f"\n% Synthetic data. {SYNTHETIC}"
    if board.hidden_leaking:
        head += f"\n% Left out, since they leak: {_tex(', '.join(board.hidden_leaking))}."
    parts = [head]
    for table in (board.measured, board.reported):
        if table.rows:
            heads = _head(table, TEX)
            begin = rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}"
            lines = [f"% {table.source}", begin, r"\toprule", _tex_line(heads)]
            for rows in filter(None, (table.complete, table.partial)):
                lines.append(r"\midrule")
                if rows == table.partial:
                    lines.append(rf"\multicolumn{{{len(heads)}}}{{l}}{{\emph{{{PARTIAL}}}}} \\")
                lines += [_tex_line(_line(row, table, TEX)) for row in rows]
            lines.append(r"\bottomrule")
            if any(row.leaking for row in table.rows):
                note = rf"\footnotesize {_tex(LEAKS_NOTE)}"
                lines.append(rf"\multicolumn{{{len(heads)}}}{{l}}{{{note}}} \\")
            parts.append("\n".join([*lines, r"\end{tabular}"]))
    return "\n\n".join(parts) + "\n"


def _tex_line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def to_csv(board: Board) -> str:
    """Write one line per model, task, split and metric: everything, for further analysis."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, _CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in (*board.measured.rows, *board.reported.rows):
        whole = {"model": row.model, "mean_rank": row.mean_rank, "leaking": row.leaking}
        for cell in row.cells.values():
            for name, metric in cell.result.metrics.items():
                values = _csv_values(cell, name, metric) | whole
                writer.writerow({key: _csv_safe(value) for key, value in values.items()})
    return stream.getvalue()


def _md_rows(table: BoardTable) -> Iterator[str]:
    """Yield the table of complete models, and behind a heading that of the others."""
    head = _head(table, MARKDOWN)
    for rows in filter(None, (table.complete, table.partial)):
        if rows == table.partial:
            yield f"### {PARTIAL}"
        lines = [_line(row, table, MARKDOWN) for row in rows]
        yield _md_lines([head, ["---", *["---:"] * (len(head) - 1)], *lines])


def _head(table: BoardTable, markup: Markup) -> list[str]:
    """Return a table's head; in LaTeX its words begin with capitals."""
    words = ["model", "parameters", *["leakage"] * _shows_leakage(table, markup), "mean rank"]
    words += [f"mean rank {task.upper()}" for task in table.groups] + ["score"] * table.scored
    if markup is TEX:
        words = [word[0].upper() + word[1:] for word in words]
    return [*map(markup.escape, [*words, *(column.head for column in table.columns)])]


def _shows_leakage(table: BoardTable, markup: Markup) -> bool:
    """Reported figures are never checked here; in a paper's table the marks are enough."""
    return markup is MARKDOWN and table.source == "measured"


def _line(row: ModelRow, table: BoardTable, markup: Markup) -> list[str]:
    span = f"[{rank_span(row)}]" if row.rank_span else ""
    facts = [f"{row.model} {LEAKS}" if row.leaking else row.model, parameters(row.parameters)]
    facts += [row.leakage] * _shows_leakage(table, markup)
    facts.append(" ".join(filter(None, [mean_rank(row), span])))
    facts += [mean(row.mean_rank_in(columns)) for columns in table.groups.values()]
    facts += [score(row.score)] * table.scored
    # A paper's table has ranks where no mean rank sums them up.
    ranked = markup is MARKDOWN or not row.complete
    cells = [
        _written(row.cells.get(column), table, markup, ranked=ranked) for column in table.columns
    ]
    return [*map(markup.escape, facts), *cells]


def _written(cell: ResultCell | None, table: BoardTable, markup: Markup, *, ranked: bool) -> str:
    if cell is None:
        return markup.none
    value = markup.places.get(cell.medal, "{}").format(figure(cell.metric, table.decimals))
    marks = markup.tied * cell.tied + markup.escape("†") * cell.leaking
    span = uncertainty(cell.metric, table.decimals)
    span = _tex(span) if markup is TEX else span
    rank = markup.rank.format(markup.escape(rank_of(cell))) if ranked and rank_of(cell) else ""
    return value + marks + (markup.interval.format(span) if span else "") + rank


def _md_lines(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _md_paper(table: BoardTable) -> list[str]:
    """Write measured figures beside the paper's, where there are both."""
    lines = [
        [_md(row.model), _md(column.head), figure(cell.metric, table.decimals),
         figure(cell.paper.main, 2), signed(cell.delta or 0, 1), cell.against_paper or ""]
        for row in table.rows
        for column, cell in row.cells.items()
        if cell.paper
    ]  # fmt: skip
    if not lines:
        return []
    head = [["model", "column", "measured", "paper", "difference", "that is"],
            ["---", "---", *["---:"] * 3, "---"]]  # fmt: skip
    return ["## Beside the paper", _md_lines([*head, *lines])]


def _csv_values(cell: ResultCell, name: str, metric: Metric) -> dict[str, object]:
    result, span, main = cell.result, metric.interval, name == cell.result.main_metric
    values = {key: getattr(result, key) for key in _CSV_FIELDS if hasattr(result, key)}
    if result.costs:
        values |= result.costs.model_dump(exclude={"hardware"})
    values |= {key: getattr(metric, key) for key in ("value", "spread", "unit", "higher_is_better")}
    if span:
        values |= {"low": span.low, "high": span.high, "interval": span.method}
    if main:  # the metric that was ranked
        values |= {key: getattr(cell, key) for key in ("place", "rank", "among", "against_paper")}
        values["minus_paper"] = cell.delta
        first, last = cell.rank_span or ("", "")
        values |= {"rank_first": first, "rank_last": last}
    if main and (parent := result.exported):
        values |= {"runtime": parent.runtime, "parent": parent.parent}
        values |= {"minus_parent": parent.difference, "minus_parent_low": parent.interval.low}
        values["minus_parent_high"] = parent.interval.high
    if main and cell.best:
        values |= {"minus_best": cell.best.difference, "p_value": cell.best.p_value}
        values["p_holm"] = cell.best.p_holm
    if main and cell.paper:
        values["paper"] = cell.paper.main.value
    return values | {
        "metric": name,
        "main": main,
        "leakage": cell.leakage,
        "created": result.created.isoformat(timespec="seconds"),
        "file": cell.file.name,
    }


def _csv_safe(value: object) -> object:
    """Keep spreadsheets from taking an untrusted string for a formula."""
    if not isinstance(value, str):
        return value
    line = clean(value)
    return f"'{line}" if line.startswith(_FORMULA) else line


def render_terminal(board: Board) -> RichTable:
    """Make a rich table; names are `Text`, so that no markup in them is obeyed."""
    table = board.measured
    marks = "bold: best, underlined: second, ≈: not significantly different from the best"
    marks += "; 95 % intervals"
    marks += "; †: leaks" * any(row.leaking for row in table.rows)
    warning = "synthetic data: says nothing about real speech\n" if table.synthetic else ""
    made = RichTable("model", title=Text(board.title), caption=warning + marks)
    made.add_column("parameters", justify="right")
    for column in table.columns:
        head = f"{column.task}\n{column.corpus}\n{column.metric} {column.unit} {column.arrow}"
        made.add_column(Text(head), justify="right")
    for row in table.rows:
        cells = [_colored(row.cells.get(column), table.decimals) for column in table.columns]
        name = f"{row.model} {LEAKS}" if row.leaking else row.model
        made.add_row(Text(name), parameters(row.parameters), *cells)
    return made


def _colored(cell: ResultCell | None, decimals: int) -> Text:
    if cell is None:
        return Text(NONE, style="dim")
    made = Text(figure(cell.metric, decimals), style=_STYLES.get(cell.medal, ""))
    marks = f"{'≈' * cell.tied}{'†' * cell.leaking}" or " "
    made.append(marks, style="not bold not underline")
    made.append(uncertainty(cell.metric, decimals), style="dim not bold not underline")
    return made


def legend(board: Board) -> str:
    """Explain the marks and figures that a board has."""
    tables = board.measured, board.reported
    cells = [cell for table in tables for cell in table.cells]
    tested = any(cell.rank_span for cell in cells)
    partial = any(table.partial for table in tables)
    told = {
        "Bold: best figure of two models or more; underlined: second; raised or behind #: rank in "
        f"the column, 1 + the number of models with a {'significantly ' * tested}better figure, of "
        "all that have one there.": True,
        "≈: not significantly different from the best by the sign-flip test over clusters (p ≥ "
        "0.05 by Holm for all pairs of the column).": any(cell.tied for cell in cells),
        "[low, high]: 95 % interval over clusters.": any(cell.metric.interval for cell in cells),
        "±: standard deviation over seeds, of which the figure is the mean.":
            any(cell.metric.spread is not None for cell in cells),
        "Mean rank: mean of the ranks over the columns with two models or more.": True,
        "1–3 beside it: the ranks that the tests leave open, 95 % for all models of a column "
        "together.": tested,
        "Only a model with a figure in all these columns has a mean rank; (2/3): it has figures in "
        "2 of 3.": partial,
        f"{LEAKS}: the model was trained on some of what it is scored on, in the columns marked "
        "†.": any(cell.leaking for cell in cells),
        "Not checked: the training data were not compared with the split.":
            any(row.leakage == "not checked" for row in board.measured.rows),
        SCORE: board.scored,
    }  # fmt: skip
    return " ".join(text for text, shown in told.items() if shown)


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
    """Write an interval as [low, high], or nothing where there is none or its width is unknown."""
    return span.text(decimals) if span else ""


def uncertainty(metric: Metric, decimals: int) -> str:
    """Write how sure a figure is: ± standard deviation over seeds, [low, high]; "" if unknown."""
    spread = "" if metric.spread is None else f"± {metric.spread:.{decimals}f}"
    return " ".join(filter(None, [spread, interval(metric.interval, decimals)]))


def mean_rank(row: ModelRow) -> str:
    """Write a mean rank; a dash, and in how many of the ranking columns, where it lacks some."""
    part = "" if row.complete else f" ({row.ranked_in}/{len(row.ranking)})"
    return mean(row.mean_rank) + part


def mean(rank: float | None) -> str:
    """Write a mean rank, or a dash where there is none."""
    return NONE if rank is None else _plain(rank)


def rank_of(cell: ResultCell) -> str:
    """Write the rank in a column, 3 or 1–4 where tests leave several open; "" of one model."""
    return (rank_span(cell) or str(cell.rank)) if cell.among > 1 else ""


def rank_span(row: ModelRow | ResultCell) -> str:
    """Write the ranks that tests leave open: 1–4, 2, or nothing where there is no test."""
    if row.rank_span is None:
        return ""
    return "–".join(dict.fromkeys(map(_plain, row.rank_span)))


def _plain(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def score(found: SuperbScore | None) -> str:
    """Write SUPERB's score."""
    return NONE if found is None else f"{found.value:.0f}".replace("-", "\u2212")


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
        "memory": "" if found.peak_bytes is None else size_text(found.peak_bytes),
        "size on disk": "" if found.disk_bytes is None else size_text(found.disk_bytes),
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
