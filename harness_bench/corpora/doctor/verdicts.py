"""Compare what was counted with what is known of a corpus, figure by figure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.corpora.doctor.tally import CLASS_FIELDS, Share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness_bench.corpora.doctor.known import Figure, Known
    from harness_bench.corpora.doctor.tally import Tally

type Verdict = Literal["equal", "differs", "cannot tell"]


@dataclass(frozen=True)
class Line:
    """One figure beside the known one."""

    what: str
    known: str
    counted: str  # empty where nothing could be counted
    verdict: Verdict
    detail: str
    source: str


class _NotCheckable(Exception):  # noqa: N818 - no error: the folder does not tell
    """A figure cannot be counted; says why."""


def judge(
    known: Known, tallies: Mapping[str, Tally], options: Mapping[str, Any] | None
) -> list[Line]:
    """Compare all figures that are known of a corpus.

    Args:
        known: of this corpus.
        tallies: split -> what was counted of it.
        options: the corpus's options that it was prepared with, defaults filled in; None where
            that is not known.
    """
    return [
        line for figure in known.figures for line in _lines(figure, known.source, tallies, options)
    ]


def agreement(known: str, counted: float, within_percent: float = 0) -> tuple[Verdict, str]:
    """Compare a number with one as printed; return the verdict and the difference in words.

    Equal means: no more than half a unit of the last decimal printed apart, or within so many
    percent.

    >>> agreement("10.01", 10.0149)
    ('equal', '')
    >>> agreement("200", 190)
    ('differs', 'differs by -10 (-5.0 %)')
    """
    printed = Decimal(known)
    places = max(0, -int(printed.as_tuple().exponent))
    wanted, difference = float(printed), counted - float(printed)
    slack = max(0.5 * 10**-places, wanted * within_percent / 100)
    # Counts have no half units, and hours are floats: an exact half is still the printed figure.
    exact = isinstance(counted, int) and not within_percent
    if (difference == 0) if exact else (abs(difference) <= slack + 1e-9):
        return "equal", f"to {within_percent:g} %" if within_percent else ""
    share = f" ({100 * difference / wanted:+.1f} %)" if wanted else ""
    shown = f"{difference:+,.0f}" if isinstance(counted, int) else f"{difference:+,.{places + 1}f}"
    return "differs", f"differs by {shown}{share}"


def shown(counted: float, known: str) -> str:
    """Print a count whole, hours with one decimal more than the known figure has."""
    if isinstance(counted, int):
        return f"{counted:,}"
    return f"{counted:,.{len(known.partition('.')[2]) + 1}f}"


def _lines(
    figure: Figure, source: str, tallies: Mapping[str, Tally], options: Mapping[str, Any] | None
) -> Iterator[Line]:
    wanted = figure.values or {"": figure.value or ""}
    for name, value in wanted.items():
        what = _title(figure, name)
        where = figure.source or source
        try:
            _check_options(figure, options)
            counted = _counted(figure, name, tallies)
        except _NotCheckable as why:
            yield Line(what, value, "", "cannot tell", str(why), where)
            continue
        verdict, detail = agreement(value, counted, figure.within_percent)
        yield Line(what, value, shown(counted, value), verdict, detail, where)


def _title(figure: Figure, name: str) -> str:
    part = f", {figure.field} {name}".rstrip() if figure.field else ""
    return f"{' + '.join(figure.splits)}: {figure.what.replace('_', ' ')}{part}"


def _check_options(figure: Figure, options: Mapping[str, Any] | None) -> None:
    """Refuse figures of a corpus that was prepared in another way."""
    if figure.options and options is None:
        raise _NotCheckable("the folder does not say with which options it was prepared")
    for name, value in figure.options.items():
        assert options is not None, "checked above"
        if options.get(name) != value:
            raise _NotCheckable(f"holds with {name}={value}; prepared with {options.get(name)}")


def _counted(figure: Figure, name: str, tallies: Mapping[str, Tally]) -> float:
    """Count what a figure speaks of; an int for counts, a float for hours."""
    if absent := [split for split in figure.splits if split not in tallies]:
        raise _NotCheckable(f"there is no split {', '.join(absent)}")
    shares = [_share(tallies[split], figure, name) for split in figure.splits]
    if figure.what == "shared_clusters":
        first, second = (share.clusters for share in shares)
        if not first or not second:
            raise _NotCheckable("the cuts have no cluster")
        return len(first & second)
    whole = Share()
    for share in shares:
        whole = whole.merged(share)
    counts: dict[str, float] = {
        "utterances": whole.utterances,
        "hours": whole.hours,
        "speakers": len(whole.speakers),
        "clusters": len(whole.clusters),
    }
    counted = counts[figure.what]
    if not counted and figure.what in {"speakers", "clusters"} and whole.utterances:
        raise _NotCheckable(f"the cuts have no {figure.what[:-1]}")
    return counted


def _share(tally: Tally, figure: Figure, name: str) -> Share:
    if figure.field is None:
        return tally.whole
    if not name:
        return tally.having(figure.field)
    if figure.field in CLASS_FIELDS:
        known = tally.classes[figure.field]
        if known:
            return known.get(name, Share())
    raise _NotCheckable(f"the cuts have no {figure.field}, or of too many values")
