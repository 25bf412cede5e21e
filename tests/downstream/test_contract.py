"""What every task folder promises s3prl's runner, whichever folders there are."""

import importlib
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import yaml

from harness_bench.core.files import read_json
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.probing.head.config import BEST, DIVERGED
from harness_bench.probing.s3prl.arguments import packaged_config, tasks
from harness_bench.results.predictions import ClassPrediction, read_predictions

DIM, RATE = 6, 320
type Make = Callable[..., Any]


@pytest.fixture(params=tasks())
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(task: str, tone_corpus: Path) -> dict[str, Any]:
    """Return the packaged config, pointed at the test's corpus."""
    values: dict[str, Any] = yaml.safe_load(packaged_config(task).read_text())
    values["downstream_expert"]["datarc"]["cuts"] = str(tone_corpus)
    return values


@pytest.fixture
def make(task: str, config: dict[str, Any], tmp_path: Path) -> Make:
    """Return a function that makes a task's expert as s3prl's runner does."""
    expert = importlib.import_module(f"harness_bench.downstream.{task}.expert").DownstreamExpert
    arguments = {"seed": 7, "downstream": task, "expdir": str(tmp_path)}
    return lambda mode="train": expert(DIM, RATE, **config, **arguments, mode=mode)


def run_split(expert: Any, split: str, *, step: int, epoch: int | None = None) -> list[Any]:
    """Go through a split with made-up features; return the last loss and the names to save."""
    expert.train(split == "train")
    records: dict[str, Any] = defaultdict(list)
    loss = None
    for wavs, *others in expert.get_dataloader(split, epoch=epoch):
        features = [torch.full((round(len(wav) / RATE), DIM), float(wav.std())) for wav in wavs]
        loss = expert(split, features, *others, records=records)
    return [loss, expert.log_records(split, records=records, logger=Mock(), global_step=step)]


def test_config_is_the_papers(config: dict[str, Any]) -> None:
    """Batch 4, 10,000 steps, hidden 80, dropout 0.4, three layers of kernel 5, nothing more."""
    data, head = (config["downstream_expert"][part] for part in ("datarc", "modelrc"))
    assert (data["train_batch_size"], config["runner"]["total_steps"]) == (4, 10_000)
    sizes = {"hidden": 80, "conv_layers": 3, "kernel_size": 5, "dropout": 0.4}
    assert head == {"input_norm": "none", "average": 0, **sizes}
    assert config["runner"]["total_steps"] % config["runner"]["eval_step"] == 0


def test_a_whole_round(make: Make, tmp_path: Path) -> None:
    """Train, dev, a worse dev, test: what is saved and written when."""
    expert = make()
    assert float(expert.best_score) < 0, "a first dev score of 0 % must be saved, to have a head"
    loss, names = run_split(expert, "train", step=1, epoch=0)
    loss.backward()
    assert all(p.grad is not None for p in expert.parameters())
    assert names == []
    assert run_split(expert, "dev", step=1)[1] == [BEST]
    best = expert.best_score.clone()
    first = (tmp_path / "predictions.dev.jsonl").read_bytes()
    assert run_split(expert, "dev", step=2)[1] == [], "an equal score must not replace the best"
    assert run_split(expert, "test", step=2)[1] == []
    assert not (tmp_path / "predictions.test.jsonl").exists(), "step 2 is not the best step"
    run_split(expert, "test", step=0)
    assert (tmp_path / "predictions.dev.jsonl").read_bytes() == first
    assert torch.equal(expert.best_score, best)
    rows = read_predictions(tmp_path / "predictions.test.jsonl", ClassPrediction)
    assert {row.id for row in rows} == {f"test-{number:02d}" for number in range(12)}
    assert all(row.pred == max(row.probs, key=row.probs.__getitem__) for row in rows)
    assert {row.group for row in rows} == {f"test-speaker-{number}" for number in range(4)}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["split"] for line in lines] == ["train", "dev", "dev", "test", "test"]


@pytest.mark.parametrize("split", ["train", "dev"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_figures_that_are_not_finite_leave_no_head(
    split: str, value: float, make: Make, tmp_path: Path
) -> None:
    """All utterances would be of the first class, and a third of them right: a row of nothing."""
    expert = make()
    run_split(expert, "dev", step=1)
    (tmp_path / BEST).touch()  # as s3prl does by the name that it was given
    before = (tmp_path / "metrics.jsonl").read_text()
    with torch.no_grad():
        expert.model.output.bias[0] = value
    with pytest.raises(ValueError, match=f"step 2 .*{split} are not finite"):
        run_split(expert, split, step=2, epoch=0 if split == "train" else None)
    assert not (tmp_path / BEST).exists()
    assert read_json(tmp_path / DIVERGED)["step"] == 2
    assert (tmp_path / "metrics.jsonl").read_text() == before
    make()  # the next try
    assert not (tmp_path / DIVERGED).exists()


def test_predictions_carry_what_the_cuts_tell(
    make: Make, config: dict[str, Any], tone_corpus: Path, tmp_path: Path
) -> None:
    """Breakdowns by gender need it beside each prediction; the label itself is no breakdown."""
    cuts = {split: read_cuts(tone_corpus, split) for split in ("train", "test")}
    for number, cut in enumerate(cuts["test"]):
        cut.supervisions[0].gender = "female" if number % 2 else "male"
    for split, rows in cuts.items():
        write_cuts(tmp_path / "cuts", split, rows)
    config["downstream_expert"]["datarc"]["cuts"] = str(tmp_path / "cuts")
    run_split(make(), "test", step=0)
    found = read_predictions(tmp_path / "predictions.test.jsonl", ClassPrediction)
    expected = {cut.id: {"gender": cut.supervisions[0].gender} for cut in cuts["test"]}
    assert {row.id: row.tags for row in found} == expected


def test_checkpoint_restores_and_knows_its_classes(make: Make, tmp_path: Path) -> None:
    """Weights read from a file, as -e does; other classes are refused, not relabelled."""
    expert = make()
    torch.save(expert.state_dict(), tmp_path / "head.ckpt")
    state = torch.load(tmp_path / "head.ckpt", weights_only=True)
    again = make("evaluate")
    again.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(expert.parameters(), again.parameters()))  # noqa: B905
    state["_extra_state"]["classes"] = ["x", "y", "z"]
    with pytest.raises(ValueError, match=r"classes are \['x', 'y', 'z'\]"):
        again.load_state_dict(state)


def test_evaluation_takes_the_classes_of_the_training(
    make: Make, config: dict[str, Any], tmp_path: Path
) -> None:
    """Testing on other cuts must not need the train split of those."""
    make()
    config["downstream_expert"]["datarc"]["cuts"] = "/nowhere"
    expert = make("evaluate")
    assert expert.classes == read_json(tmp_path / "classes.json") == ["high", "low", "middle"]


def test_unknown_setting_is_named(make: Make, config: dict[str, Any]) -> None:
    """A misspelt -o override would otherwise silently leave the default."""
    config["downstream_expert"]["modelrc"]["droput"] = 0.1
    with pytest.raises(ValueError, match=r"'modelrc\.droput'; did you mean dropout"):
        make()


def test_inference_of_a_file(
    make: Make, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`-m inference` classifies one file with a trained head."""
    expert = make().eval()
    wav = expert.load_audio(tone_corpus / "test-00.wav")
    expert.inference([torch.randn(len(wav) // RATE, DIM)], ["test-00"])
    found = json.loads(capsys.readouterr().out)
    assert found["id"] == "test-00"
    assert sum(found["probs"].values()) == pytest.approx(1)
    assert set(found["probs"]) == set(expert.classes)
