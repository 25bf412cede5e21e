"""Curves of pretraining and series of models beside the results: files that are untrusted input."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness_bench.results.record import Finite, Line, Name, read_model

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1 << 20  # 12 variants of 200 points are 100 kB.
MAX_FILES = 20  # Each is a plot of the page.
_POINTS = 1000
_Update = Annotated[int, Field(ge=0, le=10**12)]


class _Stranger(BaseModel):
    """What a file says beyond the curves is for its readers, and may grow: it is not read here."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class CurvePoints(_Stranger):
    """The points of one line: as many losses as updates."""

    updates: Annotated[tuple[_Update, ...], Field(min_length=1, max_length=_POINTS)]  # rising
    loss_bits: Annotated[tuple[Finite, ...], Field(max_length=_POINTS)]  # smoothed
    share_of_entropy: Annotated[tuple[Finite, ...], Field(max_length=_POINTS)]  # of the labels

    @model_validator(mode="after")
    def _fit(self) -> Self:
        sizes = [len(self.updates), len(self.loss_bits), len(self.share_of_entropy)]
        if len(set(sizes)) > 1:
            raise ValueError(f"updates, losses and shares must be as many, there are {sizes}")
        if any(after <= before for before, after in pairwise(self.updates)):
            raise ValueError("updates must rise from point to point")
        return self


class CurveVariant(_Stranger):
    """One line: a student, how it started and what it was taught by."""

    name: Name
    title: Name
    curve: CurvePoints


class Curves(_Stranger):
    """One comparison of pretraining runs, as `harness-bench figure2` writes it."""

    family: Name
    student: Name
    teacher: Name
    caveats: Annotated[tuple[Line, ...], Field(max_length=10)] = ()
    variants: Annotated[tuple[CurveVariant, ...], Field(min_length=1, max_length=12)]


class SeriesPoint(_Stranger):
    """One model of a series, and what it stands for."""

    model: Name
    label: Annotated[Name, Field(max_length=24)]


class Series(_Stranger):
    """Models that differ in one thing, such as students of several widths, in its order."""

    title: Name
    axis: Name  # what differs
    points: Annotated[tuple[SeriesPoint, ...], Field(min_length=2, max_length=8)]


def load_curves(folder: Path) -> tuple[list[Curves], dict[Path, str]]:
    """Read every figure2.json of a folder, by whatever name; see `_load`."""
    return _load(folder, Curves, "is no figure2.json", "`harness-bench figure2` makes one.")


def load_series(folder: Path) -> tuple[list[Series], dict[Path, str]]:
    """Read every series of models of a folder; see `_load`."""
    return _load(folder, Series, "is no series of models", "docs/leaderboard.md shows one.")


def _load[M: BaseModel](
    folder: Path, model: type[M], fault: str, way_out: str
) -> tuple[list[M], dict[Path, str]]:
    """Read every *.json of a folder, if there is one; a bad file does not affect the others.

    Returns:
        What was read in the order of file names, and the reason for each file left out.
    """
    if not folder.exists() and not folder.is_symlink():
        return [], {}
    if not folder.is_dir():
        return [], {folder: f"{folder} is no folder; its files lie in a folder of this name."}
    found: list[M] = []
    problems: dict[Path, str] = {}
    for path in sorted(folder.glob("*.json")):
        if len(found) == MAX_FILES:
            problems[path] = f"{path} is one too many: the first {MAX_FILES} are shown."
            continue
        try:
            one, wrong = read_model(path, model, MAX_BYTES)
        except (ValueError, OSError) as error:
            problems[path] = str(error)
            continue
        if one:
            found.append(one)
        else:
            lines = "; ".join(f"{field}: {message}" for field, message in wrong[:5])
            problems[path] = f"{path} {fault}: {lines}. {way_out}"
    return found, problems
