"""Every flag of s3prl's run_downstream, taken and doing what it does in s3prl's own runner."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness_bench.probing.s3prl import autoload, hub
from harness_bench.probing.s3prl.arguments import make_parser, stock_tasks, tasks
from tests.probing import flag_runs
from tests.probing.conftest import Python

pytestmark = pytest.mark.s3prl
FLAGS = sorted(set(vars(make_parser().parse_args(["-m", "train"]))))
REPOSITORY = str(Path(__file__).parents[2])
COMMANDS = {
    "harness_bench.run_downstream": {},
    "s3prl.run_downstream": {"PYTHONPATH": next(iter(autoload.__path__))},
}


@pytest.fixture(scope="module")
def failed(forked: Python, tone_corpus: Path, tiny_checkpoint: Path) -> Any:
    """Run the checks of all flags in one process."""
    printed = forked(
        flag_runs.__file__, str(tone_corpus), str(tiny_checkpoint), PYTHONPATH=REPOSITORY
    )
    return json.loads(printed.splitlines()[-1])


@pytest.mark.parametrize("flag", FLAGS)
def test_flag(flag: str, failed: dict[str, str]) -> None:
    """A flag without a check fails too, and a check without a flag: s3prl dropped it."""
    assert {*flag_runs.EFFECTS, *flag_runs.VALUES} == set(FLAGS), "write a check in flag_runs.py"
    assert flag not in failed, failed[flag]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_upstreams_and_tasks(command: str, python: Python) -> None:
    """One line for each of ours, the names of s3prl's, and every flag."""
    lines = python("-m", command, "--help", **COMMANDS[command]).splitlines()
    for name in (*hub.own_names(), *tasks()):
        assert sum(line.startswith(f"  {name} ") and len(line.split()) > 2 for line in lines) == 1
    words = {word for line in lines for word in line.split()}
    assert {*stock_tasks(), "wavlm_base", "hubert_local"} <= words
    for flag in FLAGS:
        assert f"--{flag}" in words or f"--{flag}," in words


def test_help_imports_nothing_heavy(python: Python) -> None:
    """It takes 0.3 s so, and s3prl's own 15."""
    code = """
import sys
sys.argv[1:] = ["--help"]
from harness_bench import run_downstream
try:
    run_downstream.main()
except SystemExit as end:
    print([name for name in ("torch", "numpy", "s3prl", "yaml") if name in sys.modules], end.code)
"""
    assert python("-c", code).splitlines()[-1] == "[] None"


@pytest.mark.parametrize("command", COMMANDS)
def test_mistakes_end_with_one_sentence(command: str) -> None:
    """No traceback, by either name."""
    done = subprocess.run(
        [sys.executable, "-m", command, "-m", "train", "-u", "fbanc", "-d", "ser"],
        env={**COMMANDS[command]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: There is no upstream (-u) 'fbanc'; did you mean fbank")
    assert len(done.stderr.splitlines()) == 1
