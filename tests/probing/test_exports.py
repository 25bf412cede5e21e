"""Probes along a pretraining: train and dev alone, each export once, as the probe says it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from harness_bench.cli.app import app
from harness_bench.core.files import read_jsonl, write_json
from harness_bench.cuts.store import cuts_path
from harness_bench.models.checkpoint import FACTS, load_config, read_facts, save_random
from harness_bench.pretrain.monitor import LOG_FILE
from harness_bench.pretrain.state import PROBE_FILE, exports
from harness_bench.probing import exports as probes
from harness_bench.probing.exports import probe_exports
from harness_bench.probing.head.config import LinearConfig
from harness_bench.probing.linear import open_encoder, run_linear
from harness_bench.probing.probe import Subject

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.s3prl
CONFIG = LinearConfig(segments=1, c=(0.01, 1.0))


@pytest.fixture
def subject(tone_corpus: Path, tmp_path: Path) -> Subject:
    """Return a task whose test set is not there: reading it would be an error."""
    for split in ("train", "dev"):
        target = cuts_path(tmp_path / "tones", split)
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(cuts_path(tone_corpus, split))
    return Subject(
        upstream="harness_local", checkpoint=None, task="keyword", cuts=tmp_path / "tones",
        label_field="label",
    )  # fmt: skip


@pytest.fixture
def run(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Return what a run of 20 updates leaves, with an export that a kill cut off."""
    folder = tmp_path / "model" / "run"
    places = {10: "checkpoints/00000010", 15: "checkpoints/00000015", 20: "checkpoint"}
    for update, place in places.items():
        save_random(folder / place, load_config(tiny_checkpoint), seed=update)
        facts = read_facts(folder / place)
        write_json(folder / place / FACTS, {**facts, "update": update})
    (folder / places[15] / "config.json").unlink()
    (folder / LOG_FILE).write_text("")
    return folder


def test_dev_says_what_the_probe_says(subject: Subject, run: Path, tone_corpus: Path) -> None:
    found = exports(run)
    assert [*found] == [10, 20]
    rows = probe_exports(found, run / PROBE_FILE, subject, CONFIG)
    assert [row["update"] for row in rows] == [10, 20]
    for row in rows:
        whole = replace(subject, checkpoint=found[row["update"]], cuts=tone_corpus)
        outcome = run_linear(whole, run / "oracle", CONFIG)
        assert (row["layer"], row["setting"]) == (outcome.layer, outcome.setting)
        assert row["layers"] == outcome.dev
        assert row["accuracy"] == max(outcome.dev.values())


def test_each_export_is_probed_once(
    subject: Subject, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a run goes on, too; a model trained anew and other settings replace what was there."""
    done: list[str] = []

    def count(upstream: str, checkpoint: Path) -> Any:
        done.append(checkpoint.name)
        return open_encoder(upstream, checkpoint)

    monkeypatch.setattr(probes, "open_encoder", count)
    found, out = exports(run), run / PROBE_FILE
    probe_exports({10: found[10]}, out, subject, CONFIG)
    probe_exports(found, out, subject, CONFIG)
    assert done == ["00000010", "checkpoint"]
    before = {row["update"]: row for row in read_jsonl(out)}
    nearest = LinearConfig(classifier="knn", segments=1, neighbours=(1, 3))
    knn = probe_exports(found, out, subject, nearest)
    assert {row["head"] for row in knn} == {"knn"}
    assert [row["update"] for row in read_jsonl(out)] == [10, 10, 20, 20]
    save_random(found[20], load_config(found[20]), seed=99)
    rows = probe_exports(found, out, subject, CONFIG)
    assert done[4:] == ["checkpoint"]
    assert rows[0] == before[10]
    assert rows[1]["key"] != before[20]["key"]
    assert len([*read_jsonl(out)]) == 4
    shutil.rmtree(run / "checkpoint")
    with pytest.raises(ValueError, match=r"no export yet.*export_interval_updates"):
        probe_exports({}, out, subject, CONFIG)


def test_the_verb_takes_an_iteration_and_compares_with_fbank(
    subject: Subject, run: Path, tone_corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "probe.toml").write_text("[linear]\nsegments = 1\nc = [1.0]\n")
    arguments = ["probe-exports", str(run.parent), "-d", "keyword", "--cuts", str(subject.cuts)]
    arguments += ["--label-field", "label", "--config", str(tmp_path / "probe.toml")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    rows = list(read_jsonl(run / PROBE_FILE))
    assert [row["setting"] for row in rows] == [1.0, 1.0, 1.0]
    assert [row.get("update") for row in rows] == [None, 10, 20]
    fbank = replace(subject, upstream="fbank_cached", cuts=tone_corpus)
    outcome = run_linear(fbank, tmp_path / "fbank", LinearConfig(segments=1, c=(1.0,)))
    assert rows[0]["upstream"] == "fbank_cached"
    assert rows[0]["accuracy"] == outcome.dev[0]
    assert str(run / PROBE_FILE) in done.stdout
