"""As many workers as there is work for: GPUs of their own, given back where idle, sent anew."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from harness_bench.study.clusters import EngineConfig, WorkersConfig
from harness_bench.study.workers import _Staff, open_workers

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.study.clusters import Pool

SLURM = EngineConfig(kind="slurm", workers=3, memory_gb=2.0, walltime="1:00:00", idle_minutes=1)


def test_no_more_workers_than_jobs_or_settings(tmp_path: Path) -> None:
    engine = EngineConfig(workers=4, gpu=WorkersConfig(workers=2))
    few = _Staff(tmp_path, engine, lambda: {"cpu": 1, "gpu": 0})
    assert set(few.spec) == {"cpu-0"}
    many = _Staff(tmp_path, engine, lambda: {"cpu": 99, "gpu": 99, "batch": 1})
    assert set(many.spec) == {"batch", "cpu-0", "cpu-1", "cpu-2", "cpu-3", "gpu-0", "gpu-1"}


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, ["0,1", "2,3"]), ("4,5,6,7", ["4,5", "6,7"])]
)
def test_each_worker_has_gpus_of_its_own(
    visible: str | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    engine = EngineConfig(workers=1, cpus=3, gpu=WorkersConfig(workers=2, gpus=2, cpus=6))
    spec = _Staff(tmp_path, engine, lambda: {"cpu": 9, "gpu": 9}).spec
    seen = [spec[f"gpu-{number}"]["options"]["env"] for number in range(2)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in seen] == expected
    assert [each["OMP_NUM_THREADS"] for each in seen] == ["6", "6"]
    assert spec["cpu-0"]["options"]["env"]["OMP_NUM_THREADS"] == "3"


def test_a_clusters_idle_worker_is_given_back_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    demand: Counter[Pool] = Counter({"cpu": 3})
    staff = _Staff(tmp_path, SLURM, lambda: demand)

    def after(seconds: float, busy: set[str]) -> set[str]:
        now[0] += seconds
        staff._adjust(busy)
        return set(staff.spec)

    assert after(50, {"cpu-0", "cpu-1", "cpu-2"}) == {"cpu-0", "cpu-1", "cpu-2"}
    demand["cpu"] = 1
    assert after(50, {"cpu-1"}) == {"cpu-0", "cpu-1", "cpu-2"}  # idle, but not for long
    assert after(50, {"cpu-1"}) == {"cpu-0", "cpu-1", "cpu-2"}
    assert after(50, {"cpu-1"}) == {"cpu-1"}
    demand["cpu"] = 2
    assert after(1, {"cpu-1"}) == {"cpu-0", "cpu-1"}


def test_a_user_is_told_once_that_no_worker_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("harness_bench.study.workers.say", told.append)
    staff = _Staff(tmp_path, SLURM, lambda: {"cpu": 1})
    staff._complain(0)
    assert not told
    monkeypatch.setattr(staff, "_began", staff._began - 1000)
    staff._complain(0)
    staff._complain(0)
    assert len(told) == 1
    assert str(tmp_path / "jobs/workers") in told[0]


def test_what_a_cluster_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `sbatch` here is such a case; Dask alone would end in an assertion of its own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(RuntimeError, match=r"(?s)slurm accepts no worker.*sbatch"),
        open_workers(tmp_path, SLURM, lambda: {"cpu": 1}),
    ):
        pass
