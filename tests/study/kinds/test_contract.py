"""What every kind of job must be: one file with `run`, found by its name, imported when it runs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from harness_bench.core.registry import attribute
from harness_bench.study.job import KINDS, Place, kinds
from harness_bench.study.opened import open_study
from harness_bench.study.plan import plan

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_runs_a_place(kind: str) -> None:
    run = attribute(f"{KINDS}.{kind}", "run")
    signature = inspect.signature(run)
    assert list(signature.parameters) == ["place"]
    assert signature.parameters["place"].annotation == "Place"
    assert inspect.getmodule(run).__doc__


def test_kinds_are_imported_when_they_run() -> None:
    """A driver of ten thousand jobs needs neither torch nor ESPnet to plan them."""
    code = (
        "import sys; from pathlib import Path; from harness_bench.study.opened import open_study;"
        "from harness_bench.study.plan import plan; plan(open_study(None, Path('x')));"
        "print([name for name in sys.modules if name.startswith('harness_bench.study.kinds.')"
        " or name in ('torch', 'espnet2', 's3prl', 'lhotse')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["pretrain", "labels"])
def test_trainings_can_be_batch_jobs(kind: str, tmp_path: Path) -> None:
    """Over several machines the engine sends the command, and asks for the outcome at the end."""
    jobs = plan(open_study(ROOT / "egs" / "evidence" / "gpu.toml", tmp_path))
    place = Place(tmp_path, jobs[f"{kind} harness_st"], {})
    command = attribute(f"{KINDS}.{kind}", "command")(place)
    cuts, out = str(tmp_path / "cuts" / "pretraining"), str(tmp_path / "pretrain")
    assert command[5:9] == [cuts, out, "--only", "harness_st"]
    assert ("--labels-only" in command) == (kind == "labels")
    assert {*attribute(f"{KINDS}.{kind}", "outcome")(place)} <= {"checkpoint"}
