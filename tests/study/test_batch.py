"""A training on several machines is sent to SLURM once, whoever waits, and its end is told."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any, override

import pytest

from harness_bench.core.files import read_json, write_text
from harness_bench.study import batch
from harness_bench.study.alive import Alive
from harness_bench.study.batch import CODE, NOTE, SCRIPT, batch_script, run_batch
from harness_bench.study.clusters import EngineConfig, WorkersConfig
from harness_bench.study.job import Needs, Place, StudyJob

if TYPE_CHECKING:
    from pathlib import Path

ENGINE = EngineConfig(
    kind="slurm", workers=1, memory_gb=8.0, walltime="12:00:00", queue="long", account="speech",
    prologue=("module load cuda",),
    batch=WorkersConfig(walltime="48:00:00", queue="multi", cpus=12, directives=("--exclusive",)),
)  # fmt: skip
JOB = StudyJob(
    name="pretrain x", kind="tests.study.tiny_job", folder="work", settings={"lr": 1},
    needs=Needs(nodes=3, gpus=8),
)  # fmt: skip


class Queue:
    """Stands for SLURM; `ends` is the exit code with which a job ends at the next look, if any."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sent = folder, list[str]()
        self.names: dict[str, str] = {}  # of jobs in the queue, by id
        self.ends: int | None = 0

    def __call__(self, *command: str) -> str:
        """Answer `squeue` and `sbatch`."""
        options = dict(word.partition("=")[::2] for word in command if word.startswith("--"))
        if command[0] == "sbatch":
            script = (self.folder / SCRIPT).read_text()
            self.sent.append(str(len(self.sent) + 7))
            self.names[self.sent[-1]] = script.partition("--job-name=")[2].split()[0]
            return f"{self.sent[-1]};cluster\n"
        assert command[0] == "squeue"
        if "--name" in options:
            found = [job for job, name in self.names.items() if name == options["--name"]]
            return "\n".join(found)
        state = "RUNNING\n" if options["--jobs"] in self.names else ""
        if self.names and self.ends is not None:
            self.names.clear()
            write_text(self.folder / CODE, f"{self.ends}\n")
        return state


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "work").mkdir()
    write_text(tmp_path / "work/log.txt", "rank 0\nrank 1\n")
    return Place(tmp_path, JOB, {}, Alive(tmp_path / "state.json", {}))


@pytest.fixture
def queue(place: Place, monkeypatch: pytest.MonkeyPatch) -> Queue:
    found = Queue(place.folder)
    monkeypatch.setattr(batch, "_slurm", found)
    monkeypatch.setattr(batch, "_PERIOD", 0.01)
    monkeypatch.setattr(batch, "_GONE", 0.05)
    return found


def test_the_script_asks_for_machines_and_goes_on_when_its_time_is_over(place: Place) -> None:
    script = batch_script(ENGINE, place, ["python", "-c", "print('a b')"], "study-x")
    asked = {line.removeprefix("#SBATCH --") for line in script.split("\n") if "#SBATCH" in line}
    assert asked == {
        "job-name=study-x", "nodes=3", "ntasks-per-node=8", "gpus-per-node=8", "cpus-per-task=12",
        "mem=0", "time=48:00:00", "partition=multi", "account=speech", "signal=B:USR1@120",
        f"output={place.log}", "open-mode=append", "requeue", "exclusive",
    }  # fmt: skip
    assert script.index("module load cuda") < script.index("srun --kill-on-bad-exit=1 python -c")
    subprocess.run(["/bin/bash", "-n"], input=script, text=True, check=True)


def test_it_is_sent_waited_for_and_told(place: Place, queue: Queue) -> None:
    assert run_batch(ENGINE, place, "key") == 2
    assert queue.sent == ["7"]
    assert read_json(place.folder / NOTE)["job"] == "7"


def test_a_new_driver_waits_for_the_same(place: Place, queue: Queue) -> None:
    """Whether the first one noted the id, or died before it could."""
    name = batch_script(ENGINE, place, [], "x")  # another [engine.batch] changes no training
    queue.ends = None
    job = batch._submitted(ENGINE, place, "key")
    (place.folder / NOTE).unlink()
    changed = replace(ENGINE, batch=WorkersConfig(queue="short"))
    assert batch_script(changed, place, [], "x") != name
    assert batch._submitted(changed, place, "key") == job
    queue.ends = 0
    assert run_batch(changed, place, "key") == 2
    assert run_batch(ENGINE, place, "key") == 2  # and once it has ended, nobody sends it again
    assert queue.sent == [job]


@pytest.mark.parametrize(
    ("said", "there"),
    [("slurm_load_jobs error: Invalid job id specified", False),
     ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True)],
)  # fmt: skip
def test_a_silent_slurm_has_lost_no_job(
    monkeypatch: pytest.MonkeyPatch, said: str, *, there: bool
) -> None:
    """Its controller restarts now and then; a training of days must outlast that."""

    def squeue(*_: str) -> str:
        raise RuntimeError(said)

    monkeypatch.setattr(batch, "_slurm", squeue)
    assert batch._in_queue("7") is there


@pytest.mark.parametrize(("code", "said"), [(3, "Exit code 3"), (None, "is gone")])
def test_a_failure_shows_the_logs_end_and_the_next_run_sends_it_anew(
    code: int | None, said: str, place: Place, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.ends = code
    if code is None:  # scancel
        monkeypatch.setattr(queue, "names", Lost())
    with pytest.raises(RuntimeError, match=rf"(?s){said}.*rank 1"):
        run_batch(ENGINE, place, "key")
    monkeypatch.setattr(queue, "names", {})
    queue.ends = 0
    assert run_batch(ENGINE, place, "key") == 2
    assert len(queue.sent) == 2


class Lost(dict[str, str]):
    """A queue that forgets what it is told."""

    @override
    def __setitem__(self, key: str, value: str) -> None: ...


def test_two_trainings_never_share_a_folder(place: Place, queue: Queue) -> None:
    queue.ends = None
    batch._submitted(ENGINE, place, "key")
    with pytest.raises(RuntimeError, match="scancel 7"):
        run_batch(ENGINE, place, "key of other settings")
    assert queue.sent == ["7"]


def test_no_slurm_is_told(place: Place, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="squeue"):
        run_batch(ENGINE, place, "key")
