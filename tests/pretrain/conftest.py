"""A few utterances with labels, and a run small enough to train in a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness_bench.pretrain.config import IterationConfig, LabelConfig, PretrainConfig
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.store import LabelStore
from tests.models.conftest import small_config
from tests.pretrain.labels.conftest import make_cuts

if TYPE_CHECKING:
    from lhotse.cut import Cut

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
