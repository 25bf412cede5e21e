"""Known-good figures of corpora: one TOML file per corpus beside this one, with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, load
from harness_bench.core.registry import package_folder
from harness_bench.corpora.base import REFERENCE

if TYPE_CHECKING:
    from pathlib import Path

TABLE_1 = "table1"  # the file of the paper's Table 1, beside those of corpora
_NUMBER = r"^\d{1,12}(\.\d{1,6})?$"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Figure:
    """Figures of some splits taken together, such as the utterances of each dialect of train.

    Attributes:
        splits: the splits whose sum is meant; all must be there. Of shared_clusters: two splits.
        what: utterances, hours, speakers or clusters (programmes, videos); shared_clusters are
            those in both splits.
        value: of the splits as a whole, as text: as many decimals count as are given.
        field: of the cuts, with `values`, which gives the value of each class; or an annotator's
            `reference_NAME`, with `value`, for the cuts that have one.
        within_percent: for round figures; 0 takes the last decimal given.
        options: the figure holds only for a corpus prepared with these options of the corpus.
        source: where the figure is from, if not from the file's source.
    """

    splits: tuple[str, ...] = Field(min_length=1)
    what: Literal["utterances", "hours", "speakers", "clusters", "shared_clusters"]
    value: str | None = Field(default=None, pattern=_NUMBER)
    field: str | None = None
    values: dict[str, str] = Field(default_factory=dict)
    within_percent: float = Field(default=0, ge=0, le=100)
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    source: str = ""

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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Known:
    """What is known of one corpus.

    Attributes:
        source: where the figures are from.
        sampling_rate: of its audio in Hz; None: anything from 16 kHz on is as it should be.
        figures: what it has.
    """

    source: str
    sampling_rate: int | None = Field(default=None, gt=0)
    figures: tuple[Figure, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """The annotators' texts that figures speak of."""
        return tuple(each.field for each in self.figures if each.field and not each.values)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PaperRow:
    """One row of Table 1: hours as printed, empty where the paper prints a dash."""

    corpus: str  # the corpus's name here
    data: str
    train: str = Field(default="", pattern=rf"{_NUMBER}|^$")
    dev: str = Field(default="", pattern=rf"{_NUMBER}|^$")
    test: str = Field(default="", pattern=rf"{_NUMBER}|^$")
    task: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
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
