"""Whole trainings by our launcher: killed in the middle of an epoch, and by several processes.

What ESPnet does on several GPUs is done here with gloo on the CPU: its own
`--multiprocessing_distributed` wants GPUs, so a program of the test starts the same function for
each rank, run by our launcher as `asr_train` would be.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from harness_bench.asr.espnet.register import register
from tests import warm
from tests.asr.trainings import arguments, write_data

pytestmark = pytest.mark.espnet
# Every run is a process of its own.
KILLED = '''
"""Run our launcher three times: killed in epoch 2, again, and undisturbed elsewhere."""
import os, signal, sys
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
SPAWNING = '''
"""Spawn ranks that train by ESPnet's main_worker; write what each rank ends with."""
import json, multiprocessing, os, sys, types
from multiprocessing import spawn

def worker(rank, prepared, folder, command):
    # A fork with what a spawned process does first: it imports the main module as `__mp_main__`.
    sys.modules["__main__"] = types.ModuleType("__main__")
    spawn.prepare(prepared)
    import torch
    from espnet2.train import trainer, reporter
    from espnet2.tasks.asr import ASRTask
    from espnet2.train.dataset import DATA_TYPES

    # What the launcher's `main` registers is lost in spawned children.
    known = {"type": "harness_features" in DATA_TYPES, "whole": hasattr(torch.save, "__wrapped__")}
    torch.set_num_threads(1)
    models, reporters, build = [], [], ASRTask.build_model.__func__

    def kept_model(task, args):
        models.append(build(task, args))
        return models[-1]

    class KeptReporter(reporter.Reporter):
        def __init__(self):
            super().__init__()
            reporters.append(self)

    ASRTask.build_model, trainer.Reporter = classmethod(kept_model), KeptReporter
    world = os.environ["RANKS"]
    ASRTask.main(cmd=[*command, "--dist_rank", str(rank), "--dist_world_size", world,
                      "--dist_backend", "gloo", "--dist_master_addr", "127.0.0.1"])
    scores = {f"{phase}.{name}": float(reporters[0].get_value(phase, name))
              for phase in ("train", "valid") for name in ("loss", "loss_ctc", "acc")}
    state = {name: value.clone() for name, value in models[0].state_dict().items()}
    torch.save({"state": state, "scores": scores, "known": known}, f"{folder}/rank{rank}.pt")

def main():
    context = multiprocessing.get_context("fork")
    folder, command = sys.argv[1], sys.argv[2:]
    prepared = spawn.get_preparation_data("rank")
    ranks = [context.Process(target=worker, args=(rank, prepared, folder, command))
             for rank in range(int(os.environ["RANKS"]))]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    sys.exit(max(rank.exitcode != 0 for rank in ranks))
'''
# Without dropout and BatchNorm, and with plain gradient descent, two halves of a batch on two
# ranks must give the step that the whole batch gives on one.
OPTIONS = {"dropout": 0.0, "encoder": "transformer", "optim": "sgd", "max_epoch": 1}


def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """It starts again at the epoch it was in, with that epoch's own seed: equal to the bit.

    With dropout, BatchNorm, Adam and a warm-up, all of which have a state that must come back.
    """
    data = write_data(tmp_path / "data")
    command = arguments(
        data, tiny_checkpoint, tmp_path / "asr", batch_size=2, max_epoch=EPOCHS,
        scheduler="warmuplr", scheduler_conf="warmup_steps=6",
    )  # fmt: skip
    words = ["-c", KILLED, tmp_path, STEPS + 2, *command]
    done = warm.run(words, kind="espnet")
    assert done.returncode == 0, done.stderr[-3000:]
    killed, left, again, whole = done.stdout.splitlines()
    assert (killed, again, whole) == ("-9", "0", "0")
    assert ("'1epoch.pth'" in left, "'2epoch.pth'" in left) == (True, False)
    log = (tmp_path / "again.log").read_text(encoding="utf-8")
    assert "The training was resumed using" in log
    assert f"{EPOCHS}/{EPOCHS}epoch started" in log
    assert f"1/{EPOCHS}epoch started" not in log
    for name in ("valid.acc.ave_2best.pth", f"{EPOCHS}epoch.pth", "checkpoint.pth"):
        paths = [tmp_path / folder / name for folder in ("asr", "whole")]
        loaded = [torch.load(path, weights_only=True) for path in paths]
        one, other = (states.get("model", states) for states in loaded)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], value) for key, value in other.items()), name


def test_two_ranks_train_an_epoch_as_one_does(
    tmp_path: Path, tiny_checkpoint: Path, free_port: int
) -> None:
    """Losses and weights are equal on both ranks, and those of one process with whole batches.

    A spawned rank knows all that is ours: the frontend, cached features, files written whole.
    """
    from espnet2.tasks.asr import ASRTask  # noqa: PLC0415 - heavy

    data = write_data(tmp_path / "data")
    (tmp_path / "ranks_probe.py").write_text(SPAWNING, encoding="utf-8")
    command: list[str] = arguments(data, tiny_checkpoint, tmp_path / "asr", **OPTIONS)  # type: ignore[arg-type]
    done = warm.run(
        ["-m", "harness_bench.asr.espnet.run", "-m", "ranks_probe",
         tmp_path, *command, "--dist_master_port", free_port],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "RANKS": "2"}, kind="espnet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ranks: list[Any] = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    assert all(rank["known"] == {"type": True, "whole": True} for rank in ranks)
    assert ranks[0]["scores"] == ranks[1]["scores"]
    for name, value in ranks[0]["state"].items():
        assert torch.equal(value, ranks[1]["state"][name]), name
    saved = torch.load(tmp_path / "asr" / "1epoch.pth", weights_only=True)
    assert saved.keys() == ranks[0]["state"].keys()
    assert saved["frontend.layer_weights"].any()
    register()
    with torch.random.fork_rng():
        ASRTask.main(cmd=[*command, "--output_dir", str(tmp_path / "alone")])
    alone = torch.load(tmp_path / "alone" / "1epoch.pth", weights_only=True)
    for name, value in alone.items():
        torch.testing.assert_close(saved[name], value, atol=2e-5, rtol=1e-4, msg=name)
