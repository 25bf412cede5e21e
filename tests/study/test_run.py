"""From audio to the leaderboard in one go, costs that are kept, and what is said of leakage."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
from rich.console import Console

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.config import resolved
from harness_bench.core.files import read_json, write_json
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.demo.plan import TINY
from harness_bench.pretrain.config import load_family, load_preset
from harness_bench.pretrain.plan import label_owner
from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.results.record import load_results
from harness_bench.study import run
from harness_bench.study.old_config import DemoSource, family_file, load_demo
from harness_bench.study.run import Demo, DemoRow
from tests.tiny import DEFAULTS

if TYPE_CHECKING:
    from harness_bench.results.record import Leakage, Result

GPU = Path(__file__).parents[2] / "egs" / "evidence" / "gpu.toml"

FAMILY = f"""{DEFAULTS}
[[iterations]]
name = "it1"
labels = {{ source = "mfcc" }}
[[iterations]]
name = "student"
teacher = "it1"
model = {{ encoder_layers = 1 }}
labels = {{ source = "hidden", layer = 2, pca_dim = 8 }}
"""
STATES = {"fbank": 0, "random": 3, "it1": 3, "student": 2}  # with a weight each
DEMO = """
name = "chain"
title = "Chain"
synthetic = true
family = "family.toml"
pretraining = [{ folder = "ssl" }, { folder = "did" }]
heads = ["cnn", "linear"]
asr = { folder = "asr" }
seed = 3
classification = [{ task = "did", label_field = "dialect", source = { folder = "did" } }]
recipe = { max_epoch = 1 }
[probe]
total_steps = 6
eval_step = 3
batch_size = 8
eval_batch_size = 8
input_norm = "batch"
test_in_training = true
[synthesis]
"""


def check_row(file: Path, result: Result) -> None:
    """One result says what was measured, of every utterance, and what its model is."""
    assert result.synthetic
    assert "synthetic" in result.corpus
    assert result.predictions is not None
    assert (result.costs is None) == (result.checkpoint_digest is None)
    assert len(result.layer_weights) == (0 if result.head else STATES[result.model])
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
    assert result.leakage
    assert result.leakage.verdict == "clean"  # speakers are disjoint


@pytest.mark.s3prl
@pytest.mark.espnet
@pytest.mark.usefixtures("warm_python")
def test_audio_to_leaderboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows come out, measured from predictions for every utterance; a second run keeps all.

    Every border between two steps is crossed here: unit tests alone would not notice one step
    writing what the next cannot read.
    """
    path, out = tmp_path / "chain.toml", tmp_path / "out"
    sizes = (f"{k} = {json.dumps(v).replace(':', ' =')}\n" for k, v in resolved(TINY).items())
    path.write_text(DEMO + "".join(sizes))
    (tmp_path / "family.toml").write_text(FAMILY)
    make = partial(run.run_demo, load_demo(path), path, out, console=Console(quiet=True))
    files, _ = make()

    results, problems = load_results(out / "results")
    assert problems == {}
    assert {r.split for r in results.values()} == {"test"}
    rows = {(r.model, r.task, r.head) for r in results.values()}
    models = {"fbank", "random", "it1", "student"}
    expected = {(model, "did", head) for model in models for head in ("", "linear")}
    expected |= {(model, "asr", "") for model in ("fbank", "student")}
    assert rows == expected
    for file, result in results.items():
        check_row(file, result)
    heard = {r.pretraining_data for r in results.values() if r.model_kind == "pretrained"}
    assert [text.split(", train,")[0] for text in heard] == ["synthetic ssl, did"]
    provenance = [read_json(each)["config"] for each in out.glob("pretrain/*/run/provenance.json")]
    assert {each["pretrain"]["seed"] for each in provenance} == {3}

    for written in (files.html, files.markdown, files.csv, files.latex, *files.plots):
        assert written.stat().st_size > 500
    with files.csv.open(encoding="utf-8") as stream:
        assert models <= {row["model"] for row in csv.DictReader(stream)}

    trained = [*out.glob("probes/did/*/*/outcome.json"), *out.glob("pretrain/*/run/state-*.pt")]
    trained += [*out.glob("asr/*/outcome.json"), *out.glob("costs/*.json")]
    trained += out.glob("probes/did.linear/*/predictions.test.jsonl")
    before = {file: file.stat().st_mtime_ns for file in trained}
    assert len(before) == 4 + 2 + 2 + 3 + 4
    again, _ = make()
    assert before == {file: file.stat().st_mtime_ns for file in before}
    assert again.csv.read_text() == files.csv.read_text()

    # No time was left for two stages, on which no other waits: their results alone are missing.
    every, unfinished = run.plan_stages, {"did it1 (linear)", "asr asr best student"}
    kept = [stage.name for stage in every(demo_of(path, out)) if stage.name not in unfinished]
    monkeypatch.setattr(
        run, "plan_stages", lambda demo: [each for each in every(demo) if each.name in kept]
    )
    make()
    rows = {(r.model, r.task, r.head) for r in load_results(out / "results")[0].values()}
    assert expected - rows == {("it1", "did", "linear"), ("student", "asr", "")}
    assert rows < expected


def demo_of(path: Path | None, out: Path) -> Demo:
    config = load_demo(path)
    return Demo(config, path, out, out, load_family(family_file(config, path)))


def test_a_gpu_that_is_not_there_is_missed_before_hours_of_pretraining(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ESPnet would say so after everything else; on two GPUs one is enough."""
    config = replace(load_demo(None), recipe={"ngpu": 1})
    plan = Mock(side_effect=InterruptedError)
    monkeypatch.setattr(run, "plan_stages", plan)
    make = partial(run.run_demo, config, None, tmp_path / "out", console=Console(quiet=True))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ValueError, match="ngpu = 1"):
        make()
    plan.assert_not_called()
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(InterruptedError):
        make()


def test_the_evidence_of_a_gpu_uses_it(tmp_path: Path) -> None:
    """All students wait for one teacher, none for another, and share the labels it makes."""
    demo = demo_of(GPU, tmp_path)
    steps = {step.name: step for step in demo.family.iterations}
    assert {step.pretrain.precision for step in steps.values()} == {"bf16-mixed"}
    assert all(step.pretrain.num_workers for step in steps.values())
    assert steps["harness_st"].model == load_preset("harness_st").model
    students = set(steps) - {"mel_it1"}
    assert set(demo.students()) == students
    assert {label_owner(demo.family, steps[name]).name for name in students} == {"harness_st"}
    waits = {stage.name: set(stage.after) for stage in run.plan_stages(demo)}
    assert {name for name, after in waits.items() if "pretrain mel_it1" in after} >= {
        f"pretrain {name}" for name in students
    }


def tiny_speech(root: Path) -> None:
    """Write what gpu.toml reads, as noise: words, languages, sentences, speech without labels."""
    rng = np.random.default_rng(0)
    names = {"asc40": "manifest", "cv_lid10": "manifest", "asc_sentences": "manifest",
             "cv_ar": "manifest", "cv_ar/": "asr"}  # fmt: skip
    for number, (name, manifest) in enumerate(names.items()):
        (folder := root / name).mkdir(parents=True, exist_ok=True)
        lines = ["path\tspeaker\tlabel\ttranscript\tsplit"]
        for split, index in itertools.product(("train", "dev", "test"), range(6)):
            path = folder / f"{number}_{split}{index}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(24_000), SAMPLE_RATE)
            label, text = "ab"[index % 2], ("كتاب جديد", "بيت كبير")[index % 2]
            lines.append(f"{path.name}\t{split}{index % 3}\t{label}\t{text}\t{split}")
        (folder / f"{manifest}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


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
    config = load_demo(GPU)
    config = replace(
        config,
        baselines=("mfcc",),
        models=("harness_st", "mel_it2"),
        untrained=("harness_st_mel",),
        asr_models=("harness_st",),
        asr=config.asr_sources[1:],
        classification=config.classification[1:],
        probe=config.probe | {"total_steps": 2, "eval_step": 1},
        seeds=config.seeds[:2],
        recipe=config.recipe | {"max_epoch": 1, "ngpu": 0},
    )
    run.run_demo(
        config, tmp_path / "gpu.toml", tmp_path / "out", console=Console(quiet=True),
        data_root=tmp_path / "data", minutes=30,
    )  # fmt: skip
    results, problems = load_results(tmp_path / "out" / "results")
    assert problems == {}
    models = {"mfcc", "random", "harness_st", "mel_it2"}
    expected = {(model, "lid", head) for model in models for head in ("", "linear")}
    expected.add(("harness_st", "asr", ""))
    assert {(r.model, r.task, r.head) for r in results.values()} == expected


def test_measured_once_and_again_after_a_change(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second demo keeps the figures; another machine or checkpoint gets its own."""
    kept = tmp_path / "tiny.json"
    first = run.measure(tiny_checkpoint, kept)
    assert (first.real_time_factor or 0) > 0
    assert first.disk_bytes == (tiny_checkpoint / "model.safetensors").stat().st_size

    marked = first.model_copy(update={"peak_bytes": 1})  # tells kept figures from measured ones
    old = {"decided_by": read_json(kept)["inputs"], "costs": marked.model_dump()}
    write_json(kept, old)  # as versions before kept them
    assert run.measure(tiny_checkpoint, kept) == marked

    monkeypatch.setattr(run, "hardware", lambda: "another machine")
    again = run.measure(tiny_checkpoint, kept)
    assert again.peak_bytes != 1
    assert read_json(kept)["inputs"]["hardware"] == "another machine"


TASK = DemoSource(folder="did")
MODEL = DemoRow("it1", "pretrained", "harness_local", None)
RANDOM = DemoRow("random", "random", "harness_local", None)
ROWS = [DemoRow("fbank", "baseline", "fbank", None), RANDOM, MODEL, replace(MODEL, model="it2")]


def test_rows_alike_share_their_reading_and_no_others(
    tone_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one audit found must pass to no row whose training or split differs.

    Sixty readings of a large corpus would take longer than scoring it. Here pretraining speech
    holds the dev split's audio; the task's own splits share nothing.
    """
    for split in ("train", "dev", "test"):
        cuts = read_cuts(tone_corpus, split)
        for cut in cuts:
            cut.supervisions[0].text = None
        write_cuts(tmp_path / "cuts" / "did", split, cuts)
        if split == "dev":
            write_cuts(tmp_path / "cuts" / "ssl", "train", cuts)
    demo = demo_of(None, tmp_path)
    reading = Mock(wraps=read_cuts)
    monkeypatch.setattr(run, "read_cuts", reading)
    known: dict[tuple[str, str, bool], Leakage] = {}
    keys = [(row, split) for row in ROWS for split in ("dev", "test")]
    found = {(row.model, at): run.Audit(demo, row, TASK, known).leakage(at) for row, at in keys}
    read = Counter((call.args[0].name, call.args[1]) for call in reading.call_args_list)
    once = {("did", "dev"): 1, ("did", "test"): 1, ("did", "train"): 2, ("ssl", "train"): 1}
    assert read == {place: 2 * count for place, count in once.items()}
    alone = {(row.model, at): run.Audit(demo, row, TASK, {}).leakage(at) for row, at in keys}
    assert found == alone
    shared = {key for key, leakage in found.items() if leakage.verdict == "shared"}
    assert shared == {("it1", "dev"), ("it2", "dev")}
    assert found["fbank", "dev"].compared_with == ("did train",)
    assert found["it1", "test"].compared_with == ("did train", "ssl train")
