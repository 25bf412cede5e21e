"""The Result record, one JSON per model, task and split: all that the leaderboard reads.

Result files come from anywhere, so the schema bounds whatever a table or a plot would choke on.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness_bench.files import write_text

SCHEMA_VERSION = 1
MAX_BYTES = 4 << 20  # A result is a few kB; anything this large is not one.

Name = Annotated[str, Field(min_length=1, max_length=120)]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
_MODEL = ConfigDict(extra="forbid", frozen=True)


class Interval(BaseModel):
    """A confidence interval and how it was made."""

    model_config = _MODEL

    low: Finite
    high: Finite
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    method: Name  # such as "cluster bootstrap over 6 speakers, 10000 resamples"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the interval's low end {self.low} is above its high end {self.high}")
        return self


class Metric(BaseModel):
    """One figure: value in `unit`, interval where it was measured, direction of better."""

    model_config = _MODEL

    value: Finite
    higher_is_better: bool
    unit: Name = "%"
    interval: Interval | None = None
    # Further intervals by other resampling units, such as by utterance; never the default.
    other_intervals: Annotated[tuple[Interval, ...], Field(max_length=10)] = ()

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.interval and not self.interval.low <= self.value <= self.interval.high:
            raise ValueError(
                f"the value {self.value} lies outside its interval "
                f"[{self.interval.low}, {self.interval.high}]"
            )
        return self


class Result(BaseModel):
    """What one model scored on one split of one task, and everything needed to trust it."""

    model_config = _MODEL

    schema_version: Literal[1] = 1
    source: Literal["measured", "reported"]
    citation: Annotated[str, Field(max_length=500)] = ""  # where a reported figure stands
    model: Name  # the row's name
    model_kind: Literal["baseline", "random", "pretrained", "other"]
    task: Name  # ser, did, asr, ... : the downstream folder's or recipe's name
    corpus: Name
    split: Name
    synthetic: bool
    main_metric: Name
    metrics: Annotated[dict[Name, Metric], Field(min_length=1, max_length=50)]
    parameters: Annotated[int, Field(ge=0, le=10**15)] | None = None  # of the upstream alone
    checkpoint_digest: str | None = None
    split_digest: str | None = None  # digest of the sorted utterance ids
    utterances: Annotated[int, Field(ge=1, le=10**12)] | None = None
    hours: Annotated[Finite, Field(ge=0)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    learning_rates: dict[str, Finite] = Field(default_factory=dict)  # tried -> dev score
    normaliser: str | None = None  # profile and version, ASR only
    pretraining_data: str = ""
    command: str = ""
    hardware: str = ""
    seconds: Annotated[Finite, Field(ge=0)] | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    predictions: str | None = None  # relative to the result file
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.main_metric not in self.metrics:
            known = ", ".join(self.metrics)
            raise ValueError(f"main_metric {self.main_metric!r} is none of the metrics: {known}")
        if self.source == "reported" and not self.citation:
            raise ValueError("a reported result needs a citation")
        if self.predictions and (
            Path(self.predictions).is_absolute() or ".." in Path(self.predictions).parts
        ):
            raise ValueError(
                f"predictions {self.predictions!r} must stay below the result's folder"
            )
        return self

    @property
    def main(self) -> Metric:
        """The metric that ranks."""
        return self.metrics[self.main_metric]

    @property
    def key(self) -> tuple[str, ...]:
        """What makes a result one of its kind."""
        return (self.source, self.model, self.task, self.corpus, self.split)

    @property
    def file_name(self) -> str:
        """A file name made of model, task, corpus and split."""
        parts = (self.model, self.task, self.corpus, self.split)
        return ".".join(re.sub(r"[^A-Za-z0-9_+-]+", "-", part) for part in parts) + ".json"


def save_result(result: Result, folder: Path) -> Path:
    """Write a result atomically under its own file name; return the path."""
    path = folder / result.file_name
    write_text(path, result.model_dump_json(indent=2) + "\n")
    return path


def load_result(path: Path) -> Result:
    """Read one result file, which is untrusted input.

    Raises:
        ValueError: too large, not JSON, or against the schema; names the file and the field.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path} has {size} bytes; a result has at most {MAX_BYTES}.")
    try:
        return Result.model_validate_json(path.read_bytes())
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5]
        ]
        raise ValueError(f"{path} is not a result: " + "; ".join(lines) + ".") from None


def load_results(folder: Path) -> tuple[dict[Path, Result], dict[Path, str]]:
    """Read every *.json of a folder; a bad file never hides the others.

    Returns:
        The results by file, in the order of file names, and the reason for each file left out:
        broken, against the schema, or a second file for the same model, task, corpus and split.

    Raises:
        ValueError: there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no results folder {folder}; score something first.")
    found: dict[Path, Result] = {}
    problems: dict[Path, str] = {}
    seen: dict[tuple[str, ...], Path] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = load_result(path)
        except (ValueError, OSError) as error:
            problems[path] = str(error)
            continue
        first = seen.setdefault(result.key, path)
        if first is path:
            found[path] = result
        else:
            problems[path] = f"{path} repeats the model, task, corpus and split of {first.name}."
    return found, problems


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a result file, for other tools that write or check one."""
    return Result.model_json_schema()
