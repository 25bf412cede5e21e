"""Files of a training that may be killed at any instant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness_bench.asr.espnet import resume

MODEL = {"a": torch.arange(3.0)}
# Saves an object whose writing kills the process half way.
KILLED = """
import os, signal, sys, torch
from harness_bench.asr.espnet.resume import save_atomically

class Deadly:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

save_atomically()
torch.save({"weights": torch.zeros(100_000), "end": Deadly()}, sys.argv[1])
"""


def checkpoint(folder: Path, epoch: int) -> Path:
    path = folder / resume.CHECKPOINT
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
    resume.mend(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1epoch.pth", "checkpoint.pth"]


def test_saving_gives_the_same_files_and_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever saves into an open file goes past us; asked twice, files are wrapped once."""
    monkeypatch.setattr(torch, "save", torch.save)
    torch.save(MODEL, tmp_path / "plain.pth")
    resume.save_atomically()
    once = torch.save
    resume.save_atomically()
    assert torch.save is once
    torch.save(MODEL, str(tmp_path / "ours.pth"))
    with (tmp_path / "stream.pth").open("wb") as stream:
        torch.save(MODEL, stream)
    for name in ("plain", "ours", "stream"):
        loaded = torch.load(tmp_path / f"{name}.pth", weights_only=True)
        assert torch.equal(loaded["a"], MODEL["a"])


def test_the_missing_model_of_an_epoch_is_made_from_the_checkpoint(tmp_path: Path) -> None:
    """Otherwise the average over the best epochs fails after the last one."""
    checkpoint(tmp_path, 4)
    resume.mend(tmp_path)
    assert torch.equal(torch.load(tmp_path / "4epoch.pth", weights_only=True)["a"], MODEL["a"])
    torch.save({"a": torch.zeros(1)}, tmp_path / "4epoch.pth")
    resume.mend(tmp_path)
    assert torch.load(tmp_path / "4epoch.pth", weights_only=True)["a"].shape == (1,)


def test_a_folder_without_a_checkpoint_is_left_alone(tmp_path: Path) -> None:
    """A first run has none, nor even the folder."""
    resume.mend(tmp_path / "none")
    resume.mend(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cut", [0, 10, 400])
def test_a_torn_checkpoint_is_explained(tmp_path: Path, cut: int) -> None:
    """One that was written without our launcher; ESPnet would speak of unsafe loading."""
    path = checkpoint(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"checkpoint\.pth is no whole checkpoint.*--init_param"):
        resume.mend(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--output_dir", "a b", "--x", "y"], Path("a b")),
        (["--output_dir=a", "--output_dir", "b"], Path("b")),
        (["--resume", "true"], None),
    ],
)
def test_the_output_folder_is_found(arguments: list[str], expected: Path | None) -> None:
    """It is where the checkpoint lies; argparse takes the last."""
    assert resume.output_dir(arguments) == expected
