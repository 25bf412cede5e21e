"""The loop: it learns, resumes bit-equal, refuses other runs, and exports what it trained."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import torch
from lhotse import CutSet

from harness_bench.core.fabric import make_fabric
from harness_bench.core.files import read_jsonl
from harness_bench.models.checkpoint import load_hubert, read_facts
from harness_bench.pretrain import trainer as module
from harness_bench.pretrain.monitor import LOG_FILE
from harness_bench.pretrain.state import state_path, states
from harness_bench.pretrain.trainer import learning_rate_share, pretrain
from tests.pretrain.conftest import small_step

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut
    from lightning.fabric import Fabric

    from harness_bench.pretrain.labels.store import LabelStore


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return make_fabric(accelerator="cpu")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_hubert(folder).state_dict()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_resume_is_bit_equal(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A run stopped between saves and started again ends with the very same weights.

    Dropout is on, so the random state counts; the stop is in the middle of an epoch.
    """
    step = small_step()
    straight = pretrain(step, cuts, labels, tmp_path / "a", fabric=fabric)
    real, calls = module._backward, []

    def dies(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_backward", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain(step, cuts, labels, tmp_path / "b", fabric=fabric)
    state = torch.load(state_path(tmp_path / "b", 5), weights_only=True)
    update, _, batches = state["ranks"][0]["progress"].tolist()
    assert update == 5
    assert batches > 0
    monkeypatch.setattr(module, "_backward", real)
    torch.manual_seed(99)
    resumed = pretrain(step, cuts, labels, tmp_path / "b", fabric=fabric)
    assert equal(weights(straight), weights(resumed))
    updates = [row["update"] for row in read_jsonl(tmp_path / "b" / LOG_FILE)]
    assert updates == sorted(set(updates))


def test_it_learns(cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric) -> None:
    """Loss falls well below its start on data it sees again and again; no figure is made up."""
    step = small_step(max_update=60, log_interval=10, lr=3e-3)
    pretrain(step, cuts, labels, tmp_path, fabric=fabric)
    rows = list(read_jsonl(tmp_path / LOG_FILE))
    assert rows[-1]["loss_unmasked"] < 0.8 * rows[0]["loss_unmasked"]
    assert rows[-1]["accuracy_unmasked"] > rows[0]["accuracy_unmasked"]


def test_a_finished_run_is_left_alone(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """The second call of the same command must not train again."""
    folder = pretrain(small_step(max_update=2), cuts, labels, tmp_path, fabric=fabric)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    pretrain(small_step(max_update=2), cuts, labels, tmp_path, fabric=fabric)
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert read_facts(folder)["name"] == "small"


def test_another_run_is_refused_or_replaced(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """Weeks of training are not lost to a changed config, unless the user says so."""
    pretrain(small_step(max_update=2), cuts, labels, tmp_path, fabric=fabric)
    other = small_step(max_update=2, lr=1e-3)
    with pytest.raises(ValueError, match=r"config\.pretrain\.lr \(was"):
        pretrain(other, cuts, labels, tmp_path, fabric=fabric)
    folder = pretrain(other, cuts, labels, tmp_path, fabric=fabric, restart=True)
    assert read_facts(folder)["config"]["pretrain"]["lr"] == 1e-3


def test_a_broken_gradient_stops_the_run(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """Not-a-number must end the run with the utterances' names, not with NaN weights."""
    step = small_step(lr=1e30, clip_norm=1e30, max_update=50, save_interval_updates=1000)
    with pytest.raises(RuntimeError, match=r"gradient norm is .*utt0"):
        pretrain(step, cuts, labels, tmp_path, fabric=fabric)
    assert not (tmp_path / "checkpoint").exists()


def test_learning_rate_rises_then_falls() -> None:
    """Linear warm-up over 8 %, then linear decay that reaches zero at the end."""
    config = small_step(max_update=100, warmup_updates=None).pretrain
    shares = [learning_rate_share(update, config) for update in range(101)]
    assert config.warmup == 8
    assert shares[:8] == pytest.approx([i / 8 for i in range(1, 9)])
    assert max(shares) == 1.0
    assert shares[100] == 0.0
    assert all(a >= b for a, b in itertools.pairwise(shares[7:]))


SCRIPT = """
import sys, time
from pathlib import Path
from lhotse import CutSet
from harness_bench.pretrain.labels.store import LabelStore
from harness_bench.pretrain import state
from harness_bench.core.fabric import make_fabric
from harness_bench.pretrain.trainer import pretrain
from tests.pretrain.conftest import small_step
real = state.torch.save
def slow(value, path):  # a save that is killed half way
    data = Path(path); real(value, data); whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2]); print("half written", flush=True); time.sleep(60)
state.torch.save = slow
cuts = list(CutSet.from_file(sys.argv[1]))
pretrain(small_step(), cuts, LabelStore(Path(sys.argv[2])), Path(sys.argv[3]),
         fabric=make_fabric(accelerator="cpu"))
"""


def test_a_kill_while_saving_leaves_no_half_state(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path, fabric: Fabric
) -> None:
    """SIGKILL in the middle of a save: the run folder has the old state or none, never half."""
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
    out = tmp_path / "run"
    arguments = [str(tmp_path / "cuts.jsonl"), str(labels.folder), str(out)]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "half written" in process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert not states(out)
    resumed = pretrain(small_step(), cuts, labels, out, fabric=fabric)
    straight = pretrain(small_step(), cuts, labels, tmp_path / "straight", fabric=fabric)
    assert equal(weights(resumed), weights(straight))
