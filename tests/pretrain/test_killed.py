"""A cluster kills without warning: whatever a run was doing, it must end as if nothing had been.

Started with a folder and a number, this file kills a family in the making so many times. Every try
is a fork of that process, which has imported everything: so it costs no start-up.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from lhotse import CutSet
from lhotse.cut import Cut

from harness_bench.pretrain.config import checkpoint_folder, load_family
from harness_bench.pretrain.data import cut_source
from harness_bench.pretrain.family import train_family
from tests import warm
from tests.pretrain.conftest import equal
from tests.pretrain.test_family import TINY

# Dropout on: the random state must survive too. A state is saved at every second update.
FAMILY = TINY.replace("conv_pos = 16\n", "conv_pos = 16\ndropout = 0.1\n").replace(
    "max_update = 3", "max_update = 8\nsave_interval_updates = 2\nlog_interval = 2"
)


def attempt(folder: Path, out: Path, seconds: float) -> bool:
    """Make the family in a process that is killed after a while; return whether it was."""
    child = os.fork()
    if child == 0:
        cuts = list(CutSet.from_file(folder / "cuts.jsonl"))
        train_family(folder / "family.toml", cuts, out, accelerator="cpu")
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
    straight, began = folder / "straight", time.monotonic()
    assert not attempt(folder, straight, 1e9)
    whole = time.monotonic() - began
    rng = random.Random(0)
    kills, outs = 0, [folder / "killed-0"]
    while kills < wanted or outs[-1].exists() or len(outs) == 1:
        if attempt(folder, outs[-1], rng.uniform(0, whole / 2) if kills < wanted else 1e9):
            kills += 1
        else:
            outs.append(folder / f"killed-{len(outs)}")
    same = [
        equal(checkpoint_folder(straight, step.name), checkpoint_folder(out, step.name))
        for step in load_family(folder / "family.toml").iterations
        for out in outs[:-1]
    ]
    print(json.dumps({"kills": kills, "families": len(outs) - 1, "equal": same}))  # noqa: T201


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_change_no_bit(cuts: list[Cut], tmp_path: Path, kills: int) -> None:
    """SIGKILL at random moments: during k-means, label files, updates and state writes."""
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
    (tmp_path / "family.toml").write_text(FAMILY)
    done = warm.run(["-m", "tests.pretrain.test_killed", tmp_path, kills], timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == kills
    assert all(found["equal"])
    assert len(found["equal"]) == 3 * found["families"] > 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
