"""A training that is killed in the middle of an epoch goes on when the same command is given."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from tests.asr.trainings import arguments, write_data

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.espnet
# ESPnet is imported once, for 20 seconds each would take; every run is a process of its own.
PROBE = '''
"""Run our launcher three times: killed in epoch 2, again, and undisturbed elsewhere."""
import os, signal, sys
import espnet2.tasks.asr  # takes its time, so before the forks
import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from harness_bench.asr.espnet import run

def kill_at(step):
    forward, done = ESPnetASRModel.forward, []
    def counted(model, *arguments, **options):
        if model.training:
            done.append(1)
        if len(done) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(model, *arguments, **options)
    ESPnetASRModel.forward = counted

def launch(command, log, kill=None):
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1), os.dup2(stream, 2)
        if kill:
            kill_at(kill)
        sys.argv = ["run", "-m", "espnet2.bin.asr_train", *command]
        run.main()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

folder, step, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
print(launch(command, f"{folder}/killed.log", step))
print(sorted(os.listdir(f"{folder}/asr")))
print(launch(command, f"{folder}/again.log"))
print(launch([*command, "--output_dir", f"{folder}/whole"], f"{folder}/whole.log"))
'''
EPOCHS, STEPS = 3, 4  # steps of an epoch: 8 utterances, 2 in a batch


def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """It starts again at the epoch it was in, with that epoch's own seed: equal to the bit.

    With dropout, BatchNorm, Adam and a warm-up, all of which have a state that must come back.
    """
    data = write_data(tmp_path / "data")
    command = arguments(
        data, tiny_checkpoint, tmp_path / "asr", batch_size=2, max_epoch=EPOCHS,
        scheduler="warmuplr", scheduler_conf="warmup_steps=6",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path), str(STEPS + 2), *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    killed, left, again, whole = done.stdout.splitlines()
    assert (killed, again, whole) == ("-9", "0", "0")
    assert "'1epoch.pth'" in left
    assert "'2epoch.pth'" not in left
    log = (tmp_path / "again.log").read_text(encoding="utf-8")
    assert "The training was resumed using" in log
    assert f"{EPOCHS}/{EPOCHS}epoch started" in log
    assert f"1/{EPOCHS}epoch started" not in log
    for name in ("valid.acc.ave_2best.pth", f"{EPOCHS}epoch.pth", "checkpoint.pth"):
        one, other = (
            torch.load(tmp_path / folder / name, weights_only=True) for folder in ("asr", "whole")
        )
        one, other = (states.get("model", states) for states in (one, other))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], value) for key, value in other.items()), name
