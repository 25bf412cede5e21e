"""A probe's subject, its settings and its outcome."""

from __future__ import annotations

from pathlib import Path  # pydantic reads the annotations
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.models.layers import Layers

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Subject:
    """What is probed: an upstream on a task."""

    upstream: str  # any name that `-u` takes
    checkpoint: Path | None  # the upstream's folder; None where it has none
    task: str  # a folder under `downstream/`
    cuts: Path  # prepared, with train, dev and test
    label_field: str | None = None  # None: the task's own


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeConfig:
    """How a head is trained; the defaults are the paper's where it gives them."""

    total_steps: Count = 10_000
    eval_step: Count = 500
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3  # the paper gives none
    batch_size: Count = 4
    eval_batch_size: Count = 4
    input_norm: Literal["none", "batch"] = "none"  # see HeadConfig; "batch" for short probes
    layers: Layers = "weighted"  # of the hidden states: learned sum, plain mean, or one of them
    hidden: Count = 80
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1337
    # Test at every dev evaluation instead of in a second process: the same figures (a test says
    # so), one process start less, worth it for probes of a minute or less.
    test_in_training: bool = False
    feature_cache_mb: Annotated[int, Field(ge=0)] = 1024

    def __post_init__(self) -> None:
        """Check what no single field can."""
        if self.eval_step > self.total_steps:
            raise ValueError(
                f"eval_step = {self.eval_step} is larger than total_steps = {self.total_steps}: "
                "dev would never be evaluated and no head be chosen. Lower eval_step"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeOutcome:
    """What a probe left behind; written last, so a folder that has it is whole."""

    key: str  # digest of everything that decides the outcome
    dev_predictions: Path
    test_predictions: Path  # not there unless `tested`
    checkpoint: Path
    commands: tuple[str, ...]
    best_step: int
    layer_weights: tuple[float, ...]  # of the learned sum, adding up to 1; else empty
    train_seconds: float
    test_seconds: float
    tested: bool = True
