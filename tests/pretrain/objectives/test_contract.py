"""A new objective is one file: dropped into the folder, it trains, logs, saves and resumes."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lhotse.cut import Cut
from safetensors.torch import load_file

from harness_bench.core.files import read_jsonl
from harness_bench.core.registry import attribute
from harness_bench.models.checkpoint import HEAD
from harness_bench.pretrain import objectives
from harness_bench.pretrain.config import IterationConfig, LabelConfig, objective_names
from harness_bench.pretrain.curves import read_curve
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.labels.store import NoLabels
from harness_bench.pretrain.monitor import LOG_FILE, VALID_FILE
from harness_bench.pretrain.objectives.base import Objective, objective_class
from harness_bench.pretrain.state import states
from harness_bench.pretrain.validation import ValidSet
from tests.pretrain.conftest import Train, equal, small_step

# BEST-RQ in small: a frozen random projection of the energy per frame is the target.
MADE_UP = """
import torch
from pydantic.dataclasses import dataclass
from torch import nn
from harness_bench.core.config import STRICT
from harness_bench.pretrain.objectives.base import Objective

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
    scale: float = 1.0

class MadeUp(Objective):
    Options = Options
    needs_labels = False

    def build_head(self):
        self.out = nn.Linear(self.hubert.config.encoder_embed_dim, 1)
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, batch):
        seen = self.hubert(batch.samples, batch.lengths, batch.mask).output
        frames = batch.samples.unfold(1, 400, 320).square().mean(-1)[:, : seen.shape[1]]
        chosen = batch.mask & (batch.labels >= 0)
        gap = self.out(seen[chosen])[:, 0] - self.options.scale * frames[chosen]
        return {"error": gap.square().sum()}

    def loss(self, sums, local, total, ranks):
        return sums["error"] * ranks / total[0].clamp(min=1)

    def figures(self, sums, counts, batches):
        return {"loss_masked": sums["error"] / max(counts[0], 1), "frames_masked": counts[0]}

    def after_update(self):
        self.steps += 1

OBJECTIVE = MadeUp
"""


@pytest.fixture
def made_up(tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "plugins"
    folder.mkdir()
    for path in Path(next(iter(objectives.__path__))).glob("*.py"):
        (folder / path.name).symlink_to(path)
    (folder / "made_up.py").write_text(MADE_UP)
    objectives.__path__.insert(0, str(folder))
    yield
    del objectives.__path__[0]
    sys.modules.pop(f"{objectives.__name__}.made_up", None)


def unlabelled(**changes: Any) -> IterationConfig:
    step = small_step(save_interval_updates=1, log_interval=1, **changes)
    none = LabelConfig(source="none")
    return replace(step, labels=none, objective="made_up", objective_options={"scale": 2.0})


@pytest.mark.usefixtures("made_up")
def test_one_file_trains_logs_saves_and_resumes(
    train: Train, cuts: list[Cut], tmp_path: Path
) -> None:
    """Stopped after two of three updates, it ends with the very weights of an unbroken run."""
    step = unlabelled(max_update=3, keep_interval_updates=2)
    watched = replace(step, pretrain=replace(step.pretrain, validate_interval_updates=2))
    valid = ValidSet(CutList(cuts[:3]), NoLabels())
    straight = train(watched, tmp_path / "a", labels=NoLabels(), valid=valid)
    held_out = [row["frames_masked"] for row in read_jsonl(tmp_path / "a" / VALID_FILE)]
    assert len(set(held_out)) == 1 < len(held_out)
    first = read_jsonl(tmp_path / "a" / LOG_FILE)
    assert {"loss_masked", "frames_masked", "grad_norm"} <= next(first).keys()
    assert read_curve(tmp_path / "a", field="frames_masked").values.shape == (3,)
    head = load_file(straight / HEAD)
    assert set(head) == {"out.weight", "out.bias", "steps"}
    assert float(head["steps"]) == 3

    stopped = train(step, tmp_path / "b", labels=NoLabels())
    (stopped / "config.json").unlink()
    states(tmp_path / "b")[-1].unlink()
    torch.manual_seed(99)
    resumed = train(step, tmp_path / "b", labels=NoLabels())
    assert equal(straight, resumed)
    assert (straight / HEAD).read_bytes() == (resumed / HEAD).read_bytes()


@pytest.mark.usefixtures("made_up")
def test_mistakes_are_found_before_training() -> None:
    step = unlabelled()
    with pytest.raises(ValueError, match="'scales'; did you mean scale"):
        objective_class(replace(step, objective_options={"scales": 1.0}))
    with pytest.raises(ValueError, match=r"'made_up' needs .*'mfcc'"):
        objective_class(replace(step, labels=LabelConfig(source="mfcc")))
    with pytest.raises(ValueError, match=r"'hubert' needs .*'none'"):
        objective_class(replace(step, objective="hubert", objective_options={}))
    with pytest.raises(ValueError, match="'hubrt'; known: "):
        replace(step, objective="hubrt")


@pytest.mark.parametrize("name", objective_names())
def test_every_file_keeps_the_contract(name: str) -> None:
    """`OBJECTIVE` is a subclass that can be built: nothing abstract is left."""
    kind = attribute(f"{objectives.__name__}.{name}", "OBJECTIVE")
    assert issubclass(kind, Objective)
    assert not kind.__abstractmethods__
    labels = small_step().labels if kind.needs_labels else LabelConfig(source="none")
    assert objective_class(replace(small_step(), objective=name, labels=labels)) is kind
