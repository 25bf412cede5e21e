"""A run cut off and resumed is the run without a break, to the last bit; shared, nearly so."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from harness_bench.probing.s3prl import autoload
from harness_bench.probing.s3prl.checkpoints import PARTIAL, states
from harness_bench.results.predictions import ClassPrediction, read_predictions
from tests import warm
from tests.probing import resume_runs
from tests.probing.conftest import Python
from tests.probing.resume_runs import DATA, LAST, SCHEDULE, SETTINGS, differences, load

pytestmark = pytest.mark.s3prl
SCENARIOS = [name for name in resume_runs.scenarios([]) if not name.startswith("stock")]
# Ends the process without a chance to tidy up, in the middle of writing the checkpoint of step 8.
KILLED = """
import os, signal, torch
from harness_bench import run_downstream
stock = torch.save
def save(states, path, *args, **kwargs):
    stock(states, path, *args, **kwargs)
    if isinstance(states, dict) and states.get("Step") == 8:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = save
run_downstream.main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def runs(forked: Python, folder: Path, tone_corpus: Path, tiny_checkpoint: Path) -> Any:
    """Train all scenarios in one process."""
    printed = forked(resume_runs.__file__, str(tone_corpus), str(tiny_checkpoint), str(folder))
    return json.loads(printed.splitlines()[-1])


@pytest.mark.parametrize("name", SCENARIOS)
def test_resumed_is_unbroken(name: str, runs: Any) -> None:
    """Weights, optimizer, scheduler, random states, metrics and predictions."""
    assert runs["found"][name] == []


def test_needed(runs: Any) -> None:
    """Should s3prl's own runner resume exactly one day, delete `resume`; it is told once."""
    assert {"Optimizer", "Downstream", "metrics.jsonl"} <= {*runs["found"]["stock"]}
    assert ["epoch starts anew" in said for said in runs["said"]] == [True]


def test_killed_while_writing(
    python: Python, runs: Any, folder: Path, tone_corpus: Path, tiny_checkpoint: Path
) -> None:
    """The checkpoint before must be there still (one is kept), and the run come out the same.

    It is resumed by the literal command of s3prl, with the project's folder on PYTHONPATH.
    """
    out = folder / "killed"
    words = ["-m", "train", "-u", "harness_local", "-k", str(tiny_checkpoint), "-d", "keyword"]
    settings = ",,".join([f"{DATA}.cuts={tone_corpus}", *SETTINGS, SCHEDULE])
    words += ["-p", str(out), "-a", "-o", settings]
    killed = subprocess.run(
        [warm.python(), "-c", KILLED, *words], check=False, capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert [path.name for path in states(out)] == ["states-4.ckpt"]
    assert len([*out.glob(PARTIAL)]) == 1
    python("-m", "s3prl.run_downstream", *words, PYTHONPATH=next(iter(autoload.__path__)))
    assert not [*out.glob(PARTIAL)]
    assert "scheduled" in runs["found"]
    assert differences(folder / "scheduled" / "one", out) == []


@pytest.fixture(scope="module")
def shared(forked: Python, folder: Path, tone_corpus: Path, free_port: int) -> Any:
    """Train in two processes, and test under the same launcher."""
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2"]
    launcher += [f"--master_port={free_port}"]
    printed = forked(*launcher, resume_runs.__file__, str(tone_corpus), str(folder / "ranks"))
    return json.loads(printed.splitlines()[-1])


def test_two_processes_resume_exactly(shared: Any) -> None:
    """The random states of both must be kept: only the first one evaluates, and so sets its own."""
    assert shared["found"] == []


def test_two_processes_train_what_one_does(runs: Any, shared: Any, folder: Path) -> None:
    """Batches of 2 in each of two processes are batches of 4 in one, but for rounding.

    Not compared: the bias of the attention scores. It moves all scores of an utterance alike, so
    its gradient is 0 but for rounding, which Adam scales up to its learning rate.
    """
    assert runs, shared
    one = load(folder / "alone" / f"states-{LAST}.ckpt")
    two = load(folder / "ranks" / "shared" / f"states-{LAST}.ckpt")
    assert two["WorldSize"] == 2
    weights = {key for key in one["Downstream"] if key.endswith(("weight", "bias"))}
    for key in weights - {"model.attention.bias"}:
        torch.testing.assert_close(
            one["Downstream"][key], two["Downstream"][key], rtol=0, atol=1e-5
        )
    dev = [read_predictions(path / "predictions.dev.jsonl", ClassPrediction)
           for path in (folder / "alone", folder / "ranks" / "shared")]  # fmt: skip
    for left, right in zip(*dev, strict=True):
        assert (left.id, left.truth, left.pred) == (right.id, right.truth, right.pred)
        assert left.probs == pytest.approx(right.probs, abs=1e-5)


def test_two_processes_test_each_utterance_once(shared: Any, folder: Path) -> None:
    """s3prl has every process test everything and write the same files."""
    assert shared
    out = folder / "ranks" / "shared"
    rows = read_predictions(out / "predictions.test.jsonl", ClassPrediction)
    assert [row.id for row in rows] == [f"test-{number:02d}" for number in range(12)]
    logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged if line["split"] == "test"] == [0]
    assert len(logged) == len({(line["step"], line["split"]) for line in logged})
