"""What a result tells of its training, and that the leaderboard shows the row rightly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
import yaml
from harness_bench.leaderboard.build import build, make_board

from harness_bench.asr.score import config_text, read_trained
from harness_bench.core.stage_times import StageTimes
from harness_bench.models.frozen import checkpoint_digest, parameter_count
from tests.asr.decoded import corpus, decode, score_set

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {
    "frontend": "harness", "seed": 7, "max_epoch": 70, "specaug": None,
    "token_list": [str(number) for number in range(9000)],
}  # fmt: skip


def training(folder: Path, **changes: object) -> Path:
    """Write an ESPnet training folder as far as results look at it."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS | changes))
    torch.save({"frontend.layer_weights": torch.zeros(4)}, folder / "ave.pth")
    return folder


def test_facts_of_a_training(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Upstream, seed, settings, times and leaks stand in the result, not in somebody's memory."""
    asr = training(tmp_path / "asr", frontend_conf={"checkpoint": str(tiny_checkpoint)})
    times = StageTimes(tmp_path / "times.json")
    times.add("Stage 11: training [ours]", 12.5, 20)
    times.add("Stage 11: training [another]", 99, 99)
    times.add("Stage 12: decoding", 2.5, 3)
    cuts = corpus("qasr", tmp_path)
    decoded = decode(cuts, "qasr_test", tmp_path / "decode", "نعم لا")
    (tmp_path / "decode.yaml").write_text("beam_size: 20\n")
    more = {
        "asr": asr, "asr_model": "ave.pth", "inference_config": tmp_path / "decode.yaml",
        "times": tmp_path / "times.json", "command": "run.sh --stage 1", "train_set": "train",
        "pretraining_data": "made up, 1 h", "times_of": "ours",
    }  # fmt: skip
    options = [word for name, value in more.items() for word in (f"--{name}", str(value))]
    result = score_set(cuts, "qasr_test", decoded, tmp_path / "out", *options)
    assert result.model_kind == "pretrained"
    assert result.checkpoint_digest == checkpoint_digest(tiny_checkpoint)
    assert result.parameters == parameter_count(tiny_checkpoint)
    assert (result.seed, result.seeds) == (7, (7,))
    assert result.layer_weights == (0.25, 0.25, 0.25, 0.25)
    assert result.stage_seconds == {"Stage 11: training": 12.5, "Stage 12: decoding": 2.5}
    assert result.seconds == 15
    assert (result.command, result.pretraining_data) == ("run.sh --stage 1", "made up, 1 h")
    assert yaml.safe_load(result.training_config) == {
        "frontend": "harness", "frontend_conf": {"checkpoint": str(tiny_checkpoint)},
        "seed": 7, "max_epoch": 70, "inference": {"beam_size": 20},
    }  # fmt: skip
    assert result.leakage is not None
    assert result.leakage.verdict == "clean"
    assert "jiwer" in result.versions


def test_fbank_is_the_baseline(tmp_path: Path) -> None:
    """It has no upstream: no parameters, no digest, no pretraining."""
    found = read_trained(training(tmp_path / "asr", frontend="default"))
    assert found.kind == "baseline"
    told = found.fields()
    assert (told["parameters"], told["pretraining_data"]) == (0, "none")
    assert "checkpoint_digest" not in told


def test_a_checkpoint_that_went_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures hold all the same, so nothing is refused."""
    asr = training(tmp_path / "asr", frontend_conf={"checkpoint": str(tmp_path / "gone")})
    assert "checkpoint_digest" not in read_trained(asr).fields()
    assert "gone is not there" in capsys.readouterr().err


def test_broken_training_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no config file .*config\.yaml"):
        read_trained(tmp_path)
    with pytest.raises(ValueError, match=r"no model .*nothing.pth"):
        read_trained(training(tmp_path / "asr"), "nothing.pth")
    (tmp_path / "asr" / "config.yaml").write_text("- a list\n")
    with pytest.raises(ValueError, match="expected names and values, found list"):
        read_trained(tmp_path / "asr")
    with pytest.raises(ValueError, match="letters without its tokens"):
        config_text({"long": "x" * 20_001})


def test_rows_stand_in_their_columns_beside_the_papers(tmp_path: Path) -> None:
    """MGB-2's WER is held against the paper's; MR-WER is not, for the paper's is some WER."""
    results = tmp_path / "results"
    for name, said in (("mgb2", "نعم لا ok"), ("mgb3", "اهلا وسهلا ok Omar")):
        cuts = corpus(name, tmp_path / name)
        split = f"{name}_test"
        decoded = decode(cuts, split, tmp_path / name / "decode", said)
        for model in ("HArnESS-L", "HArnESS-S"):
            out = tmp_path / name / model
            score_set(cuts, split, decoded, out, "--model", model)
            for path in (out / "results").rglob("*.json*"):
                target = results / path.relative_to(out / "results")
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    board = make_board(results, title="ours")
    assert not board.problems
    assert not board.measured.notes
    heads = {column.corpus: column for column in board.measured.columns}
    assert (heads["MGB2"].metric, heads["MGB2"].normaliser) == ("wer", "mgb2 v2")
    assert (heads["MGB3"].metric, heads["MGB3"].normaliser) == ("mr_wer", "mgb3 v1")
    row = next(row for row in board.measured.rows if row.model == "HArnESS-L")
    paper = row.cells[heads["MGB2"]].paper
    assert paper is not None
    assert paper.corpus == "MGB2"
    assert row.cells[heads["MGB3"]].paper is None
    for column in heads.values():
        found = board.measured.evidence[column]
        assert len(found.tests) == 1
        assert all(each["code-switched"] for each in found.breakdowns.values())
    assert ("asr", "MGB3", "test", "wer", "") in {
        (column.task, column.corpus, column.split, column.metric, column.normaliser)
        for column in board.reported.columns
    }
    files = build(results, tmp_path / "board", title="ours")
    assert "mr_wer" in files.html.read_text()
    lines = files.csv.read_text().splitlines()
    for metric in ("av_wer", "wer_against_Ali", "mr_wer_none"):
        assert any("HArnESS-L" in line and f",{metric}," in line for line in lines), metric
    stored = json.loads((results / "HArnESS-L.asr.MGB3.test.json").read_text())
    assert stored["predictions"] == "predictions/HArnESS-L.asr.MGB3.test.jsonl"
