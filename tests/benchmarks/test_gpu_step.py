"""The one command for a lent GPU must work the first time: tried on the CPU, by small sizes."""

import math
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import bench_gpu_step
from benchmarks.bench_gpu_step import JOBS, MODELS, TINY
from benchmarks.bench_pretrain_step import crops, shape
from harness_bench.core.files import read_json
from harness_bench.pretrain.data.batches import NO_LABEL

CPU = torch.device("cpu")


def test_figures_and_table_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of job of a model, both lengths, both batches; nothing may fail in silence."""
    out = tmp_path / "gpu.json"
    argv = ["bench", "--device", "cpu", "--tiny", "--models", "hst_mel", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", argv)
    bench_gpu_step.main()
    found = read_json(out)
    assert found["left_out"] == []
    cases = {(row["kind"], row["crops"], row["padded"]) for row in found["cases"]}
    bare = {(kind, n, p) for kind in ("eager", "compiled") for n in (2, 4) for p in (False, True)}
    assert cases == bare | {("trainer", None, True)}
    for row in found["cases"]:
        assert row["model"] == "hst_mel"
        assert all(0 < row[key] < math.inf for key in ("audio_per_second", "of_peak"))
    lines = out.with_suffix(".md").read_text().splitlines()
    assert sum(line.startswith("| hst_mel |") for line in lines) == len(found["cases"])


def test_what_does_not_fit_into_the_time_is_named() -> None:
    report = bench_gpu_step.run(CPU, TINY, minutes=0.0)
    assert report.cases == []
    assert [line.split(":")[0] for line in report.left_out] == [f"{m}, {k}" for m, k in JOBS]
    assert "Left out: hl, eager: 0 s are left" in bench_gpu_step.table(report, TINY)


def test_what_fails_costs_its_own_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "hst", "no_such_preset")
    monkeypatch.setattr(bench_gpu_step, "JOBS", (("hst", "eager"), ("hst_mel", "eager")))
    report = bench_gpu_step.run(CPU, TINY)
    assert [case.model for case in report.cases] == ["hst_mel"] * 4
    assert len(report.left_out) == 1
    assert "no_such_preset" in report.left_out[0]


def test_every_model_is_measured_in_every_way() -> None:
    """Transformers has no model on log-mel bins."""
    for model in MODELS:
        kinds = {kind for name, kind in JOBS if name == model}
        assert kinds >= {"eager", "compiled"}
        assert ("transformers" in kinds) != model.endswith("_mel")


def test_crops_of_many_lengths_have_nothing_behind_their_end() -> None:
    config = shape("hst", tiny=True)
    batch = crops(config, 2.0, 3, shortest=0.5)
    assert batch.lengths.tolist() == [32_000, 24_000, 16_000]
    for row, length in enumerate(batch.lengths.tolist()):
        frames = config.frames(length)
        assert not batch.samples[row, length:].any()
        assert (batch.labels[row, :frames] != NO_LABEL).all()
        assert (batch.labels[row, frames:] == NO_LABEL).all()
        assert batch.mask[row, :frames].any()
        assert not batch.mask[row, frames:].any()
