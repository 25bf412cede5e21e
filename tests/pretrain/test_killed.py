"""A cluster kills without warning: whatever a run was doing, it must end as if nothing had been."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from lhotse import CutSet

from tests.pretrain.test_family import TINY

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut

# Dropout on: the random state must survive too. A state is saved at every second update.
FAMILY = TINY.replace("conv_pos = 16\n", "conv_pos = 16\ndropout = 0.1\n").replace(
    "max_update = 3", "max_update = 8\nsave_interval_updates = 2\nlog_interval = 2"
)


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_change_no_bit(cuts: list[Cut], tmp_path: Path, kills: int) -> None:
    """SIGKILL at random moments: during k-means, label files, updates and state writes."""
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
    (tmp_path / "family.toml").write_text(FAMILY)
    done = subprocess.run(
        [sys.executable, "-m", "tests.pretrain.killed", str(tmp_path), str(kills)],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == kills
    assert all(found["equal"])
    assert len(found["equal"]) == 3 * found["families"]
