"""The kinds of fields of a result, bounded, and what figures can be.

A share of a whole ends at 100 %, an error rate does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from harness_bench.untrusted import clean, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping


def _visible(text: str) -> str:
    """Refuse a name of which nothing is left to show."""
    if not clean(text):
        raise ValueError("it has no visible character")
    return text


Name = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_visible)]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Seconds = Annotated[Finite, Field(ge=0)]
Share = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]
Line = Annotated[str, Field(max_length=500)]
Text = Annotated[str, Field(max_length=20_000)]
Digest = Annotated[str, Field(max_length=200)]

_ROUNDING = 1e-9  # A mean of shares that are all 100 may come out a hair above it.
_SHARES = ("accuracy", "macro_f1", "uar", "f1", "precision", "recall")
_SHARES_OF_ERROR = ("calibration_error", "ece")
_ERROR_RATES = (
    "wer",
    "cer",
    "av_wer",
    "av_cer",
    "mr_wer",
)  # Insertions count, so there is no upper end.


@dataclass(frozen=True)
class Range:
    """What a metric in per cent can be, and which direction is better."""

    high: float
    higher_is_better: bool


_RANGES = {
    **dict.fromkeys(_SHARES, Range(100, higher_is_better=True)),
    **dict.fromkeys(_SHARES_OF_ERROR, Range(100, higher_is_better=False)),
    **dict.fromkeys(_ERROR_RATES, Range(float("inf"), higher_is_better=False)),
}


def range_problems(name: str, figures: Mapping[str, float], *, higher_is_better: bool) -> list[str]:
    """Check a metric against what one of its name can be; other names are free.

    Args:
        name: of the metric; a text profile may follow an error rate's name, as in `wer_none`.
        figures: field -> figure in per cent: the value and the ends of its intervals.
        higher_is_better: as the result says.

    Returns:
        One sentence for each figure or direction that cannot be.
    """
    shown = clean(name)  # an invisible character makes no other metric
    known = _RANGES.get(shown) or next(
        (_RANGES[rate] for rate in _ERROR_RATES if shown.startswith(f"{rate}_")), None
    )
    if known is None:
        return []
    limit = "0 or more" if known.high > 100 else f"between 0 and {known.high}"  # noqa: PLR2004
    found = [
        f"{field} is {figure}, it must be {limit}"
        for field, figure in figures.items()
        if not -_ROUNDING <= figure <= known.high + _ROUNDING
    ]
    if higher_is_better is not known.higher_is_better:
        found.append(f"higher_is_better must be {str(known.higher_is_better).lower()}")
    return found


def is_learning_rate(text: str) -> bool:
    """Tell whether a text is a finite number above 0."""
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def refuse(field: str, message: str) -> NoReturn:
    """Refuse values that do not go together, by the name of the field to change."""
    raise PydanticCustomError("inconsistent", "{message}", {"field": field, "message": message})


def field_problem(
    where: tuple[int | str, ...], message: str, context: dict[str, Any]
) -> tuple[str, str]:
    """Return the field's dotted name and the message, both fit to be shown."""
    parts = [str(part) for part in where if part != "[key]"]
    if "message" in context:  # made by `refuse`
        parts.append(str(context["field"]))
    return shorten(".".join(parts), 120) or "file", clean(message).removeprefix("Value error, ")
