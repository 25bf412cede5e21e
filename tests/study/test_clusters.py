"""Each scheduler is asked in its own words, from keys of TOML: seen without a cluster."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.core.config import build
from harness_bench.study.clusters import EngineConfig, job_class, job_options
from harness_bench.study.job import Needs

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.study.clusters import Pool

ASKED: dict[str, Any] = {
    "workers": 8, "cpus": 4, "memory_gb": 16, "walltime": "12:30:00", "account": "speech",
    "prologue": ["module load cuda"], "interface": "ib0",
    "gpu": {"workers": 2, "gpus": 2, "directives": []},
}  # fmt: skip
EXPECTED = {
    "slurm": {
        "cpu": ["-p long", "-A speech", "--cpus-per-task=4", "--mem=15G", "-t 12:30:00"],
        "gpu": ["--gres=gpu:2"],
    },
    "pbs": {
        "cpu": ["-q long", "-A speech", "-l select=1:ncpus=4:mem=16gb\n", "-l walltime=12:30:00"],
        "gpu": ["-l select=1:ncpus=4:mem=16gb:ngpus=2\n"],
    },
    "lsf": {
        "cpu": ["-q long", '-P "speech"', "-n 4", "span[hosts=1]", "-M ", "-W 12:30\n"],
        "gpu": ['-gpu "num=2"'],
    },
    "sge": {
        "cpu": ["-q long", "-P speech", "-l mem_free=16G", "-pe smp 4", "-l h_rt=12:30:00"],
        "gpu": ["-l gpu=2"],
    },
    "htcondor": {
        "cpu": ["MY.DaskWorkerCores = 4", "MY.DaskWorkerMemory = 16000000000",
                "accounting_group = speech"],
        "gpu": ["request_gpus = 2"],
    },
}  # fmt: skip


def engine(kind: str, **more: Any) -> EngineConfig:
    queue = {} if kind == "htcondor" else {"queue": "long"}
    return build(EngineConfig, ASKED | {"kind": kind} | queue | more, source="study.toml")


def script(kind: str, pool: Pool, logs: Path, **more: Any) -> str:
    config = engine(kind, **more)
    options = job_options(config, pool, logs)
    made = job_class(config.kind)("tcp://10.0.0.1:8786", name=f"{pool}-0", **options)
    return str(made.job_script())


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_scheduler_is_asked_in_its_own_words(kind: str, tmp_path: Path) -> None:
    cpu, gpu = (script(kind, pool, tmp_path / "logs") for pool in ("cpu", "gpu"))
    for words in EXPECTED[kind]["cpu"]:
        assert words in cpu
    for words in EXPECTED[kind]["gpu"]:
        assert words in gpu
        assert words not in cpu
    for text in (cpu, gpu):
        assert f"{sys.executable} -m distributed.cli.dask_worker tcp://10.0.0.1:8786" in text
        assert text.index("module load cuda") < text.index("OMP_NUM_THREADS=4")
        assert "--interface ib0" in text
        # One job at a time, in threads of its own; it ends before the scheduler ends it.
        assert text.rindex("--nthreads 1") > text.index("--nthreads 4")
        assert "--lifetime 44400s --lifetime-stagger 300s" in text
        assert "WORKER__DAEMON=False" in text
    assert "--resources cpu=1" in cpu
    assert "--resources gpu=1" in gpu


def test_a_path_that_no_script_can_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"my run: .*slurm.*--out"):
        job_options(engine("slurm"), "cpu", tmp_path / "my run")


def test_directives_are_added_as_they_are(tmp_path: Path) -> None:
    assert "#SBATCH --qos=low\n" in script("slurm", "cpu", tmp_path, directives=["--qos=low"])
    condor = script("htcondor", "cpu", tmp_path, directives=["requirements = Arch == x"])
    assert "requirements =  Arch == x\n" in condor
    assert "#SBATCH --qos" not in script("slurm", "gpu", tmp_path, directives=["--qos=low"])


@pytest.mark.parametrize("missing", ["workers", "memory_gb", "walltime"])
def test_a_cluster_must_be_told_what_to_ask_for(missing: str) -> None:
    values = {name: value for name, value in ASKED.items() if name != missing}
    with pytest.raises(ValueError, match=rf"study\.toml.*{missing}"):
        build(EngineConfig, values | {"kind": "pbs"}, source="study.toml")


@pytest.mark.parametrize(
    "values", [{"kind": "oar"}, {"walltime": "12h"}, {"workers": -1}, {"gpu": {"queues": "x"}}]
)
def test_what_no_engine_knows_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"study\.toml"):
        build(EngineConfig, values, source="study.toml")


def test_a_job_that_no_worker_can_run_is_told_why() -> None:
    config = engine("slurm", memory_gb=4.0)
    assert config.lacks(Needs(memory_gb=4)) == ""
    assert "memory_gb" in config.lacks(Needs(memory_gb=5))
    assert config.lacks(Needs(gpus=2)) == ""
    assert "3 GPUs" in config.lacks(Needs(gpus=3))
    assert "[engine.gpu]" in engine("slurm", gpu={"workers": 0}).lacks(Needs(gpus=1))
    assert config.lacks(Needs(nodes=2, gpus=8)) == ""
    for kind in ("local", "pbs", "lsf", "sge", "htcondor"):
        assert kind in engine(kind).lacks(Needs(nodes=2))


def test_a_pool_takes_from_engine_what_it_leaves_out() -> None:
    config = engine("slurm", gpu={"workers": 1, "cpus": 12, "queue": "gpu"})
    gpu = config.workers_of("gpu")
    assert (gpu.workers, gpu.cpus, gpu.gpus, gpu.queue) == (1, 12, 1, "gpu")
    assert (gpu.memory_gb, gpu.walltime, gpu.account) == (16, "12:30:00", "speech")
