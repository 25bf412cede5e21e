"""The scores of a recipe as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.scoring.registry import metric_names
from harness_bench.scoring.texts.score import MAIN, title_of, told_rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MOST_ROWS = 60  # of a breakdown in print; the JSON has all


def as_markdown(
    title: str,
    found: Mapping[str, Mapping[str, Any]],
    called: Mapping[str, str],
    notes: Sequence[str] = (),
) -> str:
    """Write what `score_rows` gave.

    Args:
        title: the heading.
        found: profile -> figures; the first is the one that ranks, and that breakdowns are of.
        called: names of groups -> what to call them in print.
        notes: why some profiles are not there.
    """
    main = next(iter(found.values()))
    several = len(main["references"]) > 1
    lines = [f"# {title}", "", f"{main['utterances']} utterances. {_meaning(several=several)}", ""]
    ranks, _ = _ranking(main)
    head = ["profile", *_names(main), f"95 % of {ranks}"]
    lines += _table(head, [_rates(main, figures) for figures in found.values()])
    lines += ["", *_counts(main), *(f"Left out: {note}" for note in notes)]
    for name, rows in main.get("groups", {}).items():
        lines += ["", f"## By {called.get(name, name)}, profile {main['profile']}", ""]
        head = ["", "utterances", "words", *_names(main)]
        most = sorted(rows.items(), key=lambda row: (-row[1]["utterances"], row[0]))
        lines += _table(head, [_group(main, value, row) for value, row in most[:_MOST_ROWS]])
        if left := len(most) - _MOST_ROWS:
            lines += ["", f"{left} smaller ones more in the JSON."] if left > 0 else []
    return "\n".join(lines) + "\n"


def _meaning(*, several: bool) -> str:
    if not several:
        return "WER and CER in % against one reference, by jiwer."
    return (
        "All in %. WER NAME is against this annotator alone, by jiwer. AV-WER is their mean. "
        "MR-WER is another measure: a word is right if any annotator says so (Ali et al., 2015)."
    )


def _names(main: Mapping[str, Any]) -> list[str]:
    rates = told_rates(main)
    if len(main["references"]) == 1:
        return ["WER", *map(title_of, rates)]
    text = metric_names("text")  # means over the annotators
    means = [f"AV-{title_of(name)}" if name in text else title_of(name) for name in rates]
    return [*(f"WER {name}" for name in main["references"]), *means]


def _ranking(main: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the title of the metric that ranks, and its default interval."""
    several, known = len(main["references"]) > 1, main["intervals"]
    name = MAIN[several]
    return title_of(name), (known[name] if several else known[name][0])[0]


def _rates(main: Mapping[str, Any], figures: Mapping[str, Any]) -> list[str]:
    _, first = _ranking(figures)
    values = _values(main, figures)
    return [figures["profile"], *values, f"{first['low']:.2f}-{first['high']:.2f}"]


def _values(main: Mapping[str, Any], figures: Mapping[str, Any]) -> list[str]:
    values = [*figures["wer"], *(figures[name] for name in told_rates(main))]
    return ["-" if value is None else f"{value:.2f}" for value in values]


def _counts(main: Mapping[str, Any]) -> Iterable[str]:
    title, first = _ranking(main)
    counts = f"{main['ins']} ins, {main['del']} del, {main['sub']} sub, {main['cor']} cor"
    yield f"Profile {main['profile']}, {title}: {counts}."
    yield f"Intervals: {first['method']}."
    if len(main["references"]) > 1:
        costs = main["authors_costs"]
        listed = ", ".join(
            f"{name} {value:.2f}"
            for name, value in zip(main["references"], costs["wer"], strict=True)
        )
        yield (
            f"With substitution cost 2, as MR-WER's authors count single references: {listed}; "
            f"mean {costs['av_wer']:.2f}."
        )


def _group(main: Mapping[str, Any], value: str, row: Mapping[str, Any]) -> list[str]:
    words = sum(row["words"]) / len(row["words"])
    return [value, str(row["utterances"]), f"{words:.0f}", *_values(main, row)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a Markdown table whose columns line up; texts to the left, figures to the right."""
    shown = [[cell.replace("|", "/") for cell in row] for row in (head, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*shown, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in shown]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [f"| {' | '.join(row)} |" for row in (lines[0], rule, *lines[1:])]
