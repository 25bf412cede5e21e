"""The parts of a result: figures with intervals, what training and scoring share, costs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness_bench.result_fields import Finite, Line, Name, Text, refuse

MODEL = ConfigDict(extra="forbid", frozen=True)
_Count = Annotated[int, Field(ge=0, le=10**18)]
_Amount = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e18)]


class Interval(BaseModel):
    """A confidence interval and how it was made."""

    model_config = MODEL

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

    model_config = MODEL

    value: Finite
    higher_is_better: bool
    unit: Name = "%"
    interval: Interval | None = None
    # Further intervals by other resampling units, such as by utterance; never the default.
    other_intervals: Annotated[tuple[Interval, ...], Field(max_length=10)] = ()
    # Sample standard deviation over the seeds of which `value` is the mean.
    spread: Annotated[Finite, Field(ge=0)] | None = None
    # A reported figure digit by digit as its source prints it, where that is not two decimals.
    printed: Annotated[str, Field(pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$")] | None = None

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for span in (self.interval, *self.other_intervals):
            if span and not span.low <= self.value <= span.high:
                refuse(
                    "interval" if span is self.interval else "other_intervals",
                    f"the value {self.value} lies outside its interval [{span.low}, {span.high}]",
                )
        if self.printed is not None and float(self.printed) != self.value:
            refuse("printed", f"{self.printed} is not the value {self.value}")
        return self

    @property
    def figures(self) -> dict[str, float]:
        """The value and the ends of all intervals, by field."""
        spans = {"interval": self.interval} if self.interval else {}
        spans |= {f"other_intervals.{i}": span for i, span in enumerate(self.other_intervals)}
        found = {"value": self.value}
        for field, span in spans.items():
            found |= {f"{field}.low": span.low, f"{field}.high": span.high}
        return found


class Leakage(BaseModel):
    """Whether what the model was trained on shares anything with the split it was scored on."""

    model_config = MODEL

    verdict: Literal["clean", "shared", "not checked"]
    compared_with: Annotated[tuple[Name, ...], Field(max_length=50)] = ()  # sets of utterances
    detail: Text = ""  # what is shared: speakers, recordings, audio or texts, and how much


class Costs(BaseModel):
    """What running the model costs; measured by `harness-bench efficiency`, see docs/scoring.md."""

    model_config = MODEL

    real_time_factor: _Amount | None = None  # CPU seconds per second of audio, one thread
    gpu_real_time_factor: _Amount | None = None  # wall seconds per second of audio
    macs_per_second: _Amount | None = None  # multiply-adds per second of audio
    peak_bytes: _Count | None = None  # memory that loading and running the model adds
    disk_bytes: _Count | None = None  # of the weights
    hardware: Line = ""  # where the times and the memory were measured
