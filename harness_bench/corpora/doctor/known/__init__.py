"""Known-good figures of corpora, one TOML file each, and counts held against them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass

from harness_bench.core.config import STRICT, load
from harness_bench.core.registry import package_folder
from harness_bench.corpora.base import REFERENCE
from harness_bench.corpora.doctor.tally import CLASS_FIELDS, Share

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.corpora.doctor.tally import Tally

TABLE_1 = "table1"  # the file of the paper's Table 1, beside those of corpora
_NUMBER = r"^\d{1,12}(\.\d{1,6})?$"


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class Figure:
    """Figures of some splits taken together, such as the utterances of each dialect of train."""

    splits: tuple[str, ...] = Field(min_length=1)  # all must be there
    # Clusters are programmes or videos; shared_clusters are those in both of two splits.
    what: Literal["utterances", "hours", "speakers", "clusters", "shared_clusters"]
    # Of the splits as a whole, as text: as many decimals count as are given.
    value: str | None = Field(default=None, pattern=_NUMBER)
    # Of the cuts, with the value of each class in `values`; or an annotator's `reference_NAME`,
    # with `value`, for the cuts that have one.
    field: str | None = None
    values: dict[str, str] = Field(default_factory=dict)
    # For round figures; 0 takes the last decimal given.
    within_percent: float = Field(default=0, ge=0, le=100)
    # The figure holds only for a corpus prepared with these options of the corpus.
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    source: str = ""  # if not the file's

    def __post_init__(self) -> None:
        """Check that there is something to compare, and by which field."""
        if bool(self.values) == (self.value is not None):
            raise ValueError(f"give either value or values (what = {self.what!r})")
        if self.values and not self.field:
            raise ValueError(f"values {sorted(self.values)} need the field they are of")
        if self.field and not self.values and not self.field.startswith(REFERENCE):
            raise ValueError(f"field {self.field!r} needs values, one for each of its classes")
        if self.what == "shared_clusters" and len(self.splits) != 2:  # noqa: PLR2004 - a pair
            raise ValueError(f"shared_clusters takes two splits, not {self.splits}")


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class Known:
    """What is known of one corpus."""

    source: str  # where the figures are from
    # Of its audio in Hz; None: anything from 16 kHz on is as it should be.
    sampling_rate: int | None = Field(default=None, gt=0)
    figures: tuple[Figure, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """The annotators' texts that figures speak of."""
        return tuple(each.field for each in self.figures if each.field and not each.values)


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class PaperRow:
    """One row of Table 1: hours as printed, empty where the paper prints a dash."""

    corpus: str  # the corpus's name here
    data: str
    train: str = Field(default="", pattern=rf"{_NUMBER}|^$")
    dev: str = Field(default="", pattern=rf"{_NUMBER}|^$")
    test: str = Field(default="", pattern=rf"{_NUMBER}|^$")
    task: str


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class PaperTable:
    """The paper's Table 1, rows in its order."""

    source: str
    rows: tuple[PaperRow, ...] = Field(min_length=1)


def of_corpus(name: str | None) -> Known | None:
    """Return what is known of a corpus; None where nothing is, or no corpus is named."""
    if name is None or name == TABLE_1 or not (path := file_of(name)).is_file():
        return None
    return load(Known, path)


def file_of(name: str) -> Path:
    """Return where the figures of a corpus stand, or would stand."""
    return package_folder(__name__) / f"{name}.toml"


def table_1() -> PaperTable:
    """Return the paper's Table 1."""
    return load(PaperTable, file_of(TABLE_1))


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
    """Compare all figures that are known of a corpus with what was counted of each split.

    `options` are those that it was prepared with, defaults filled in; None: not known.
    """
    lines = []
    for figure in known.figures:
        splits, source = " + ".join(figure.splits), figure.source or known.source
        for name, value in (figure.values or {"": figure.value or ""}).items():
            part = f", {figure.field} {name}".rstrip() if figure.field else ""
            what = f"{splits}: {figure.what.replace('_', ' ')}{part}"
            try:
                _check_options(figure, options)
                counted = _counted(figure, name, tallies)
            except _NotCheckable as why:
                lines.append(Line(what, value, "", "cannot tell", str(why), source))
                continue
            told = agreement(value, counted, figure.within_percent)
            lines.append(Line(what, value, _shown(counted, value), *told, source))
    return lines


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


def _shown(counted: float, known: str) -> str:
    """Print a count whole, hours with one decimal more than the known figure has."""
    if isinstance(counted, int):
        return f"{counted:,}"
    return f"{counted:,.{len(known.partition('.')[2]) + 1}f}"


def _check_options(figure: Figure, options: Mapping[str, Any] | None) -> None:
    """Refuse figures of a corpus that was prepared in another way."""
    if figure.options and options is None:
        raise _NotCheckable("the folder does not say with which options it was prepared")
    for name, value in figure.options.items():
        if (given := (options or {}).get(name)) != value:
            raise _NotCheckable(f"holds with {name}={value}; prepared with {given}")


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
    whole = reduce(Share.merged, shares)
    counted = whole.figures()[figure.what]
    if not counted and figure.what in {"speakers", "clusters"} and whole.utterances:
        raise _NotCheckable(f"the cuts have no {figure.what[:-1]}")
    return counted


def _share(tally: Tally, figure: Figure, name: str) -> Share:
    if figure.field is None:
        return tally.whole
    if not name:
        return tally.having(figure.field)
    if figure.field in CLASS_FIELDS and (known := tally.classes[figure.field]):
        return known.get(name, Share())
    raise _NotCheckable(f"the cuts have no {figure.field}, or of too many values")
