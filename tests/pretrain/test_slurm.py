"""The job script of docs/pretraining.md on a real SLURM of two nodes: however it is ended, it ends.

One rank a node, on CPUs. Needs a running SLURM whose nodes see this folder and `tmp_path`
(`--basetemp` names a shared disk); the case of the full disk mounts a small one, as root.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from lhotse.cut import Cut

from harness_bench.core.files import read_jsonl
from harness_bench.cuts.store import write_cuts
from harness_bench.pretrain.config import checkpoint_folder
from harness_bench.pretrain.monitor import LOG_FILE
from harness_bench.pretrain.state import states
from tests.pretrain.conftest import equal
from tests.tiny import DEFAULTS, TEACHERS

ROOT = Path(__file__).parents[2]
NAMES = ("first", "second")  # iterations: of MFCC, and a student of its hidden states
FAMILY = DEFAULTS.replace(
    "max_update = 3", "max_update = 100\nsave_interval_updates = 10\nlog_interval = 1"
).replace("conv_pos = 16\n", "conv_pos = 16\ndropout = 0.1\n")
# What a family of two ranks on CPUs needs otherwise than the paper's.
CHANGES = {
    "--nodes=3": "--nodes=2", "--ntasks-per-node=8": "--ntasks-per-node=1",
    "#SBATCH --gpus-per-node=8\n": "", "--cpus-per-task=12": "--cpus-per-task=1",
    "--time=24:00:00": "--time=00:10:00", "source .venv/": f"source {sys.prefix}/",
}  # fmt: skip
OVER = {"COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT"}


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def no_slurm() -> str:
    """Say why there is no SLURM of two nodes here; "" where there is."""
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        return "no SLURM: sbatch and sinfo are not installed"
    try:
        # Those of other states are down or drained.
        known = ask("sinfo", "--noheader", "--states=idle,alloc,mix", "--Node", "--format=%N")
    except (subprocess.SubprocessError, OSError) as error:
        return f"no SLURM answers: {error}"
    nodes = len(set(known.split()))
    return "" if nodes > 1 else f"no SLURM of two nodes: it has {nodes} that work"


pytestmark = pytest.mark.slow


class Job(NamedTuple):
    """A job of the family in a folder."""

    number: str
    folder: Path

    @property
    def facts(self) -> dict[str, str]:
        """Return what SLURM says of it, such as JobState, Restarts, ExitCode, NodeList."""
        line = ask("scontrol", "show", "job", "--oneliner", self.number)
        return dict(re.findall(r"(\S+?)=(\S*)", line))

    def is_in(self, *states: str) -> bool:
        """Tell whether SLURM has it in one of these states."""
        return self.facts["JobState"] in states

    def has_made(self, updates: int, name: str) -> bool:
        """Tell whether an iteration is further than so many updates."""
        path = self.folder / "out" / name / "run" / LOG_FILE
        return path.is_file() and len(path.read_text().splitlines()) > updates

    def signal(self, *options: str) -> None:
        """Send a signal to all ranks, or with --batch to the script, as when the time is over."""
        ask("scancel", *options, self.number)

    def comes_back(self, times: int) -> None:
        """Wait until the script has put it back; SLURM starts it again after two minutes."""
        self.until(lambda: self.facts["Restarts"] == str(times))
        self.until(lambda: self.is_in("RUNNING"))

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for something, as long as the job lives."""
        deadline = time.monotonic() + 300
        while not true():
            dead = self.is_in(*OVER) and not true()
            assert not dead, f"{self.facts}\n{self.said}"
            assert time.monotonic() < deadline, f"waited in vain: {self.said}"
            time.sleep(0.1)

    def ends(self) -> str:
        """Wait for its end; return its state then."""
        self.until(lambda: self.is_in(*OVER))
        return self.facts["JobState"]

    @property
    def said(self) -> str:
        """Return the output of its tasks and script, of every start."""
        return (self.folder / f"{self.number}.txt").read_text()


@pytest.fixture(scope="module")
def family(cuts: list[Cut], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the family at a stretch with two ranks of this machine, without SLURM."""
    if reason := no_slurm():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("family")
    write_cuts(folder / "cuts", "train", cuts)
    (folder / "family.toml").write_text(FAMILY + TEACHERS)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "harness_bench.cli", "family", str(folder / "family.toml"), str(folder / "cuts"),
        str(folder / "straight"), "--accelerator", "cpu",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture
def submit(family: Path, tmp_path: Path) -> Iterator[Callable[[], Job]]:
    """Submit the documented script; whatever happens to the test, no job of it is left."""
    page = (ROOT / "docs" / "pretraining.md").read_text()
    script = page.split("## A SLURM cluster")[1].split("```bash\n")[1].split("```")[0]
    inputs = f"{family}/family.toml {family}/cuts {tmp_path}/out --accelerator cpu"
    for old, new in {**CHANGES, "my_family.toml shar/all runs/family": inputs}.items():
        assert old in script
        script = script.replace(old, new)
    (tmp_path / "job.sh").write_text(script)
    made = []

    def submit() -> Job:
        number = ask(
            "sbatch", "--parsable", f"--output={tmp_path}/%j.txt", "--open-mode=append",
            f"--chdir={ROOT}", "--export=ALL,OMP_NUM_THREADS=1", f"{tmp_path}/job.sh",
        ).strip()  # fmt: skip
        made.append(Job(number, tmp_path))
        return made[-1]

    yield submit
    for job in made:
        if not job.is_in(*OVER):
            ask("scancel", job.number)
            job.ends()


def assert_whole(family: Path, out: Path) -> None:
    """Compare weights and logs, to the last bit, with those of the run at a stretch."""
    for name in NAMES:
        assert equal(checkpoint_folder(family / "straight", name), checkpoint_folder(out, name))
        logs = [list(map(figures, read_log(each / name))) for each in (family / "straight", out)]
        assert logs[0] == logs[1]
        assert [row["update"] for row in logs[1]] == list(range(1, 101))


def read_log(folder: Path) -> Iterator[dict[str, Any]]:
    return read_jsonl(folder / "run" / LOG_FILE)


def figures(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a line of the log what no two runs share: times and memory."""
    kept = ("update", "epoch", "loss", "accuracy", "features_pen", "grad_norm", "lr")
    return {key: value for key, value in row.items() if key.startswith(kept)}


def test_a_preempted_job_comes_back_and_ends_bit_equal(
    family: Path, submit: Callable[[], Job]
) -> None:
    """Its time is over while it labels, and it gets a SIGTERM in the training of the student."""
    job = submit()
    job.until((job.folder / "out" / "first" / "labels").is_dir)
    job.signal("--batch", "--signal=USR1")
    job.comes_back(1)
    job.until(partial(job.has_made, 12, "second"))
    job.signal("--signal=TERM")
    job.comes_back(2)
    (*_, last) = states(job.folder / "out" / "second" / "run")
    update = int(last.stem.removeprefix("state-"))
    assert job.ends() == "COMPLETED", job.said
    assert job.facts["Restarts"] == "2"
    assert f"second/run at update {update}\n" in job.said
    assert job.said.count("stopped; run the same command again") == 2  # in training, both ranks
    assert_whole(family, job.folder / "out")


def test_a_killed_rank_ends_the_job_and_the_next_ends_bit_equal(
    family: Path, submit: Callable[[], Job]
) -> None:
    """The other rank must not wait for it, nor a killed job come back by itself."""
    job = submit()
    job.until(lambda: job.has_made(22, "second"))
    node = ask("scontrol", "show", "hostnames", job.facts["NodeList"]).split()[1]
    # On the node of rank 1, a process of this job's step.
    kill = f"kill -9 \"$(scontrol listpids {job.number}.0 {node} | awk '$4 == 0 {{print $1}}')\""
    ask(
        "srun", f"--jobid={job.number}", "--overlap", "--nodes=1", "--ntasks=1",
        f"--nodelist={node}", "bash", "-c", kill,
    )  # fmt: skip
    assert job.ends() == "FAILED", job.said
    assert job.facts["Restarts"] == "0"
    again = submit()
    assert again.ends() == "COMPLETED", again.said
    assert re.search(r"resumed \S+second/run at update [2-9]0", again.said)
    assert_whole(family, job.folder / "out")


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    ask("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder))
    try:
        yield
    finally:
        ask("umount", str(folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk")
def test_a_full_disk_ends_both_ranks_and_the_next_job_ends_bit_equal(
    family: Path, submit: Callable[[], Job], tmp_path: Path
) -> None:
    """Both say which disk; no torn state is left; a job that failed does not come back."""
    out = tmp_path / "out"
    with small_disk(out):
        job = submit()
        job.until(lambda: job.has_made(12, "first"))
        room = shutil.disk_usage(out).free - 100_000  # too little for a state, enough for the log
        (out / "ballast").write_bytes(bytes(room))
        assert job.ends() == "FAILED", job.said
        assert job.facts["Restarts"] == "0"
        full = rf"(The state {out}/\S+ could not be written .*MB left|.*No space .*'{out}/)"
        for who in ("", "Stopped by rank 0: "):
            said = re.search(rf"^harness-bench: {who}(?!Stopped){full}", job.said, re.MULTILINE)
            assert said, job.said
        assert not list(out.glob("first/run/.partial-*"))
        (out / "ballast").unlink()
        again = submit()
        assert again.ends() == "COMPLETED", again.said
        assert re.search(r"resumed \S+first/run at update [1-9]0", again.said)
        assert_whole(family, out)
