"""s3prl's runner cannot tell our upstream from its own on the same folder, and -f trains it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness_bench.models.frozen import load_backbone

pytestmark = pytest.mark.s3prl
SCRIPT = Path(__file__).with_name("two_upstreams.py")
STOCK, OURS, TUNED = "hf_hubert_custom", "harness_local", "harness_local:-f"


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, tone_corpus: Path
) -> Path:
    """Train 12 steps each, batches of 4 of different lengths, in one process."""
    folder = tmp_path_factory.mktemp("runs")
    words = [SCRIPT, tiny_checkpoint, tone_corpus, folder, STOCK, OURS, TUNED]
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, capture_output=True, text=True,
        check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def state(folder: Path) -> dict[str, Any]:
    with torch.serialization.safe_globals([Namespace]):
        loaded: dict[str, Any] = torch.load(folder / "states-12.ckpt", weights_only=True)
    return loaded


def test_losses_equal_those_of_s3prls_own_upstream(runs: Path) -> None:
    """The same seed behind the upstreams' making; the head ignores what padding gives.

    Not to the bit, since s3prl's pads a batch and ours computes utterance by utterance.
    """
    stock, ours = logged(runs / STOCK), logged(runs / OURS)
    assert len(stock) == 12 + 2
    for theirs, mine in zip(stock, ours, strict=True):
        assert mine.pop("split") == theirs.pop("split")
        assert mine == pytest.approx(theirs, rel=2e-6)
    assert len({row["loss"] for row in ours}) == len(ours), "nothing was trained"


def test_only_minus_f_trains_the_upstream(runs: Path, tiny_checkpoint: Path) -> None:
    """Frozen weights are no part of a checkpoint; with -f every weight that is used moves."""
    assert "Upstream" not in state(runs / OURS)
    tuned = state(runs / TUNED)["Upstream"]
    before = load_backbone(tiny_checkpoint).state_dict()
    unused = {"hubert.masked_spec_embed", "hubert.encoder.layer_norm.weight",
              "hubert.encoder.layer_norm.bias"}  # fmt: skip
    same = {name for name, value in before.items() if torch.equal(tuned[f"backbone.{name}"], value)}
    assert same == unused
    assert logged(runs / TUNED)[0] == logged(runs / OURS)[0], "dropout, or another start"
    assert logged(runs / TUNED)[-1]["loss"] != logged(runs / OURS)[-1]["loss"]
