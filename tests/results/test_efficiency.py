"""Costs stand beside scores in every comparison: they must be the model's and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file

from harness_bench.core.files import read_json
from harness_bench.models.checkpoint import save_random
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.results import efficiency as measuring
from harness_bench.results.efficiency import (
    Efficiency,
    against_teacher,
    compare_costs,
    cost_checks,
    render,
    write_into,
)
from harness_bench.results.record import Metric, Result
from tests.models.conftest import small_config
from tests.results.conftest import put

if TYPE_CHECKING:
    from pathlib import Path

BALLAST = 2**30  # bytes


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A student of one block and its teacher of eight, wide enough to be felt."""
    root = tmp_path_factory.mktemp("checkpoints")
    wide = {"encoder_embed_dim": 256, "encoder_ffn_embed_dim": 1024}
    for name, layers in (("student", 1), ("teacher", 8)):
        save_random(root / name, small_config(encoder_layers=layers, **wide), seed=0)
    return root / "student", root / "teacher"


@pytest.fixture(scope="module")
def measured(folders: tuple[Path, Path]) -> list[Efficiency]:
    """The teacher and the student, measured from a process that itself needs a gigabyte."""
    student, teacher = folders
    ballast = bytearray(BALLAST)
    ballast[::4096] = b"\1" * len(ballast[::4096])  # touched, so that it is resident
    return compare_costs([student], teacher)


def test_costs_are_those_of_the_folder(
    folders: tuple[Path, Path], measured: list[Efficiency]
) -> None:
    """Parameters and bytes are counted, and the larger model takes more of everything."""
    first, second = measured
    weights = folders[0] / "model.safetensors"
    assert second.parameters == sum(tensor.numel() for tensor in load_file(weights).values())
    assert second.disk_bytes == weights.stat().st_size
    assert second.compression == pytest.approx(1 - second.parameters / first.parameters)
    assert first.macs_per_second > second.macs_per_second
    assert first.real_time_factor > second.real_time_factor > 0
    assert first.peak_bytes > 4 * first.parameters
    assert first.compression is None
    assert second.checkpoint_digest == checkpoint_digest(folders[0])
    assert "CPU cores" in second.hardware
    assert "RTF (CPU)" in render([first, second])


def test_memory_is_the_models_whoever_measures(measured: list[Efficiency]) -> None:
    """Linux hands a process's peak down to those it starts; no model may get it."""
    assert all(row.peak_bytes < BALLAST / 2 for row in measured)


DIGEST = "e" * 32
COSTS = Efficiency("teacher", 100, 400, 1e9, 0.1, 1000, None, "a machine", DIGEST)


def result(model: str, task: str, value: float, **more: Any) -> Result:
    metric = Metric(value=value, higher_is_better=task != "asr")
    return Result(
        source="measured", model=model, model_kind="pretrained", task=task, corpus="c",
        **({"split": "test"} | more), main_metric="m", metrics={"m": metric}, synthetic=False,
    )  # fmt: skip


def test_costs_as_lines_of_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that cannot be run fails the check instead of ending the table."""
    (failed,) = cost_checks(tmp_path)
    assert (failed.verdict, str(tmp_path) in failed.figure) == ("fail", True)
    monkeypatch.setattr(measuring, "efficiency", lambda _: COSTS)
    assert [line.value for line in cost_checks(tmp_path)] == [0.1, 1000, 1e9]


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


def test_heads_are_compared_with_their_like() -> None:
    """A student's CNN head beside its teacher's linear probe says nothing of the models."""
    results = [
        result("teacher", "did", 80.0, head="linear"), result("student", "did", 20.0),
        result("student", "did", 60.0, head="linear"),
    ]  # fmt: skip
    found = against_teacher(replace(COSTS, name="student"), COSTS, results)
    assert found.retention == pytest.approx({"did/linear/c": 0.75})


def test_a_results_digest_goes_before_its_models_name() -> None:
    """Another checkpoint of the same name has other scores; another name changes none."""
    student = replace(COSTS, name="student", checkpoint_digest="d" * 32)
    results = [
        result("teacher", "did", 80.0),
        result("student", "did", 10.0, checkpoint_digest="c" * 32),
        result("renamed", "did", 60.0, checkpoint_digest="d" * 32),
    ]
    assert against_teacher(student, COSTS, results).retention == pytest.approx({"did/c": 0.75})


def told(rows: list[Efficiency], folder: Path) -> list[int]:
    """Write costs; return how many results each line names."""
    lines = write_into(rows, folder)
    return [int(line.split()[3]) if "costs in" in line else 0 for line in lines]


def test_costs_go_into_the_results_of_that_checkpoint_alone(tmp_path: Path) -> None:
    """Strangers, results without a digest and reported ones stay byte for byte."""
    own = [put(tmp_path, split=split, checkpoint_digest=DIGEST) for split in ("dev", "test")]
    others = [
        put(tmp_path, model="other", checkpoint_digest="b" * 32),
        put(tmp_path, model="none", checkpoint_digest=None),
        put(tmp_path, model="paper", source="reported", citation="x", checkpoint_digest=DIGEST),
    ]
    before = {path: read_json(path) for path in own}
    untouched = {path: path.read_bytes() for path in others}
    stranger = replace(COSTS, name="stranger", checkpoint_digest="f" * 32)
    assert told([COSTS, stranger], tmp_path) == [2, 0]
    for path in own:
        assert read_json(path) == before[path] | {"costs": COSTS.costs.model_dump(mode="json")}
    assert {path: path.read_bytes() for path in others} == untouched


def test_twice_is_once_and_new_costs_replace(tmp_path: Path) -> None:
    """The second time not even the files' times change; a file keeps its own name."""
    path = put(tmp_path, checkpoint_digest=DIGEST).rename(tmp_path / "mine.json")
    write_into([COSTS], tmp_path)
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    assert told([COSTS], tmp_path) == [1]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, written)
    assert told([replace(COSTS, real_time_factor=0.02)], tmp_path) == [1]
    assert read_json(path)["costs"]["real_time_factor"] == 0.02
    assert [found.name for found in tmp_path.glob("*.json")] == ["mine.json"]


def test_a_broken_result_is_told_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad file hides neither itself nor the others."""
    put(tmp_path, checkpoint_digest=DIGEST)
    (tmp_path / "bad.json").write_text("{")
    assert told([COSTS], tmp_path) == [1]
    assert "bad.json is left out" in "".join(capsys.readouterr())
    assert (tmp_path / "bad.json").read_text() == "{"
    with pytest.raises(ValueError, match="no results folder"):
        write_into([], tmp_path / "nowhere")


def test_mistakes_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--teacher.*--into"):
        compare_costs([tmp_path], results=tmp_path)
    with pytest.raises(ValueError, match="not a checkpoint folder"):
        compare_costs([tmp_path])


def test_no_retention_is_told_with_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A column of dashes does not say that the teacher has no result."""
    monkeypatch.setattr(measuring, "efficiency", lambda folder: replace(COSTS, name=folder.name))
    for name in ("student", "teacher"):
        (tmp_path / name).mkdir()
    put(tmp_path, model="student", checkpoint_digest=DIGEST)
    compare_costs([tmp_path / "student"], tmp_path / "teacher", tmp_path)
    assert capsys.readouterr().err == ""
    (path,) = tmp_path.glob("*.json")
    path.unlink()
    compare_costs([tmp_path / "student"], tmp_path / "teacher", tmp_path)
    assert "No retention" in capsys.readouterr().err
