"""The Result record, one JSON per model, task and split: all that the leaderboard reads.

Result files come from anywhere, so the schema bounds whatever a table or a plot would choke on.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from harness_bench.core.files import digest_file, digest_strings, write_text
from harness_bench.core.log import say
from harness_bench.core.sanitize import (
    LINK,
    canonical,
    check_link,
    check_relative,
    clean,
    inside,
    read_bounded,
    shorten,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails


def _visible(text: str) -> str:
    if not canonical(text):
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
Link = Annotated[
    str, Field(max_length=500, json_schema_extra={"pattern": LINK}), AfterValidator(check_link)
]
_ROUNDING = 1e-9  # A mean of shares that are all 100 may come out a hair above it.
_SHARES = ("accuracy", "macro_f1", "uar", "f1", "precision", "recall")
_SHARES_OF_ERROR = ("calibration_error", "ece")
_ERROR_RATES = ("wer", "cer", "av_wer", "av_cer", "mr_wer")  # insertions count: no upper end
# Metric in per cent -> its highest value, and whether higher is better.
_RANGES = {
    **dict.fromkeys(_SHARES, (100, True)),
    **dict.fromkeys(_SHARES_OF_ERROR, (100, False)),
    **dict.fromkeys(_ERROR_RATES, (float("inf"), False)),
}


def range_problems(name: str, figures: Mapping[str, float], *, higher_is_better: bool) -> list[str]:
    """Return a sentence for each figure (field -> per cent), and direction, that cannot be.

    A text profile may follow an error rate's name, as in `wer_none`; other names are free.
    """
    shown = canonical(name)  # an invisible character makes no other metric
    known = _RANGES.get(shown) or next(
        (_RANGES[rate] for rate in _ERROR_RATES if shown.startswith(f"{rate}_")), None
    )
    if known is None:
        return []
    high, up = known
    limit = "0 or more" if high > 100 else f"between 0 and {high}"  # noqa: PLR2004
    found = [
        f"{field} is {figure}, it must be {limit}"
        for field, figure in figures.items()
        if not -_ROUNDING <= figure <= high + _ROUNDING
    ]
    if higher_is_better is not up:
        found.append(f"higher_is_better must be {str(up).lower()}")
    return found


def _refuse(field: str, message: str) -> NoReturn:
    """Refuse values that do not go together, by the name of the field to change."""
    raise PydanticCustomError("inconsistent", "{message}", {"field": field, "message": message})


def _field_problem(error: ErrorDetails) -> tuple[str, str]:
    """Return the field's dotted name and the message, both fit to be shown."""
    parts = [*(part for part in error["loc"] if part != "[key]")]
    parts += [field] if (field := error.get("ctx", {}).get("field")) else []  # made by `_refuse`
    name = shorten(".".join(map(str, parts)), 120) or "file"
    return name, clean(error["msg"]).removeprefix("Value error, ")


MODEL = ConfigDict(extra="forbid", frozen=True)
_Count = Annotated[int, Field(ge=0, le=10**18)]
_Amount = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e18)]


class Interval(BaseModel):
    """A confidence interval and its method."""

    model_config = MODEL

    low: Finite
    high: Finite
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    method: Name  # such as "jackknife over 6 clusters, t with 4.8 df"

    @property
    def is_known(self) -> bool:
        """Whether it says anything: one utterance alone, or units all alike, have no width."""
        return self.low < self.high

    def text(self, decimals: int) -> str:
        """Write it as [low, high]; nothing where it says nothing."""
        return f"[{self.low:.{decimals}f}, {self.high:.{decimals}f}]" if self.is_known else ""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the interval's low end {self.low} is above its high end {self.high}")
        return self


class Metric(BaseModel):
    """One score: value in `unit`, interval if it was measured, and which direction is better."""

    model_config = MODEL

    value: Finite
    higher_is_better: bool
    unit: Name = "%"
    interval: Interval | None = None
    # Further intervals by other units, such as by utterance; never the default.
    other_intervals: Annotated[tuple[Interval, ...], Field(max_length=10)] = ()
    # Sample standard deviation over the seeds of which `value` is the mean.
    spread: Annotated[Finite, Field(ge=0)] | None = None
    # A reported score digit by digit as its source prints it, if it does not have two decimals.
    printed: Annotated[str, Field(pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$")] | None = None
    # Confirms that a value of at most 1 % is in per cent, not a fraction such as 0.31 for 31 %.
    is_percent: bool = False

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for span in (self.interval, *self.other_intervals):
            if span and not span.low <= self.value <= span.high:
                _refuse(
                    "interval" if span is self.interval else "other_intervals",
                    f"the value {self.value} lies outside its interval [{span.low}, {span.high}]",
                )
        if self.printed is not None and float(self.printed) != self.value:
            _refuse("printed", f"{self.printed} is not the value {self.value}")
        return self

    @property
    def figures(self) -> dict[str, float]:
        """The value and the ends of all intervals, by field."""
        named = {f"other_intervals.{i}": span for i, span in enumerate(self.other_intervals)}
        ends = {
            f"{field}.{end}": getattr(span, end)
            for field, span in ({"interval": self.interval} | named).items()
            if span
            for end in ("low", "high")
        }
        return {"value": self.value} | ends


class Leakage(BaseModel):
    """Whether the training data share anything with the split that was scored."""

    model_config = MODEL

    verdict: Literal["clean", "shared", "not checked"]
    compared_with: Annotated[tuple[Name, ...], Field(max_length=50)] = ()  # sets of utterances
    detail: Text = ""  # what is shared: speakers, recordings, audio or texts, and how much


class Costs(BaseModel):
    """Speed, memory and size of a model, by `harness-bench efficiency`; see docs/scoring.md."""

    model_config = MODEL

    real_time_factor: _Amount | None = None  # CPU seconds per second of audio, one thread
    gpu_real_time_factor: _Amount | None = None  # wall seconds per second of audio
    macs_per_second: _Amount | None = None  # multiply-adds per second of audio
    peak_bytes: _Count | None = None  # memory that loading and running the model adds
    disk_bytes: _Count | None = None  # of the weights
    hardware: Line = ""  # where the times and the memory were measured


class Exported(BaseModel):
    """How an exported graph differs from its parent model."""

    model_config = MODEL

    runtime: Literal["onnx", "onnx-int8", "torchscript"]
    parent: Name  # name of its leaderboard row
    parent_digest: Digest  # of the head or ASR model
    max_difference: _Amount  # largest difference of any output value
    # Of the main metric, this minus the parent's on the same utterances; of ASR, by greedy CTC.
    difference: Finite
    interval: Interval  # of the difference, paired


SCHEMA_VERSION = 2  # 2 adds licence, paper_url, weights_url, homepage_url, metrics.*.is_percent
MAX_BYTES = 4 << 20  # A result is a few kB; anything this large is not one.
MAX_PROBLEMS = 50  # reported per file
_SUM_ROUNDING = 1e-3  # layer weights may be written with four digits
_MAX_NAME = 200  # bytes of a file name without its suffix


class Result(BaseModel):
    """The scores of one model on one split of one task, with their provenance."""

    model_config = MODEL

    # A file of version 1 is read as one of 2 that lacks what 2 adds, and is written as such.
    schema_version: Annotated[Literal[1, 2], AfterValidator(lambda _: SCHEMA_VERSION)] = 2
    source: Literal["measured", "reported"]
    citation: Line = ""  # source of a reported score
    model: Name  # name of the leaderboard row
    model_kind: Literal["baseline", "random", "pretrained", "other"]
    task: Name  # ser, did, asr, ... : the downstream folder's or recipe's name
    # The head, if it is not the task's own: "linear", "knn".
    head: Annotated[str, Field(max_length=40, pattern=r"^[a-z0-9-]*$")] = ""
    corpus: Name
    split: Name
    synthetic: bool
    main_metric: Name
    metrics: Annotated[dict[Name, Metric], Field(min_length=1, max_length=50)]
    parameters: Annotated[int, Field(ge=0, le=10**15)] | None = None  # of the upstream only
    costs: Costs | None = None  # of the upstream only; of an exported graph, all of it
    exported: Exported | None = None
    # Share of each of the upstream's hidden states in the learned weighted sum, the input first.
    layer_weights: Annotated[tuple[Share, ...], Field(max_length=500)] = ()
    checkpoint_digest: Digest | None = None
    checkpoint_source: Line = ""  # OWNER/NAME@COMMIT, if it came from the Hugging Face Hub
    split_digest: Digest | None = None  # digest of the sorted utterance ids
    utterances: Annotated[int, Field(ge=1, le=10**12)] | None = None
    hours: Annotated[Finite, Field(ge=0)] | None = None
    seed: Seed | None = None  # the run's; the first of several
    seeds: Annotated[tuple[Seed, ...], Field(max_length=100)] = ()  # all that were averaged over
    # The grid: learning rate tried -> score on the dev set.
    learning_rates: Annotated[dict[Name, Finite], Field(max_length=200)] = {}
    normaliser: Annotated[Name, Field(pattern=r"^\S+ v\S+$")] | None = None  # "mgb2 v1"; ASR only
    pretraining_data: Text = ""  # declaration: corpora, splits and hours
    licence: Annotated[str, Field(max_length=120)] = ""  # of the weights: SPDX's name, or a line
    paper_url: Link | None = None
    weights_url: Link | None = None  # where the weights can be downloaded
    homepage_url: Link | None = None
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
            for name, one in metrics.items()
            for problem in range_problems(name, one.figures, higher_is_better=one.higher_is_better)
        ]
        if found:
            raise ValueError("; ".join(found))
        return metrics

    @field_validator("learning_rates")
    @classmethod
    def _rates(cls, rates: dict[str, float]) -> dict[str, float]:
        for rate in rates:
            with suppress(ValueError):
                if 0 < float(rate) < float("inf"):
                    continue
            raise ValueError(f"{shorten(rate, 40)!r} is not a learning rate above 0")
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
            _refuse("main_metric", f"{name!r} is none of the metrics: {known}")
        if self.source == "reported" and not clean(self.citation):
            _refuse("citation", "a reported result needs a citation")
        if self.source == "measured" and any(metric.printed for metric in self.metrics.values()):
            _refuse("metrics", "`printed` is only for reported results")
        if self.layer_weights and abs(sum(self.layer_weights) - 1) > _SUM_ROUNDING:
            _refuse("layer_weights", f"they add up to {sum(self.layer_weights):.6g}, not to 1")
        if self.seeds and self.seed is not None and self.seed not in self.seeds:
            _refuse("seed", f"{self.seed} is none of the seeds {list(self.seeds)}")
        return self

    @property
    def main(self) -> Metric:
        """The metric that ranks."""
        return self.metrics[self.main_metric]

    @property
    def leaks(self) -> bool:
        """Whether the model was trained on some of what it is scored on."""
        return self.leakage is not None and self.leakage.verdict == "shared"

    @property
    def key(self) -> tuple[str, ...]:
        """What makes a result one of its kind."""
        names = (self.model, self.task, self.corpus, self.split, self.head)
        # Names that look the same are the same: no second model by an invisible character or NFD.
        return (self.source, *map(canonical, names))

    @property
    def file_name(self) -> str:
        """A file name made of model, task, corpus, split and, unless it is the task's own, head."""
        names = (self.model, self.task, self.corpus, self.split, *filter(None, [self.head]))
        parts = tuple(map(canonical, names))
        stem = ".".join(re.sub(r"[^\w+-]+", "-", part) for part in parts)
        if len(stem.encode()) > _MAX_NAME:
            cut = stem.encode()[:_MAX_NAME].decode(errors="ignore")
            stem = f"{cut}.{digest_strings(parts)[:8]}"
        return f"{stem}.json"


def save_result(result: Result, folder: Path) -> Path:
    """Write a result atomically under its own file name; return the path."""
    path = folder / result.file_name
    write_result(path, result)
    return path


def write_result(path: Path, result: Result) -> None:
    """Write a result atomically."""
    write_text(path, result.model_dump_json(indent=2) + "\n")


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


def read_model[M: BaseModel](
    path: Path, model: type[M], limit: int
) -> tuple[M | None, list[tuple[str, str]]]:
    """Read an untrusted JSON file, or tell at most `MAX_PROBLEMS`; errors as of `read_bounded`."""
    data = read_bounded(path, limit)
    try:
        return model.model_validate_json(data, strict=True), []
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
        return None, [*map(_field_problem, items)]


def read_result(path: Path) -> tuple[Result | None, list[tuple[str, str]]]:
    """Read one result file, or list (field, message) of all that is wrong with it.

    What concerns no single field has the field "file"; errors are those of `read_bounded`.
    """
    result, found = read_model(path, Result, MAX_BYTES)
    if result and result.predictions:
        try:
            inside(path.parent, result.predictions)
        except ValueError as error:
            return None, [("predictions", str(error))]
    return result, found


def fraction_problems(result: Result) -> list[tuple[str, str]]:
    """Return (field, question) of each figure in per cent that may be meant as a fraction.

    That is one above 0 and at most 1. Beyond doubt is one whose author says `is_percent`, that its
    source prints so, a share whose interval ends above 1, and one with predictions, from which the
    board scores it again.
    """
    if result.source == "measured" and result.predictions:
        return []
    another = "`printed`" if result.source == "reported" else "the predictions"
    asked = (
        "{} may be a fraction, and figures are per cent: write {:.6g}; or if it is right, "
        "`is_percent`: true beside it, or add {}"
    )
    return [
        (f"metrics.{shorten(name, 60)}.value", asked.format(one.value, 100 * one.value, another))
        for name, one in result.metrics.items()
        if may_be_fraction(name, one)
    ]


def asked_back(path: Path, doubts: Sequence[tuple[str, str]]) -> str:
    """Say what a file is asked, of the (field, question) pairs of its doubts."""
    return f"{path} is asked back: {'; '.join(map(': '.join, doubts))}."


def may_be_fraction(name: str, metric: Metric) -> bool:
    """Tell whether a figure in per cent is so small that a fraction may be meant."""
    if metric.unit != "%" or not 0 < metric.value <= 1 or metric.is_percent or metric.printed:
        return False
    share = canonical(name) in _SHARES + _SHARES_OF_ERROR
    return not (share and max(metric.figures.values()) > 1 + _ROUNDING)


def spelled_like(result: Result, other: Result) -> Result:
    """Return a result with the names of another of the same key, which look the same.

    A file that says no time of its own has that of the other, too.
    """
    names = ["model", "task", "corpus", "split", "head"]
    names += ["created"] * ("created" not in result.model_fields_set & other.model_fields_set)
    return result.model_copy(update={name: getattr(other, name) for name in names})


def is_copy(file: Path, result: Result, other_file: Path, other: Result) -> bool:
    """Tell whether two files of one key hold the same result and predictions, by any path."""
    alike = spelled_like(result, other).model_copy(update={"predictions": other.predictions})
    paths = predictions_path(file, result), predictions_path(other_file, other)
    return alike == other and same_content(*paths)


def predictions_path(file: Path, result: Result) -> Path | None:
    """Return the path of the predictions that a result in a file names, if it names any."""
    return inside(file.parent, result.predictions) if result.predictions else None


def same_content(first: Path | None, second: Path | None) -> bool:
    """Tell whether two files hold the same; no file is the same as no file."""
    if first == second or first is None or second is None:
        return first == second
    return first.is_file() and second.is_file() and digest_file(first) == digest_file(second)


def load_results(folder: Path) -> tuple[dict[Path, Result], dict[Path, str]]:
    """Read every *.json of a folder; return file -> result, and file -> why it was left out.

    A file is left out if it is unreadable, violates the schema, has a score that may be a fraction,
    or is a second one for the same model, task, corpus and split. The others are not affected. A
    copy of another file counts once, with a message in the log.
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
        if doubts := fraction_problems(result):
            problems[path] = asked_back(path, doubts)
            continue
        first = seen.setdefault(result.key, path)
        if first is path:
            found[path] = result
        elif is_copy(path, result, first, found[first]):
            say(f"{path.name} holds the same as {first.name}: it counts once.")
        else:
            problems[path] = f"{path} repeats the model, task, corpus and split of {first.name}."
    return found, problems


def schema_text() -> str:
    """Return the JSON Schema of a result file, the content of docs/result.schema.json."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(head | Result.model_json_schema(), ensure_ascii=False, indent=2) + "\n"
