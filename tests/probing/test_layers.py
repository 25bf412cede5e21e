"""The paper's plain mean of the hidden states, beside s3prl's learned sum."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness_bench.core.files import read_jsonl
from harness_bench.probing.s3prl.layers import choose_layers, layers_of, refuse_unheeded
from tests.probing.resume_runs import load
from tests.probing.trainings import run_trainings

MEAN = "config.runner.layers=mean"


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, tone_corpus: Path
) -> Path:
    """Train 12 steps each way, in one process, and 12 more on the sum that was learned."""
    folder = tmp_path_factory.mktemp("layers")
    (folder / "mean.toml").write_text('[feature_cache]\nstates = "mean"\n')
    ways = {
        "learned": "",
        "mean": MEAN,
        "one feature": f"-g {folder}/mean.toml",
        "mean, begun with a learned sum": f"-i {folder}/learned/states-12.ckpt {MEAN} "
        "config.runner.total_steps=24",
    }
    return run_trainings(folder, tiny_checkpoint, tone_corpus, ways).folder


def losses(folder: Path, name: str) -> list[float]:
    """Return every loss that a run logged."""
    return [row["loss"] for row in read_jsonl(folder / name / "metrics.jsonl")]


def weights(folder: Path, name: str, step: int = 12) -> Any:
    """Return the numbers whose softmax weighs the layers."""
    return load(folder / name / f"states-{step}.ckpt")["Featurizer"]["weights"]


@pytest.mark.s3prl
def test_the_mean_is_that_of_the_features(folder: Path) -> None:
    """The oracle takes the mean in the upstream, where s3prl sees one feature and weighs none.

    `-i` brings the weights of a learned sum; a mean is a mean.
    """
    assert losses(folder, "mean") == pytest.approx(losses(folder, "one feature"), rel=2e-6)
    assert not weights(folder, "mean").any()
    assert not weights(folder, "mean, begun with a learned sum", 24).any()


@pytest.mark.s3prl
def test_the_sum_is_learned_where_nothing_is_said(folder: Path) -> None:
    """Both begin with the mean, so that only later losses tell them apart."""
    assert weights(folder, "learned").any()
    assert losses(folder, "learned")[0] == losses(folder, "mean")[0]
    assert losses(folder, "learned")[-1] != losses(folder, "mean")[-1]


class Runner:
    """Stands in for s3prl's: takes note of what would be trained when a model is set up."""

    def __init__(self, **settings: str) -> None:
        self.config = {"runner": settings}

    def _init_model(self, model: Any, name: str, _trainable: bool, _interfaces: Any) -> Any:  # noqa: FBT001
        return SimpleNamespace(
            name=name, trained=any(each.requires_grad for each in model.parameters())
        )


@pytest.fixture
def runner_module() -> Any:
    """Return a module with a runner that chooses layers."""
    module = SimpleNamespace(Runner=type("Runner", (Runner,), {}))
    choose_layers(module)
    choose_layers(module)
    return module


@pytest.mark.parametrize(
    ("settings", "name", "trained"),
    [
        ({"layers": "mean"}, "Featurizer", False),
        ({"layers": "mean"}, "Downstream", True),
        ({"layers": "weighted"}, "Featurizer", True),
        ({}, "Featurizer", True),
    ],
)
def test_only_the_sum_is_frozen_and_in_time(
    settings: dict[str, str],
    name: str,
    trained: bool,  # noqa: FBT001
    runner_module: Any,
) -> None:
    """With several processes s3prl waits for the gradients of all that it wraps as trained."""
    model = torch.nn.Linear(2, 2)
    entry = runner_module.Runner(**settings)._init_model(model, name, True, None)  # noqa: FBT003
    assert entry.trained == trained


def test_other_words_are_refused(runner_module: Any) -> None:
    """A typing error must not mean the default."""
    with pytest.raises(ValueError, match=r"layers = 'average'; expected weighted .* or mean"):
        layers_of({"layers": "average"})
    model = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="-l NUMBER"):
        runner_module.Runner(layers=3)._init_model(model, "Featurizer", True, None)  # noqa: FBT003


def test_a_runner_that_would_learn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our folders, copied into a checkout, also run under s3prl's own command."""
    stock = SimpleNamespace(Runner=type("Runner", (Runner,), {}))
    monkeypatch.setitem(sys.modules, "s3prl.downstream.runner", stock)
    refuse_unheeded({"layers": "weighted"})
    with pytest.raises(ValueError, match=r"'patience': 3.*own runner"):
        refuse_unheeded({"patience": 3})
    with pytest.raises(ValueError, match=r"'layers': 'mean'.*own runner"):
        refuse_unheeded({"layers": "mean"})
    choose_layers(stock)
    refuse_unheeded({"layers": "mean"})
