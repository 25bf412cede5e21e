"""Kill a family in the making at random moments, again and again.

Started with a folder and the number of kills.

Every try is a fork of this process, which has imported everything: so it costs no start-up.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from lhotse import CutSet

from harness_bench.pretrain.config import checkpoint_folder, load_family
from harness_bench.pretrain.data import cut_source
from harness_bench.pretrain.family import train_family
from tests.pretrain.conftest import equal


def make(folder: Path, out: Path) -> None:
    """Make the whole family."""
    cuts = list(CutSet.from_file(folder / "cuts.jsonl"))
    family = load_family(folder / "family.toml")
    train_family(family, cuts, out, accelerator="cpu")


def attempt(folder: Path, out: Path, seconds: float) -> bool:
    """Make the family in a process that is killed after a while; return whether it was."""
    child = os.fork()
    if child == 0:
        make(folder, out)
        os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, "a try ended by itself, and not well"
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main(folder: Path, wanted: int) -> None:
    """Print how often it was killed and whether the models of each family are the unkilled ones."""
    torch.set_num_threads(1)
    cut_source.PART_CUTS = 4  # several files of labels
    began = time.monotonic()
    assert not attempt(folder, folder / "straight", 1e9)
    whole = time.monotonic() - began
    rng = random.Random(0)
    kills, finished = 0, 0
    while kills < wanted or (folder / f"killed-{finished}").exists():
        seconds = rng.uniform(0, whole / 2) if kills < wanted else 1e9
        if attempt(folder, folder / f"killed-{finished}", seconds):
            kills += 1
        else:
            finished += 1
    names = [step.name for step in load_family(folder / "family.toml").iterations]
    outs = [folder / f"killed-{number}" for number in range(finished)]
    same = [
        equal(checkpoint_folder(folder / "straight", name), checkpoint_folder(out, name))
        for out in outs
        for name in names
    ]
    found = {"kills": kills, "families": finished, "equal": same, "seconds": whole}
    print(json.dumps(found))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
