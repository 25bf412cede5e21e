"""Whatever is killed, whenever: a study ends with the same files and does nothing twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import chdir, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from harness_bench.core.files import read_json, read_jsonl
from harness_bench.study.job import Ended, StudyJob, keys, run_job
from harness_bench.study.opened import open_study, save_study
from harness_bench.study.plan import plan
from tests.study.chain import STUDY, run_here, write_study
from tests.study.test_engine import job, named

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CHILD = "import os, time; open('children', 'a').write(f'{os.getpid()}\\n'); time.sleep(0.3)"
SLEEPER = "import time; open('asleep', 'w').close(); time.sleep(60)"
PATIENCE = 60.0  # seconds without any progress that mean that a study hangs


def study() -> dict[str, StudyJob]:
    heads = [job(f"head {n}", "data", seconds=0.2, python=CHILD) for n in range(6)]
    return named(
        job("data", python=CHILD), *heads,
        job("score", *(each.name for each in heads[:4]), python=CHILD),
        job("board", wants=("score", *(each.name for each in heads)), seconds=0.2),
    )  # fmt: skip


def made(out: Path) -> dict[str, bytes]:
    """Return what jobs have made."""
    return {path.name: path.read_bytes() for path in sorted((out / "made").iterdir())}


DRIVER = """
from pathlib import Path
from harness_bench.study.clusters import EngineConfig
from harness_bench.study.engine import run
from tests.study.test_kills import study
ended = run(Path("."), study(), EngineConfig(workers=2, tries=20))
assert all(each.good for each in ended.values()), ended
"""


class Study:
    """A study whose driver is a process of its own, to be killed and started again."""

    def __init__(
        self, out: Path, words: tuple[str, ...] = ("-c", DRIVER), *, apart: bool = False
    ) -> None:
        self.out, self.words, self.apart = out, words, apart
        self.killed: set[int] = set()  # workers
        self.start()

    def start(self) -> None:
        """Start a driver, with `python -c` as a user's shell would."""
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.driver = subprocess.Popen(
            [sys.executable, *self.words], cwd=self.out, env=os.environ | {"PYTHONPATH": path},
            start_new_session=self.apart,
        )  # fmt: skip

    def rows(self) -> list[dict[str, int | str]]:
        """Return the runs so far."""
        path = self.out / "runs.jsonl"
        return list(read_jsonl(path)) if path.is_file() else []

    def workers(self) -> list[psutil.Process]:
        """Return the processes that run jobs."""
        try:
            children = psutil.Process(self.driver.pid).children()
            return [each for each in children if "spawn_main" in " ".join(each.cmdline())]
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return []

    def kill(self, what: str, rng: random.Random) -> None:
        """Kill the driver, a worker, or a worker with all that it has started."""
        workers = self.workers()
        if what == "driver":
            self.killed |= {each.pid for each in workers}
            self.driver.kill()
            self.driver.wait()
            _, alive = psutil.wait_procs(workers, timeout=20)
            assert not alive  # they end with the driver
            self.start()
        elif workers:
            chosen = rng.choice(workers)
            self.killed.add(chosen.pid)
            # What has ended meanwhile need not be killed.
            with suppress(psutil.NoSuchProcess):
                family = chosen.children(recursive=True) if what == "node" else []
                chosen.kill()
                for each in family:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()

    def wait(self) -> None:
        """Wait for the end; no progress for long is a failure."""
        seen, since = -1, time.monotonic()
        while self.driver.poll() is None:
            time.sleep(0.05)
            if len(self.rows()) != seen:
                seen, since = len(self.rows()), time.monotonic()
            if time.monotonic() - since > PATIENCE:
                self.driver.kill()
                pytest.fail(f"hangs after {self.rows()}")
        assert self.driver.returncode == 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files that the study makes where nothing happens, without Dask."""
    out = tmp_path_factory.mktemp("undisturbed")
    jobs, ended = study(), dict[str, Ended]()
    found = keys(jobs)
    for name, each in jobs.items():
        quick = {key: value for key, value in each.settings.items() if key == "fails"}
        before = {other: ended[other] for other in each.after + each.wants}
        plain = StudyJob(**vars(each) | {"settings": quick})
        ended[name] = run_job(out, plain, found[name], before)
    return made(out)


def run_with_kills(out: Path, kills: Iterator[str], rng: random.Random) -> Study:
    run = Study(out)
    for what in kills:
        # Mostly while jobs run, now and then while processes start or end.
        rows, since = len(run.rows()) + rng.choice((0, 1, 1, 2)), time.monotonic()
        while len(run.rows()) < rows and run.driver.poll() is None:
            time.sleep(0.02)
            assert time.monotonic() - since < PATIENCE, f"hangs after {run.rows()}"
        time.sleep(rng.uniform(0, 0.6))
        run.kill(what, rng)
    run.wait()
    return run


def check(run: Study, undisturbed: dict[str, bytes]) -> None:
    assert made(run.out) == undisturbed
    last = {row["pid"]: row for row in run.rows()}  # of each worker, what it may have been at
    for name in study():
        *earlier, _ = [row for row in run.rows() if row["name"] == name]
        for row in earlier:
            assert row["pid"] in run.killed
            assert last[row["pid"]] is row or last[row["pid"]] == row
    children = [int(line) for line in (run.out / "children").read_text().split()]
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_lost_worker_and_a_lost_driver(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    rng = random.Random(0)
    check(run_with_kills(tmp_path, iter(("worker", "driver")), rng), undisturbed)


def test_ctrl_c_fails_no_job(tmp_path: Path) -> None:
    """A terminal sends it to the whole group of the driver: programs of jobs must not get it."""
    driver = DRIVER.replace("study()", "{'long': job('long', python=SLEEPER)}").replace(
        "import study", "import SLEEPER, job"
    )
    run = Study(tmp_path, ("-c", driver), apart=True)
    since = time.monotonic()
    while not (tmp_path / "asleep").is_file():
        assert time.monotonic() - since < PATIENCE
        time.sleep(0.05)
    os.killpg(run.driver.pid, signal.SIGINT)
    assert run.driver.wait(timeout=PATIENCE) != 0
    assert "failed" not in states(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_driver_worker_and_node_at_random_moments(
    seed: int, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    rng = random.Random(seed)
    kills = ["driver", "worker", "node"]
    rng.shuffle(kills)
    check(run_with_kills(tmp_path, iter(kills), rng), undisturbed)


@pytest.mark.slow
@pytest.mark.s3prl
@pytest.mark.espnet
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_study_has_the_same_board(
    seed: int, tmp_path: Path, undisturbed_board: dict[str, bytes]
) -> None:
    """With real trainings, heads and ASR, as `harness-bench study` runs them."""
    rng = random.Random(seed)
    kills = ["driver", "worker", "node"]
    rng.shuffle(kills)
    out = tmp_path / "out"
    out.mkdir()
    write_study(tmp_path, WITHOUT_TIMES)
    words = ("-m", "harness_bench.cli", "study", "run", CALLED, "--out", ".", "--jobs", "2")
    study = Study(out, words)
    for what in kills:
        done = states(out).count("done") + rng.randint(2, 7)
        while states(out).count("done") < done and study.driver.poll() is None:
            time.sleep(0.1)
        time.sleep(rng.uniform(0, 3))
        study.kill(what, rng)
    assert study.driver.wait() == 0
    assert board(out) == undisturbed_board


@pytest.fixture(scope="module")
def undisturbed_board(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the board where nothing happens, without Dask."""
    folder = tmp_path_factory.mktemp("board")
    write_study(folder, WITHOUT_TIMES)
    (folder / "out").mkdir()
    with chdir(folder / "out"):
        study = open_study(Path(CALLED), Path())
    save_study(study)
    run_here(study.out, plan(study))
    return board(study.out)


CALLED = "../chain.toml"  # results name the study as it was called
WITHOUT_TIMES = STUDY.replace("seed = 3\n", "seed = 3\n[board]\ntimes = false\n", 1)


def states(out: Path) -> list[str]:
    """Return where the jobs are that have begun."""
    return [read_json(path)["state"] for path in out.glob("jobs/*.state.json")]


def board(out: Path) -> dict[str, bytes]:
    """Return the files of the board and of the results below it."""
    paths = (path for name in ("leaderboard", "results") for path in (out / name).rglob("*"))
    return {str(path.relative_to(out)): path.read_bytes() for path in paths if path.is_file()}
