"""From audio to the leaderboard in one go, costs that are kept, and what is said of leakage."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from rich.console import Console

from harness_bench.core.config import resolved
from harness_bench.core.files import read_json, write_json
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.demo.plan import TINY
from harness_bench.pretrain.config import load_family
from harness_bench.results.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.results.record import load_results
from harness_bench.study import run
from harness_bench.study.config import DemoSource, family_file, load_demo
from harness_bench.study.run import Demo, DemoRow
from tests.tiny import DEFAULTS

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.results.record import Leakage, Result

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
def test_audio_to_leaderboard(tmp_path: Path) -> None:
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
    config = load_demo(None)
    demo = Demo(config, None, tmp_path, tmp_path, load_family(family_file(config, None)))
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
