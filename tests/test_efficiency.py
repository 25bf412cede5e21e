"""Costs stand beside scores in every comparison: they must be the model's and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file

from harness_bench.efficiency import Efficiency, against_teacher, compare_costs, render
from harness_bench.models.checkpoint import save_random
from harness_bench.result_parts import Metric
from harness_bench.results import Result
from tests.models.conftest import small_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A student of one block and its teacher of eight, wide enough to be felt."""
    root = tmp_path_factory.mktemp("checkpoints")
    wide = {"encoder_embed_dim": 256, "encoder_ffn_embed_dim": 1024}
    for name, layers in (("student", 1), ("teacher", 8)):
        save_random(root / name, small_config(encoder_layers=layers, **wide), seed=0)
    return root / "student", root / "teacher"


def test_costs_are_those_of_the_folder(folders: tuple[Path, Path]) -> None:
    """Parameters and bytes are counted, and the larger model takes more of everything."""
    student, teacher = folders
    first, second = compare_costs([student], teacher)
    tensors = load_file(student / "model.safetensors")
    assert second.parameters == sum(tensor.numel() for tensor in tensors.values())
    assert second.disk_bytes == (student / "model.safetensors").stat().st_size
    assert second.compression == pytest.approx(1 - second.parameters / first.parameters)
    assert first.macs_per_second > second.macs_per_second
    assert first.real_time_factor > second.real_time_factor > 0
    assert first.peak_bytes > 4 * first.parameters
    assert first.compression is None
    assert "RTF (CPU)" in render([first, second])


COSTS = Efficiency("teacher", 100, 400, 1e9, 0.1, 1000, None)


def result(model: str, task: str, value: float, **more: Any) -> Result:
    metric = Metric(value=value, higher_is_better=task != "asr")
    return Result(
        source="measured", model=model, model_kind="pretrained", task=task, corpus="c",
        **({"split": "test"} | more), main_metric="m", metrics={"m": metric}, synthetic=False,
    )  # fmt: skip


def test_retention_is_the_share_of_the_teachers_score() -> None:
    """Accuracies as they are, error rates as what is right; dev figures and strangers are none."""
    results = [
        result("teacher", "did", 80.0), result("student", "did", 60.0),
        result("teacher", "asr", 20.0), result("student", "asr", 60.0),
        result("student", "ser", 50.0),
        result("student", "did", 10.0, split="dev"),
    ]  # fmt: skip
    found = against_teacher(replace(COSTS, name="student", parameters=25), COSTS, results)
    assert found.compression == pytest.approx(0.75)
    assert found.retention == pytest.approx({"did/c": 0.75, "asr/c": 0.5})


def test_mistakes_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name one with --teacher"):
        compare_costs([tmp_path], results=tmp_path)
    with pytest.raises(ValueError, match="not a checkpoint folder"):
        compare_costs([tmp_path])
