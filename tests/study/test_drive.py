"""What is looked at before a study begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness_bench.study import drive
from harness_bench.study.clusters import EngineConfig
from harness_bench.study.opened import open_study, refuse_another, save_study
from harness_bench.study.plan import plan

GPU = Path(__file__).parents[2] / "egs" / "evidence" / "gpu.toml"


def test_a_gpu_that_is_not_there_is_missed_before_hours_of_pretraining(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ESPnet would say so after everything else; on two GPUs one is enough."""
    jobs = plan(open_study(GPU, tmp_path))
    monkeypatch.setattr(drive, "gpu_count", lambda: 0)
    with pytest.raises(ValueError, match="ngpu = 1"):
        drive.require_gpus(jobs, EngineConfig())
    cluster = EngineConfig(kind="slurm", workers=1, memory_gb=8, walltime="1:00:00")
    drive.require_gpus(jobs, cluster)  # GPUs of its nodes count, and not those of this machine
    told = drive.rehearse(open_study(GPU, tmp_path), EngineConfig(workers=1)).lacking
    asr = [name for name, job in jobs.items() if job.kind == "asr"]
    assert [(number, "ngpu = 1" in why) for why, number in told.items()] == [(len(asr), True)]
    monkeypatch.setattr(drive, "gpu_count", lambda: 2)
    drive.require_gpus(jobs, EngineConfig())


def test_a_folder_holds_one_study(tmp_path: Path) -> None:
    """The board of a second one would remove the results of the first."""
    first = open_study(None, tmp_path)
    refuse_another(first)
    save_study(first)
    refuse_another(first)
    with pytest.raises(ValueError, match="holds the study 'demo'"):
        refuse_another(replace(first, config=replace(first.config, name="other")))
    with pytest.raises(ValueError, match="holds the study 'demo'"):  # a dry run says so, too
        drive.rehearse(replace(first, config=replace(first.config, name="x")), EngineConfig())
