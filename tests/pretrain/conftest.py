"""A few utterances with labels, and runs small enough to train in a second."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lhotse.cut import Cut

from harness_bench.core.fabric import make_fabric
from harness_bench.models.checkpoint import load_hubert
from harness_bench.pretrain import trainer
from harness_bench.pretrain.config import (
    FamilyConfig,
    IterationConfig,
    LabelConfig,
    PretrainConfig,
    load_family,
)
from harness_bench.pretrain.data.batches import BatchMaker, MaskedBatch
from harness_bench.pretrain.data.cut_source import CutSource, as_source
from harness_bench.pretrain.data.loader import BatchStream, make_loader
from harness_bench.pretrain.data.stream import AudioStream
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.store import Labels, LabelStore
from tests.models.conftest import small_config
from tests.pretrain.labels.conftest import make_cuts

type Train = Callable[..., Path]
LABELS = LabelConfig(source="mfcc", clusters=10, kmeans_iterations=3)


def small_step(**changes: Any) -> IterationConfig:
    settings: dict[str, Any] = {
        "max_update": 12, "max_seconds": 4.0, "max_sample_size": 24_000, "num_buckets": 2,
        "final_dim": 16, "lr": 2e-3, "pred_nomask_weight": 0.5, "log_interval": 3,
        "save_interval_updates": 5, "num_workers": 0,
    }  # fmt: skip
    return IterationConfig(
        name="small",
        model=small_config(dropout=0.1),
        labels=LABELS,
        pretrain=PretrainConfig(**{**settings, **changes}),
    )


@pytest.fixture(scope="session")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> list[Cut]:
    rng = np.random.default_rng(5)
    lengths = [int(length) for length in rng.integers(5_000, 40_000, size=20)]
    return make_cuts(tmp_path_factory.mktemp("pretrain-audio"), lengths)


@pytest.fixture(scope="session")
def labels(cuts: list[Cut], tmp_path_factory: pytest.TempPathFactory) -> LabelStore:
    return LabelStore(make_labels(cuts, tmp_path_factory.mktemp("labels"), LABELS).folder)


@pytest.fixture(scope="session")
def train(cuts: list[Cut], labels: LabelStore) -> Train:
    """Train an iteration into a folder, on the CPU, and return its checkpoint."""
    cpu = {"labels": labels, "fabric": make_fabric(accelerator="cpu")}
    return lambda step, out, **options: trainer.pretrain(step, cuts, out=out, **{**cpu, **options})


def batches_of_block(
    source: Sequence[Cut] | CutSource, labels: Labels, config: PretrainConfig, *, block: int = 0,
    taken: int = 0, rank: int = 0, ranks: int = 1, channels: int = 0,
) -> list[MaskedBatch]:  # fmt: skip
    """Return the batches of one block, which of audio as little as here is an epoch."""
    stream = AudioStream(as_source(source), config, rank, ranks)
    maker = BatchMaker(stream.source, labels, config, channels)
    position = stream.start()
    for _ in range(block):
        position = stream.block(position).after
    made = BatchStream(stream, maker, position._replace(taken=taken))
    loader = make_loader(made, config.num_workers)
    return list(itertools.takewhile(lambda batch: batch.position[0] == block, loader))


def at_batch(number: int, what: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen before the backward pass of this batch of a training."""
    real, calls = trainer._backward, itertools.count(1)

    def backward(*arguments: Any, **options: Any) -> Any:
        if next(calls) == number:
            what()
        return real(*arguments, **options)

    monkeypatch.setattr(trainer, "_backward", backward)


def die() -> None:
    raise KeyboardInterrupt


def written(folder: Path, text: str) -> FamilyConfig:
    (folder / "family.toml").write_text(text)
    return load_family(folder / "family.toml")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_hubert(folder).state_dict()


def equal(one: Path, other: Path) -> bool:
    """Whether the weights of two checkpoints are the same to the last bit."""
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)
