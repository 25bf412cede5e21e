"""From audio to the leaderboard in one go, what is kept, and what goes with rows that go."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness_bench.core.files import read_json
from harness_bench.demo.plan import TINY
from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.results.record import load_results
from harness_bench.study.opened import open_study, save_study
from harness_bench.study.plan import plan
from harness_bench.study.run_all import joined
from tests.study.chain import run_here, tiny_speech, write_study

if TYPE_CHECKING:
    from harness_bench.results.record import Result
    from harness_bench.study.job import Ended
    from harness_bench.study.opened import Study

GPU = Path(__file__).parents[2] / "egs" / "evidence" / "gpu.toml"
STATES = {"fbank": 0, "random": 3, "it1": 3, "student": 2}  # with a weight each


def check_row(file: Path, result: Result) -> None:
    """One result says what was measured, of every utterance, and what its model is."""
    assert result.synthetic
    assert "synthetic" in result.corpus
    assert result.predictions is not None
    assert (result.costs is None) == (result.checkpoint_digest is None)
    assert len(result.layer_weights) == (0 if result.head else STATES[result.model])
    assert result.leakage
    assert result.leakage.verdict == "clean"  # speakers are disjoint
    path_of = file.parent / result.predictions
    if result.task == "asr":
        assert result.seed == 3
        assert len(read_predictions(path_of, TextPrediction)) == TINY.asr.test
        return
    predictions = read_predictions(path_of, ClassPrediction)
    tags = {tag: {row.tags.get(tag) for row in predictions} for tag in ("gender", "dialect")}
    assert tags == {"gender": {"female", "male"}, "dialect": {None}}, "the label is no tag"
    assert len(predictions) == result.utterances == getattr(TINY.did, result.split)
    right = sum(row.truth == row.pred for row in predictions)
    assert result.main.value == pytest.approx(100 * right / len(predictions))
    assert result.main.interval is not None
    assert result.seeds == (() if result.head else (1337 + 3,))


def run(study: Study) -> dict[str, Ended]:
    """Run a study here; what fails is shown."""
    save_study(study)
    ended = run_here(study.out, plan(study))
    assert {each.name: each.why for each in ended.values() if not each.good} == {}
    return ended


@pytest.mark.s3prl
@pytest.mark.espnet
@pytest.mark.usefixtures("warm_python")
def test_audio_to_leaderboard(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """All rows come out, measured from predictions for every utterance; a second run keeps all.

    Every border between two steps is crossed here: unit tests alone would not notice one step
    writing what the next cannot read.
    """
    study, out = open_study(write_study(tmp_path), tmp_path / "out"), tmp_path / "out"
    run(study)

    results, _ = load_results(out / "results")
    assert {r.split for r in results.values()} == {"test"}
    models = {"fbank", "random", "it1", "student"}
    expected = {(model, "did", head) for model in models for head in ("", "linear")}
    expected |= {(model, "asr", "") for model in ("fbank", "student")}
    assert load_results(out / "results")[1] == {}
    assert shown(out) == expected
    for file, result in results.items():
        check_row(file, result)
    heard = {r.pretraining_data for r in results.values() if r.model_kind == "pretrained"}
    assert {re.sub(r"[\d.]+", "N", text) for text in heard} == {"synthetic ssl, did, train, N h"}
    provenance = [read_json(each)["config"] for each in out.glob("pretrain/*/run/provenance.json")]
    assert {each["pretrain"]["seed"] for each in provenance} == {3}
    for written in ("index.html", "leaderboard.md", "leaderboard.csv", "leaderboard.tex"):
        assert (out / "leaderboard" / written).stat().st_size > 500
    with (out / "leaderboard" / "leaderboard.csv").open(encoding="utf-8") as stream:
        assert models <= {row["model"] for row in csv.DictReader(stream)}

    before = snapshot(out)
    assert {each.state for each in run(study).values()} == {"kept"}
    assert snapshot(out) == before

    forget_jobs(out)  # the steps' own notes are the exact ones
    assert {each.state for each in run(study).values()} == {"done"}
    after = snapshot(out)
    assert {path for path in before if before[path] != after[path]} == set()

    more = joined(out, str(tiny_checkpoint), name="mine", tasks=("did",))
    save_study(more)  # as its driver does
    (out / "results" / "strange.json").write_text("{}")
    ended = run_here(out, plan(more))
    assert ended["probe did it1"].state == "kept"
    assert shown(out) == expected | {("mine", "did", ""), ("mine", "did", "linear")}
    again = open_study(tmp_path / "chain.toml", out)  # the file itself keeps what joined
    assert {each.state for each in run_here(out, plan(again)).values()} == {"kept"}

    fewer = tuple(model for model in study.given.models if model.title != "random")
    run_here(out, plan(replace(study, config=replace(study.given, models=fewer))))
    assert shown(out) == {row for row in expected if row[0] != "random"}
    assert (out / "results" / "strange.json").is_file()  # of somebody else


def shown(out: Path) -> set[tuple[str, str, str]]:
    """Return what is published, broken files aside."""
    results, _ = load_results(out / "results")
    return {(result.model, result.task, result.head) for result in results.values()}


def snapshot(out: Path) -> dict[Path, int]:
    """Return when what is costly or shown was written."""
    patterns = (
        "probes/did/*/*/outcome.json", "pretrain/*/run/state-*.pt", "asr/*/outcome.json",
        "costs/*.json", "probes/did.linear/*/predictions.test.jsonl", "results/*.json",
    )  # fmt: skip
    found = {path: path.stat().st_mtime_ns for like in patterns for path in out.glob(like)}
    assert len(found) == 4 + 2 + 2 + 3 + 4 + 10
    return found


def forget_jobs(out: Path) -> None:
    for path in (out / "jobs").glob("*.json"):
        path.unlink()


@pytest.mark.slow
@pytest.mark.s3prl
@pytest.mark.espnet
def test_the_evidence_of_a_gpu_in_small(tmp_path: Path) -> None:
    """Its config but for sizes, rows and the GPU: a lent machine is no place to find mistakes."""
    tiny_speech(tmp_path / "data")
    family = GPU.with_name("family_gpu.toml").read_text()
    for key, value in {"max_update": 2, "clusters": 4, "max_seconds": 4.0}.items():
        family = re.sub(rf"\b{key} = [\d.]+", f"{key} = {value}", family)
    (tmp_path / "family_gpu.toml").write_text(family)
    (tmp_path / "gpu.toml").write_text(GPU.read_text())
    study = open_study(tmp_path / "gpu.toml", tmp_path / "out", data_root=tmp_path / "data")
    config = study.config
    kept = ("mfcc", "random_harness_st_mel", "harness_st", "mel_it2")
    config = replace(
        config,
        models=tuple(model for model in config.models if model.title in kept),
        tasks=(config.tasks[1], replace(config.tasks[3], models=("harness_st",))),
        heads=replace(
            config.heads, seeds=config.heads.seeds[:2],
            probe=config.heads.probe | {"total_steps": 2, "eval_step": 1},
        ),
        asr=config.asr | {"max_epoch": 1, "ngpu": 0},
    )  # fmt: skip
    run(replace(study, config=config))
    expected = {(model, "lid", head) for model in kept for head in ("", "linear")}
    expected.add(("harness_st", "asr", ""))
    assert shown(tmp_path / "out") == expected
