"""Settings of the classification tasks: the `downstream_expert` part of their config.yaml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT
from harness_bench.core.skipped import MAX_SKIPPED

BEST = "dev-best.ckpt"  # s3prl's name for the checkpoint that dev chose
PATIENCE = "patience"  # of the config's part `runner`: evaluations of dev without a better one
DIVERGED = "diverged.json"  # of a training that ended because a figure was not finite
METRICS = "metrics.jsonl"  # of every evaluation; beside it:
CLASSES = "classes.json"  # what the head was trained to tell apart; read outside training

type UnknownLabels = Literal["error", "skip"]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]


def predictions_name(split: str) -> str:
    """Return the name of a split's predictions in an experiment folder."""
    return f"predictions.{split}.jsonl"


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Which utterances and labels a task reads, and how."""

    cuts: Path  # prepared folder with cuts.train, cuts.dev and cuts.test
    label_field: Annotated[str, Field(min_length=1)]
    train_batch_size: Count = 4
    eval_batch_size: Count = 4
    num_workers: NonNegative = 0  # 0 lets waveforms stay in memory between epochs
    unknown_labels: UnknownLabels = "error"  # labels that the train split lacks
    waveform_cache_mb: NonNegative = 1024
    # Share of utterances whose audio cannot be used; more than that is an error.
    max_skipped: Annotated[float, Field(ge=0, le=1)] = MAX_SKIPPED


@dataclass(frozen=True, config=STRICT)
class HeadConfig:
    """The paper's head: projector, temporal CNN, self-attention pooling, FF layer, output."""

    # "batch" standardises each feature dimension over the valid frames before the projector. The
    # paper does not, and needs 10,000 steps; short probes of features with a common offset (an
    # untrained model's above all) stay at chance for thousands of steps without it.
    input_norm: Literal["none", "batch"] = "none"
    hidden: Count = 80
    conv_layers: Count = 3
    kernel_size: Count = 5
    # s3prl's own head first averages over kernel_size frames (in its emotion task once every 5
    # frames); the paper names no such layer. 0 leaves it out.
    average: NonNegative = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4


@dataclass(frozen=True, config=STRICT)
class ClassifierConfig:
    """All of `downstream_expert`."""

    datarc: DataConfig
    modelrc: HeadConfig = Field(default_factory=HeadConfig)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinearConfig:
    """Classifiers of scikit-learn that a linear probe tries."""

    classifier: Literal["linear", "knn"] = "linear"  # logistic regression, nearest neighbours
    segments: Annotated[int, Field(ge=1, le=64)] = 4  # 1: the mean of the whole utterance
    # Inverse strengths of regularisation, of features of unit variance.
    c: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (
        1e-4, 1e-3, 1e-2, 1e-1, 1.0,
    )  # fmt: skip
    neighbours: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (
        1, 3, 10, 30,
    )  # fmt: skip
    max_iter: Annotated[int, Field(ge=1)] = 1000
