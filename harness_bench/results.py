"""The Result record, one JSON per model, task and split: all that the leaderboard reads.

Result files come from anywhere, so the schema bounds whatever a table or a plot would choke on.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from harness_bench.files import digest_strings, write_text
from harness_bench.result_fields import (
    Digest,
    Finite,
    Line,
    Name,
    Seconds,
    Seed,
    Share,
    Text,
    field_problem,
    is_learning_rate,
    range_problems,
    refuse,
)
from harness_bench.result_parts import MODEL, Costs, Leakage, Metric
from harness_bench.untrusted import check_relative, clean, inside, read_bounded, shorten

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
MAX_BYTES = 4 << 20  # A result is a few kB; anything this large is not one.
MAX_PROBLEMS = 50  # told of one file; more help nobody
_SUM_ROUNDING = 1e-3  # layer weights may be written with four digits
_MAX_NAME = 200  # bytes of a file name without its suffix


class Result(BaseModel):
    """What one model scored on one split of one task, and everything needed to trust it."""

    model_config = MODEL

    schema_version: Literal[1] = 1
    source: Literal["measured", "reported"]
    citation: Line = ""  # where a reported figure stands
    model: Name  # the row's name
    model_kind: Literal["baseline", "random", "pretrained", "other"]
    task: Name  # ser, did, asr, ... : the downstream folder's or recipe's name
    corpus: Name
    split: Name
    synthetic: bool
    main_metric: Name
    metrics: Annotated[dict[Name, Metric], Field(min_length=1, max_length=50)]
    parameters: Annotated[int, Field(ge=0, le=10**15)] | None = None  # of the upstream alone
    costs: Costs | None = None  # of the upstream alone
    # Share of each of the upstream's hidden states in the learned weighted sum, the input first.
    layer_weights: Annotated[tuple[Share, ...], Field(max_length=500)] = ()
    checkpoint_digest: Digest | None = None
    split_digest: Digest | None = None  # digest of the sorted utterance ids
    utterances: Annotated[int, Field(ge=1, le=10**12)] | None = None
    hours: Annotated[Finite, Field(ge=0)] | None = None
    seed: Seed | None = None  # the run's; the first one where there are several
    seeds: Annotated[tuple[Seed, ...], Field(max_length=100)] = ()  # all that were averaged over
    # The grid: learning rate tried -> score on the dev set.
    learning_rates: Annotated[dict[Name, Finite], Field(max_length=200)] = {}
    normaliser: Annotated[Name, Field(pattern=r"^\S+ v\S+$")] | None = None  # "mgb2 v1"; ASR only
    pretraining_data: Text = ""  # declaration: corpora, splits and hours
    leakage: Leakage | None = None
    command: Text = ""
    training_config: Text = ""  # of what was trained on the upstream, as its tool wrote it
    hardware: Line = ""
    seconds: Seconds | None = None  # the whole run
    stage_seconds: Annotated[dict[Name, Seconds], Field(max_length=50)] = {}  # "training": 12.5
    versions: Annotated[dict[Name, Line], Field(max_length=200)] = {}  # software
    predictions: Annotated[str, Field(max_length=500)] | None = None  # relative to the file
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @field_validator("metrics")
    @classmethod
    def _in_range(cls, metrics: dict[str, Metric]) -> dict[str, Metric]:
        found = [
            f"{shorten(name, 60)}.{problem}"
            for name, metric in metrics.items()
            for problem in range_problems(
                name, metric.figures, higher_is_better=metric.higher_is_better
            )
        ]
        if found:
            raise ValueError("; ".join(found))
        return metrics

    @field_validator("learning_rates")
    @classmethod
    def _rates(cls, rates: dict[str, float]) -> dict[str, float]:
        for rate in rates:
            if not is_learning_rate(rate):
                raise ValueError(f"{shorten(rate, 40)!r} is no learning rate above 0")
        return rates

    @field_validator("predictions")
    @classmethod
    def _below(cls, path: str | None) -> str | None:
        return path if not path else check_relative(path)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.main_metric not in self.metrics:
            known = shorten(", ".join(self.metrics), 200)
            name = shorten(self.main_metric, 60)
            refuse("main_metric", f"{name!r} is none of the metrics: {known}")
        if self.source == "reported" and not clean(self.citation):
            refuse("citation", "a reported result needs a citation")
        if self.source == "measured" and any(metric.printed for metric in self.metrics.values()):
            refuse("metrics", "`printed` is for reported results alone")
        if self.layer_weights and abs(sum(self.layer_weights) - 1) > _SUM_ROUNDING:
            refuse("layer_weights", f"they add up to {sum(self.layer_weights):.6g}, not to 1")
        if self.seeds and self.seed is not None and self.seed not in self.seeds:
            refuse("seed", f"{self.seed} is none of the seeds {list(self.seeds)}")
        return self

    @property
    def main(self) -> Metric:
        """The metric that ranks."""
        return self.metrics[self.main_metric]

    @property
    def key(self) -> tuple[str, ...]:
        """What makes a result one of its kind."""
        names = (self.model, self.task, self.corpus, self.split)
        # Names that look the same are the same: an invisible character makes no second model.
        return (self.source, *map(clean, names))

    @property
    def file_name(self) -> str:
        """A file name made of model, task, corpus and split."""
        parts = (self.model, self.task, self.corpus, self.split)
        stem = ".".join(re.sub(r"[^\w+-]+", "-", part) for part in parts)
        if len(stem.encode()) > _MAX_NAME:
            cut = stem.encode()[:_MAX_NAME].decode(errors="ignore")
            stem = f"{cut}.{digest_strings(parts)[:8]}"
        return f"{stem}.json"


def save_result(result: Result, folder: Path) -> Path:
    """Write a result atomically under its own file name; return the path."""
    path = folder / result.file_name
    write_text(path, result.model_dump_json(indent=2) + "\n")
    return path


def load_result(path: Path) -> Result:
    """Read one result file, which is untrusted input.

    Raises:
        ValueError: too large, no regular file, not JSON, against the schema, or predictions
            that leave its folder; names the file and the fields.
        OSError: it cannot be read.
    """
    result, problems = read_result(path)
    if result is None:
        lines = [f"{field}: {message}" for field, message in problems[:5]]
        raise ValueError(f"{path} is not a result: " + "; ".join(lines) + ".")
    return result


def read_result(path: Path) -> tuple[Result | None, list[tuple[str, str]]]:
    """Read one result file, or tell all that is wrong with it.

    Returns:
        The result and no problem, or None and (field, message) of each problem, at most
        `MAX_PROBLEMS`; what concerns no single field has the field "file".

    Raises:
        ValueError, OSError: as `load_result`, where the file cannot be read at all.
    """
    data = read_bounded(path, MAX_BYTES)
    try:
        result = Result.model_validate_json(data, strict=True)
    except ValidationError as error:
        found = [
            field_problem(item["loc"], item["msg"], item.get("ctx", {}))
            for item in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        ]
        return None, found
    if result.predictions:
        try:
            inside(path.parent, result.predictions)
        except ValueError as error:
            return None, [("predictions", str(error))]
    return result, []


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
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | Result.model_json_schema()


def schema_text() -> str:
    """Return the published JSON Schema as text, the content of docs/result.schema.json."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"
