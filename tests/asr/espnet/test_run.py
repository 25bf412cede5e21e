"""The launcher: commands in turn, their times, and files of a training that may be killed.

test_training.py has what spawned ranks know, and a training that is killed.
"""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness_bench.asr.espnet import run
from harness_bench.core.stage_times import StageTimes
from tests.asr.trainings import arguments, write_data

ECHO = '''
"""Say how it was called."""
import sys

def main():
    print("called with", *sys.argv[1:])
    sys.exit(0)
'''
MODEL = {"a": torch.arange(3.0)}
# Saves an object whose writing kills the process half way.
KILLED = """
import os, signal, sys, torch
from harness_bench.asr.espnet.run import save_atomically

class Deadly:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

save_atomically()
torch.save({"weights": torch.zeros(100_000), "end": Deadly()}, sys.argv[1])
"""


def launch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call the launcher where the programs `echo_probe` and `fail_probe` are."""
    (folder / "echo_probe.py").write_text(ECHO, encoding="utf-8")
    (folder / "fail_probe.py").write_text("def main(): raise SystemExit(3)", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "harness_bench.asr.espnet.run", *arguments],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("words", ["", "-m", "espnet2.bin.asr_train", "--stage x", "-m a --then"])
def test_a_command_without_a_module_is_refused(words: str) -> None:
    """`--then` misplaced must not run half of what was meant."""
    found = run.parse(["--stage", "Stage 1", "-m", "a.b", "-x", "y z", "--then", "-m", "c"])
    assert found == [("Stage 1", "a.b", ["-x", "y z"]), ("c", "c", [])]
    with pytest.raises(ValueError, match="Expected `-m MODULE`"):
        run.parse(words.split())


def test_commands_run_in_turn_until_one_fails(tmp_path: Path) -> None:
    """A decoding after a failed training would decode an old model."""
    words = "-m echo_probe 1 --then -m echo_probe 2 --then -m fail_probe --then -m echo_probe 3"
    done = launch(tmp_path, *words.split())
    assert done.returncode == 3
    assert done.stdout.splitlines() == ["called with 1", "called with 2"]


def test_times_of_all_calls_are_kept_and_shown(tmp_path: Path) -> None:
    """Stages are run in several calls; one that fails keeps the time of its last good run."""
    path = tmp_path / "stage_times.json"
    times, echo = ("--times", str(path)), ("-m", "echo_probe")
    launch(
        tmp_path, *times, "--stage", "Stage 3: b", *echo, "--then", "--stage", "Stage 1: a", *echo
    )
    before = StageTimes(path).rows
    assert [row.stage for row in before] == ["Stage 1: a", "Stage 3: b"]
    launch(tmp_path, *times, "--stage", "Stage 1: a", "-m", "fail_probe")
    assert StageTimes(path).rows == before
    done = launch(tmp_path, *times, "--stage", "Stage 2: c", *echo)
    assert [row.stage[6] for row in StageTimes(path).rows] == ["1", "2", "3"]
    assert StageTimes(path).summary() in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--times FILE -m echo_probe", "times.json is not valid JSON"),
        ("--times", "Usage: [--times FILE]"),
        ("--times -m echo_probe", "Usage: [--times FILE]"),
    ],
)
def test_times_that_cannot_be_kept_are_told_before_the_stages(
    tmp_path: Path, words: str, told: str
) -> None:
    """Told afterwards, it would be after the training; no option may swallow the command."""
    (tmp_path / "times.json").write_text("{", encoding="utf-8")
    done = launch(tmp_path, *words.replace("FILE", str(tmp_path / "times.json")).split())
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr


def checkpoint(folder: Path, epoch: int) -> Path:
    path = folder / run.CHECKPOINT
    torch.save({"model": MODEL, "reporter": {"epoch": epoch, "stats": {}}}, path)
    return path


def test_a_kill_while_saving_leaves_the_old_file(tmp_path: Path) -> None:
    """ESPnet writes over the only checkpoint there is."""
    path = tmp_path / "checkpoint.pth"
    torch.save(MODEL, path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    assert torch.equal(torch.load(path, weights_only=True)["a"], MODEL["a"])
    checkpoint(tmp_path, 1)
    run.mend(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1epoch.pth", "checkpoint.pth"]


def test_saving_gives_the_same_files_and_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever saves into an open file goes past us; asked twice, files are wrapped once."""
    monkeypatch.setattr(torch, "save", torch.save)
    torch.save(MODEL, tmp_path / "plain.pth")
    run.save_atomically()
    once = torch.save
    run.save_atomically()
    assert torch.save is once
    torch.save(MODEL, str(tmp_path / "ours.pth"))
    with (tmp_path / "stream.pth").open("wb") as stream:
        torch.save(MODEL, stream)
    for name in ("plain", "ours", "stream"):
        loaded = torch.load(tmp_path / f"{name}.pth", weights_only=True)
        assert torch.equal(loaded["a"], MODEL["a"])


def test_the_missing_model_of_an_epoch_is_made_from_the_checkpoint(tmp_path: Path) -> None:
    """Otherwise the average over the best epochs fails after the last one."""
    run.mend(tmp_path / "none")
    run.mend(tmp_path)
    assert not list(tmp_path.iterdir())  # as before a first run
    checkpoint(tmp_path, 4)
    run.mend(tmp_path)
    assert torch.equal(torch.load(tmp_path / "4epoch.pth", weights_only=True)["a"], MODEL["a"])
    torch.save({"a": torch.zeros(1)}, tmp_path / "4epoch.pth")
    run.mend(tmp_path)
    assert torch.load(tmp_path / "4epoch.pth", weights_only=True)["a"].shape == (1,)


@pytest.mark.parametrize("cut", [0, 10, 400])
def test_a_torn_checkpoint_is_explained(tmp_path: Path, cut: int) -> None:
    """One that was written without our launcher; ESPnet would speak of unsafe loading."""
    path = checkpoint(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        ValueError, match=r"checkpoint\.pth is not a complete checkpoint.*--init_param"
    ):
        run.mend(tmp_path)


@pytest.mark.parametrize(("arguments", "expected"), [
    (["--output_dir", "a b", "--x", "y"], Path("a b")),
    (["--output_dir=a", "--output_dir", "b"], Path("b")),
    (["--resume", "true"], None),
])  # fmt: skip
def test_the_output_folder_is_found(arguments: list[str], expected: Path | None) -> None:
    """It is where the checkpoint lies; argparse takes the last."""
    assert run.output_dir(arguments) == expected


def test_statistics_that_were_not_written_are_explained(tmp_path: Path) -> None:
    """The slip of many a first run: asr.sh takes global_mvn unless it is told otherwise."""
    words = ["--normalize=global_mvn", "--normalize_conf", f"stats_file={tmp_path / 'stats.npz'}"]
    with pytest.raises(ValueError, match=r"stats\.npz: .*--feats_normalize utterance_mvn"):
        run.check_statistics(words)
    (tmp_path / "stats.npz").touch()
    run.check_statistics([*words, "--normalize_conf", "norm_vars=false"])


@pytest.mark.espnet
def test_a_training_that_learns_nothing_ends_with_a_sentence(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ESPnet skips each update, ends well, and the recipe would publish a WER of 100.

    The first step at this rate makes the weights infinite.
    """
    from espnet2.train.trainer import Trainer  # noqa: PLC0415 - heavy

    monkeypatch.setattr(torch, "save", torch.save)
    for name in ("train_one_epoch", "validate_one_epoch"):
        monkeypatch.setattr(Trainer, name, vars(Trainer)[name])
    data, out = write_data(tmp_path / "data"), tmp_path / "asr"
    words = arguments(data, tiny_checkpoint, out, max_epoch=2)
    with torch.random.fork_rng(), pytest.raises(SystemExit, match=r"epoch 1: .* not finite"):
        run.run("espnet2.bin.asr_train", [*words, "--optim_conf", "lr=1.0e+30"])
    assert not [*out.glob("*.pth")]
    watched = vars(Trainer)["train_one_epoch"]
    run.watch_losses()
    assert vars(Trainer)["train_one_epoch"] is watched


@pytest.mark.parametrize(
    ("losses", "lost", "ends"),
    [([1.0, 2.0], False, False), ([1.0, 2.0], True, True), ([float("nan"), 1.0], None, False),
     ([float("nan"), float("inf"), 1.0], None, True), ([], None, False)],
)  # fmt: skip
def test_a_single_loss_that_is_no_number_ends_no_training(
    losses: list[float], *, lost: bool | None, ends: bool
) -> None:
    """ESPnet skips the update of such a batch; with half precision some are usual."""
    report = SimpleNamespace(
        epoch=3, key="train", stats={"loss": [SimpleNamespace(value=each) for each in losses]}
    )
    epoch = run._watched(lambda *, reporter: lost if reporter else None)
    with pytest.raises(SystemExit) if ends else nullcontext():
        assert epoch(reporter=report) is lost


def test_a_rank_that_ends_with_a_sentence_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own sentence stands in the log; a traceback of the parent would hide it."""
    (tmp_path / "ended_probe.py").write_text(
        "from torch.multiprocessing import ProcessExitedException\n\n"
        "def main(): raise ProcessExitedException('process 1 terminated', 1, 2, 3)",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(SystemExit, match="ended_probe: process 1 terminated"):
        run.run("ended_probe", [])
