"""The scores of a recipe as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MOST_ROWS = 60  # of a breakdown in print; the JSON has all


def as_markdown(
    title: str,
    found: Mapping[str, Mapping[str, Any]],
    called: Mapping[str, str],
    notes: Sequence[str] = (),
) -> str:
    """Write what `asr.score_joined` gave.

    Args:
        title: the heading.
        found: profile -> figures; the first is the one that ranks, and that breakdowns are of.
        called: names of groups -> what to call them in print.
        notes: why some profiles are not there.
    """
    main = next(iter(found.values()))
    several = len(main["references"]) > 1
    lines = [f"# {title}", "", f"{main['utterances']} utterances. {_meaning(several=several)}", ""]
    lines += _table(_head(main), [_rates(figures) for figures in found.values()])
    lines += ["", *_counts(main), *(f"Left out: {note}" for note in notes)]
    for name, rows in main.get("groups", {}).items():
        lines += ["", f"## By {called.get(name, name)}, profile {main['profile']}", ""]
        head = ["", "utterances", "words", *_names(main)]
        most = sorted(rows.items(), key=lambda row: (-row[1]["utterances"], row[0]))
        lines += _table(head, [_group(value, row) for value, row in most[:_MOST_ROWS]])
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
    if len(main["references"]) == 1:
        return ["WER", "CER"]
    return [*(f"WER {name}" for name in main["references"]), "AV-WER", "MR-WER", "AV-CER"]


def _head(main: Mapping[str, Any]) -> list[str]:
    ranks = _ranking(main)
    return ["profile", *_names(main), f"95 % of {'MR-WER' if ranks == 'mr_wer' else 'WER'}"]


def _ranking(main: Mapping[str, Any]) -> str:
    return "mr_wer" if len(main["references"]) > 1 else "wer"


def _rates(figures: Mapping[str, Any]) -> list[str]:
    known = figures["intervals"]
    first = (known["wer"][0] if _ranking(figures) == "wer" else known["mr_wer"])[0]
    return [figures["profile"], *_values(figures), f"{first['low']:.2f}-{first['high']:.2f}"]


def _values(figures: Mapping[str, Any]) -> list[str]:
    if len(figures["wer"]) == 1:
        values = [*figures["wer"], figures["cer"]]
    else:
        values = [*figures["wer"], figures["av_wer"], figures["mr_wer"], figures["cer"]]
    return ["-" if value is None else f"{value:.2f}" for value in values]


def _counts(main: Mapping[str, Any]) -> Iterable[str]:
    """Tell counts, the interval's units, and what MR-WER's authors print."""
    several = len(main["references"]) > 1
    counts = f"{main['ins']} ins, {main['del']} del, {main['sub']} sub, {main['cor']} cor"
    yield f"Profile {main['profile']}, {'MR-WER' if several else 'WER'}: {counts}."
    ranks = _ranking(main)
    first = (main["intervals"]["wer"][0] if ranks == "wer" else main["intervals"]["mr_wer"])[0]
    yield f"Intervals: {first['method']}."
    if several:
        costs = main["authors_costs"]
        listed = ", ".join(
            f"{name} {value:.2f}"
            for name, value in zip(main["references"], costs["wer"], strict=True)
        )
        yield (
            f"With substitution cost 2, as MR-WER's authors count single references: {listed}; "
            f"mean {costs['av_wer']:.2f}."
        )


def _group(value: str, row: Mapping[str, Any]) -> list[str]:
    words = sum(row["words"]) / len(row["words"])
    return [value, str(row["utterances"]), f"{words:.0f}", *_values(row)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a Markdown table whose columns line up; texts to the left, figures to the right."""
    shown = [[cell.replace("|", "/") for cell in row] for row in (head, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*shown, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in shown]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [f"| {' | '.join(row)} |" for row in (lines[0], rule, *lines[1:])]
