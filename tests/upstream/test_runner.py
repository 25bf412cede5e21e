"""s3prl's runner cannot tell our upstream from its own on the same folder, and -f trains it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harness_bench.core.files import read_jsonl
from harness_bench.models.frozen import load_backbone
from tests.probing.resume_runs import load
from tests.probing.trainings import run_trainings

pytestmark = pytest.mark.s3prl
STOCK, OURS, TUNED = "hf_hubert_custom", "harness_local", "harness_local -f"


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, tone_corpus: Path
) -> Path:
    """Train 12 steps each, batches of 4 of different lengths, in one process."""
    folder = tmp_path_factory.mktemp("runs")
    ways = {name: f"-u {name}" for name in (STOCK, OURS, TUNED)}
    return run_trainings(folder, tiny_checkpoint, tone_corpus, ways).folder


def logged(folder: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(folder / "metrics.jsonl"))


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
    assert "Upstream" not in load(runs / OURS / "states-12.ckpt")
    tuned = load(runs / TUNED / "states-12.ckpt")["Upstream"]
    before = load_backbone(tiny_checkpoint).state_dict()
    unused = {"hubert.masked_spec_embed", "hubert.encoder.layer_norm.weight",
              "hubert.encoder.layer_norm.bias"}  # fmt: skip
    same = {name for name, value in before.items() if torch.equal(tuned[f"backbone.{name}"], value)}
    assert same == unused
    assert logged(runs / TUNED)[0] == logged(runs / OURS)[0], "dropout, or another start"
    assert logged(runs / TUNED)[-1]["loss"] != logged(runs / OURS)[-1]["loss"]
