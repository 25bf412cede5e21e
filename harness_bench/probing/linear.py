"""Linear probes: no training noise, seconds a model; a classifier of scikit-learn on pooled states.

Every hidden state is averaged over equal segments of the utterance. Its classifier is fitted on
train; dev chooses the hidden state and the strength of regularisation, or the number of neighbours.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import replace
from pathlib import Path  # pydantic reads the annotations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, build, resolved
from harness_bench.core.log import say, steps
from harness_bench.core.skipped import PATTERN as SKIPPED
from harness_bench.core.workdir import WorkDir, versions
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.probing.head.config import DataConfig, LinearConfig, predictions_name
from harness_bench.probing.head.data import learn_classes, prediction_rows, read_split
from harness_bench.probing.probe import (
    SPLITS,
    check_labels,
    packaged_settings,
    split_digests,
    with_checkpoint,
)
from harness_bench.probing.s3prl import hook, hub
from harness_bench.probing.s3prl.frames import shape_of_upstream
from harness_bench.results.predictions import write_predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from harness_bench.models.frozen import ModelShape
    from harness_bench.probing.head.data import LabelledCuts
    from harness_bench.probing.probe import Subject
    from harness_bench.results.predictions import ClassPrediction

type Classifier = Any  # scikit-learn has no types


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinearOutcome:
    """What dev chose, and where the predictions stand."""

    layer: int  # hidden state, 0 is the input of the first block
    name: Literal["C", "neighbours"]
    setting: float  # the inverse strength of regularisation, or the number of neighbours
    dev: dict[int, float]  # hidden state -> accuracy on dev in per cent, of its best setting
    dev_predictions: Path
    test_predictions: Path
    seconds: float


class Pooled(NamedTuple):
    """One split, ready for a classifier."""

    states: NDArray[np.float32]  # (hidden states, utterances, segments * dim)
    data: LabelledCuts


class Fitted(NamedTuple):
    """One classifier and what dev says of it."""

    layer: int  # hidden state, 0 is the input of the first block
    setting: float  # C, or the number of neighbours
    correct: float  # share of dev
    classifier: Classifier


def run_linear(subject: Subject, out: Path, config: LinearConfig) -> LinearOutcome:
    """Fit classifiers, test the one that dev chooses, or return the outcome that `out` holds.

    Args:
        subject: upstream, checkpoint, task and cuts.
        out: folder for the predictions of dev and test and what `WorkDir` notes.
        config: what is tried.

    Raises:
        ValueError: an unknown task or upstream, missing splits, labels that train lacks or a
            folder that is no checkpoint.
    """
    checkpoint = with_checkpoint(subject).checkpoint
    field = label_field(subject)
    work = WorkDir(out, {
        "upstream": subject.upstream,
        "checkpoint": "" if checkpoint is None else checkpoint_digest(checkpoint),
        "label_field": field,
        "config": resolved(config),
        **({} if subject.unknown_labels == "error" else {"unknown_labels": "skip"}),
        **split_digests(subject.cuts),
        "versions": versions(),
    })  # fmt: skip
    files = {f"{split}_predictions": out / predictions_name(split) for split in ("dev", "test")}
    with work.lock():  # two commands may want the same figures
        if not (work.finished and all(path.is_file() for path in files.values())):
            work.begin((SKIPPED,), config=config, seed=0)
            work.finish(_probed(subject, field, checkpoint, out, config))
    return build(LinearOutcome, {**work.outcome, **files}, source=str(out))


def label_field(subject: Subject, names: Sequence[str] = SPLITS) -> str:
    """Return the field of the labels; a task or a split that is not there is a ValueError."""
    task = packaged_settings(subject, names)["downstream_expert"]["datarc"]
    return subject.label_field or str(task["label_field"])


def _probed(
    subject: Subject, field: str, checkpoint: Path | None, out: Path, config: LinearConfig
) -> dict[str, Any]:
    """Write the predictions of dev and test; return the fields of the outcome but their paths."""
    begun = time.monotonic()
    # Every utterance is read once: no waveform is kept.
    data = DataConfig(
        cuts=subject.cuts, label_field=field, waveform_cache_mb=0,
        unknown_labels=subject.unknown_labels,
    )  # fmt: skip
    check_labels(subject)
    classes = learn_classes(subject.cuts, field)
    encode = open_encoder(subject.upstream, checkpoint)
    splits = (
        read_split(split, config=data, classes=classes, report_in=out, shape=encode.shape)
        for split in SPLITS
    )
    train, dev, test = (pool_split(each, encode, config.segments) for each in splits)
    fitted = fit(train, dev, config)
    if config.classifier == "linear" and fitted[0].setting in (min(config.c), max(config.c)):
        say(f"C = {fitted[0].setting:g} is an end of those tried: a wider `c` may do better.")
    for name, split in (("dev", dev), ("test", test)):
        write_predictions(out / predictions_name(name), predictions(fitted[0], split, classes))
    return {
        "layer": fitted[0].layer,
        "name": "neighbours" if config.classifier == "knn" else "C",
        "setting": fitted[0].setting,
        "dev": best_of_layers(fitted),
        "seconds": time.monotonic() - begun,
    }


@dataclasses.dataclass(frozen=True)
class UpstreamEncoder:
    """A frozen upstream: (samples,) float32 at 16 kHz -> (frames, dim) of each hidden state."""

    model: Any
    device: torch.device
    shape: ModelShape

    def __call__(self, waveform: Tensor) -> list[Tensor]:
        """Compute one utterance."""
        return [states[0] for states in self.model([waveform.to(self.device)])["hidden_states"]]


def open_encoder(upstream: str, checkpoint: Path | None) -> UpstreamEncoder:
    """Open an upstream by the name that `-u` takes, frozen, on a GPU where there is one."""
    hook.activate()
    given: dict[str, Any] = {} if checkpoint is None else {"ckpt": str(checkpoint)}
    if upstream in hub.own_names():
        given["cache_mb"] = 0  # every utterance is computed once: the memory would never be read
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = getattr(hub, upstream)(**given).to(device).eval()
    return UpstreamEncoder(model, device, shape_of_upstream(model))


def pool(states: Tensor, segments: int) -> Tensor:
    """Average (layers, frames, dim) over equal segments -> (layers, segments * dim).

    Where there are fewer frames than segments, neighbouring segments share a frame.
    """
    return F.adaptive_avg_pool1d(states.transpose(1, 2), segments).flatten(1)


def pool_split(
    data: LabelledCuts, encode: Callable[[Tensor], Sequence[Tensor]], segments: int
) -> Pooled:
    """Compute and pool a split.

    Args:
        data: utterances.
        encode: (samples,) float32 at 16 kHz -> hidden states (frames, dim), one a layer; their
            widths may differ.
        segments: see `pool`.
    """
    with torch.inference_mode():
        rows = [
            torch.stack([pool(state[None].float(), segments)[0] for state in encode(item.waveform)])
            for item in map(data.__getitem__, range(len(data)))
        ]
    for cut, row in zip(data.cuts, rows, strict=True):
        if not bool(row.isfinite().all()):
            raise ValueError(
                f"The upstream's features of {cut.id!r} are not finite: nothing can be learned "
                "from them. Is its checkpoint broken?"
            )
    return Pooled(torch.stack(rows, dim=1).cpu().numpy(), data)


def fit(train: Pooled, dev: Pooled, config: LinearConfig) -> list[Fitted]:
    """Fit a classifier for every hidden state and setting, the best on dev first.

    Raises:
        ValueError: fewer utterances than the smallest number of neighbours.
    """
    found = []
    if config.classifier == "knn":
        config = _with_neighbours(config, len(train.data.labels))
    layers = list(enumerate(zip(train.states, dev.states, strict=True)))
    shown = steps(layers, title="Fitting hidden states", name=lambda each: f"state {each[0]}")
    for layer, (states, held_out) in shown:
        for setting, classifier in _classifiers(config):
            classifier.fit(states, train.data.labels)
            correct = float(np.mean(classifier.predict(held_out) == np.array(dev.data.labels)))
            found.append(Fitted(layer, setting, correct, classifier))
    return sorted(found, key=lambda each: -each.correct)  # stable: the first of equal ones


def best_of_layers(fitted: Sequence[Fitted]) -> dict[int, float]:
    """Return hidden state -> accuracy on dev in per cent, of its best setting."""
    layers = sorted({each.layer for each in fitted})
    return {
        layer: 100 * max(each.correct for each in fitted if each.layer == layer) for layer in layers
    }


def _classifiers(config: LinearConfig) -> Iterator[tuple[float, Classifier]]:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second
    from sklearn.neighbors import KNeighborsClassifier  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    if config.classifier == "knn":
        for count in config.neighbours:
            neighbours = KNeighborsClassifier(count, metric="cosine")
            yield count, make_pipeline(StandardScaler(), neighbours)
    else:
        for strength in config.c:
            logistic = LogisticRegression(C=strength, max_iter=config.max_iter)
            yield strength, make_pipeline(StandardScaler(), logistic)


def _with_neighbours(config: LinearConfig, utterances: int) -> LinearConfig:
    """Leave out numbers of neighbours that a train split lacks; none left is a `ValueError`."""
    found = tuple(count for count in config.neighbours if count <= utterances)
    if not found:
        raise ValueError(
            f"neighbours = {list(config.neighbours)}, but train has {utterances} utterances; give "
            "a number that is not larger"
        )
    if left_out := sorted({*config.neighbours} - {*found}):
        say(f"Train has {utterances} utterances: not tried are neighbours = {left_out}.")
    return replace(config, neighbours=found)


def predictions(fitted: Fitted, split: Pooled, classes: Sequence[str]) -> list[ClassPrediction]:
    """Return what a classifier says of a split; `classes` are the names of the labels' numbers."""
    data, shares = split.data, fitted.classifier.predict_proba(split.states[fitted.layer])
    truths, preds = ([classes[n] for n in each] for each in (data.labels, shares.argmax(1)))
    ids = [cut.id for cut in data.cuts]
    columns = (ids, truths, preds, shares.tolist(), data.groups)
    return prediction_rows(*columns, classes=classes, tags=data.tags)
