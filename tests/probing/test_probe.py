"""A probe end to end, by s3prl's own command line in its own process."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness_bench.core.config import resolved
from harness_bench.core.files import digest_file, digest_strings, write_json
from harness_bench.core.workdir import versions
from harness_bench.cuts.store import cuts_path
from harness_bench.probing.grid import GridConfig, run_grid
from harness_bench.probing.probe import (
    ProbeConfig,
    ProbeOutcome,
    Run,
    Subject,
    own_processes,
    packaged_settings,
    run_probe,
)
from harness_bench.probing.s3prl.arguments import packaged_config
from harness_bench.results.predictions import ClassPrediction, read_predictions
from tests import warm
from tests.probing.conftest import Python

pytestmark = [pytest.mark.s3prl, pytest.mark.usefixtures("warm_python")]
type Start = Callable[..., ProbeOutcome]
FBANK: dict[str, Any] = {"upstream": "fbank_cached", "checkpoint": None, "label_field": None}
SHORT = ProbeConfig(total_steps=60, eval_step=20, learning_rate=3e-3, hidden=32)


@pytest.fixture(scope="module")
def start(tone_corpus: Path, tiny_checkpoint: Path) -> Start:
    """Return a function that probes the harness upstream on the keyword task, or as is said."""
    usual: dict[str, Any] = {"upstream": "harness_local", "checkpoint": tiny_checkpoint}
    usual |= {"task": "keyword", "cuts": tone_corpus, "label_field": "label"}

    def head(
        out: Path,
        config: ProbeConfig = SHORT,
        *,
        test: bool = True,
        run: Run | None = None,
        **other: Any,
    ) -> ProbeOutcome:
        return run_probe(Subject(**usual | other), out, config, test=test, run=run)

    return head


def never(*_: object) -> float:
    """Stand in for the run of a command that must not be run."""
    raise TypeError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def outcome(folder: Path, start: Start) -> ProbeOutcome:
    """Train and, in a second process, test from the chosen checkpoint."""
    return start(folder)


def test_cuts_of_one_split_are_told_how_to_get_the_others(tmp_path: Path) -> None:
    """A manifest without a column `split` is all train: the probe is the first to need more."""
    cuts_path(tmp_path, "train").touch()
    subject = Subject(upstream="fbank_cached", checkpoint=None, task="did", cuts=tmp_path)
    with pytest.raises(ValueError, match=r"no dev, test split.*manifest\.tsv.*`split`"):
        packaged_settings(subject)


def test_beats_chance_clearly(outcome: ProbeOutcome) -> None:
    """Chance is 1/3 of three tones."""
    for path in (outcome.dev_predictions, outcome.test_predictions):
        rows = read_predictions(path, ClassPrediction)
        assert sum(row.truth == row.pred for row in rows) > 0.6 * len(rows)


def test_says_what_it_did(outcome: ProbeOutcome, folder: Path) -> None:
    """The leaderboard shows the commands; the layer weights are a softmax over 3 states."""
    assert [command.split()[2:5] for command in outcome.commands] == [
        ["harness_bench.run_downstream", "-m", "train"],
        ["harness_bench.run_downstream", "-m", "evaluate"],
    ]
    assert len(outcome.layer_weights) == 3
    assert sum(outcome.layer_weights) == pytest.approx(1)
    assert len(set(outcome.layer_weights)) > 1, "the weights were never trained"
    assert outcome.best_step in (20, 40, 60)
    assert (folder / "provenance.json").is_file()


def killing(folder: Path, step: int) -> Run:
    """Return a run of a command that is killed once the checkpoint of a step is there.

    By the real Python: of a warm one the kill would end what hands on its command.
    """

    def kill(arguments: Sequence[str], _: Path) -> float:
        command = [warm.REAL, "-m", "harness_bench.run_downstream", *arguments]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ) as process:  # fmt: skip
            while process.poll() is None and not list((folder / "s3prl").glob(f"states-{step}.*")):
                time.sleep(0.01)
            process.kill()
        raise KeyboardInterrupt

    return kill


def test_an_equal_probe_is_not_run_again(outcome: ProbeOutcome, folder: Path, start: Start) -> None:
    """A second `make demo` must take seconds; other settings must run, and fail here."""
    assert start(folder, run=never) == outcome
    outcome.test_predictions.rename(folder / "away")
    with pytest.raises(TypeError):
        start(folder / "other", ProbeConfig(seed=1), run=never)
    (folder / "away").rename(outcome.test_predictions)


def test_predict_says_what_the_test_said(
    outcome: ProbeOutcome, folder: Path, tone_corpus: Path, forked: Python
) -> None:
    """One's own files get what evaluation gave, though the folder moved and the cuts are gone."""
    rows = read_predictions(outcome.test_predictions, ClassPrediction)[:3]
    files = [str(tone_corpus / f"{row.id}.wav") for row in rows]
    moved = folder.parent / "moved"
    shutil.copytree(folder, moved)
    command = "import sys; sys.argv[0] = 'harness-bench'; from harness_bench.cli import __main__"
    said = forked("-c", command, "predict", str(moved), *files, "--json")
    answers = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [answer["file"] for answer in answers] == files
    for answer, row in zip(answers, rows, strict=True):
        assert answer["label"] == row.pred == max(answer["probs"], key=answer["probs"].get)
        assert answer["probs"] == pytest.approx(row.probs, abs=1e-5)


def test_the_cache_and_the_second_process_change_nothing(
    outcome: ProbeOutcome, tmp_path: Path, start: Start
) -> None:
    """Without kept features, and tested while training: the same losses and predictions."""
    other = start(tmp_path, replace(SHORT, feature_cache_mb=0, test_in_training=True))
    assert len(other.commands) == 1

    def logged(run: ProbeOutcome) -> list[str]:
        lines = (run.checkpoint.parent / "metrics.jsonl").read_text().splitlines()
        return [line for line in lines if '"test"' not in line]

    assert logged(other) == logged(outcome)
    assert other.dev_predictions.read_bytes() == outcome.dev_predictions.read_bytes()
    assert other.test_predictions.read_bytes() == outcome.test_predictions.read_bytes()


def test_a_probe_cut_off_goes_on_and_ends_alike(
    outcome: ProbeOutcome, folder: Path, tmp_path: Path, start: Start
) -> None:
    """Killed in its first third: no step is done twice, and the outcome is the same to the bit."""
    killed = tmp_path / "probe"
    with pytest.raises(KeyboardInterrupt):
        start(killed, run=killing(killed, step=20))
    assert not (killed / "outcome.json").exists()
    untested = start(killed, test=False)
    assert not untested.tested
    assert not untested.test_predictions.exists()
    log = (killed / "log.txt").read_text()
    assert "Resume from" in log
    again = start(killed)
    assert (killed / "log.txt").read_text().startswith(log), "trained anew, to be tested"
    assert (again.tested, again.train_seconds) == (True, untested.train_seconds)
    assert len(again.commands) == 2
    for name in ("metrics.jsonl", "predictions.dev.jsonl", "predictions.test.jsonl"):
        assert (killed / "s3prl" / name).read_bytes() == (folder / "s3prl" / name).read_bytes()
    assert again.layer_weights == outcome.layer_weights


def test_a_head_that_gets_no_better_ends(tmp_path: Path, start: Start) -> None:
    """After so many evaluations as patience says, also of a run that was cut off in between."""
    config = ProbeConfig(total_steps=500, eval_step=5, patience=3, learning_rate=1e-9, hidden=8)
    outcome = start(tmp_path / "whole", config, test=False, **FBANK)
    lines = (outcome.checkpoint.parent / "metrics.jsonl").read_text()
    steps = [row["step"] for row in map(json.loads, lines.splitlines()) if row["split"] == "dev"]
    assert steps == [5, 10, 15, 20], "the first is the best, as nothing is learned"
    assert outcome.best_step == 5
    killed = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        start(killed, config, run=killing(killed, step=10), **FBANK)
    start(killed, config, test=False, **FBANK)
    assert (killed / "s3prl" / "metrics.jsonl").read_text() == lines


def test_heads_of_one_process_are_those_of_their_own(
    tmp_path: Path, start: Start, tone_corpus: Path, tiny_checkpoint: Path
) -> None:
    """The second head finds upstream, features and audio of the first, and learns the same."""
    short = replace(SHORT, total_steps=20, input_norm="batch", test_in_training=True)
    subject = Subject(
        upstream="harness_local", checkpoint=tiny_checkpoint, task="keyword", cuts=tone_corpus
    )
    run_grid(subject, tmp_path / "grid", GridConfig(seeds=(1, 2), probe=short))
    second = tmp_path / "grid" / "lr0.001.seed2"
    config = replace(short, seed=2, learning_rate=1e-3)
    with own_processes(config, threads=1) as run:
        alone = start(tmp_path / "alone", config, run=run)
    for name in ("metrics.jsonl", "predictions.dev.jsonl", "predictions.test.jsonl"):
        one, other = second / "s3prl" / name, tmp_path / "alone" / "s3prl" / name
        assert one.read_bytes() == other.read_bytes(), name
    assert json.loads((second / "outcome.json").read_text())["key"] == alone.key
    assert "--seed 2" in (second / "log.txt").read_text().splitlines()[0], "a log of its own"


def test_no_head_outlives_who_wanted_it(tmp_path: Path, tone_corpus: Path) -> None:
    """Killed beyond all cleaning up, a grid leaves no process that trains on in its folders."""
    command = [sys.executable, "-m", "harness_bench.probing.s3prl.worker"]
    words = ["-m", "train", "-u", "fbank_cached", "-d", "keyword", "-p", str(tmp_path / "run")]
    settings: dict[str, Any] = {
        "runner.total_steps": 10**6,
        "runner.save_step": 1,
        "runner.eval_step": 10**6,
    }
    settings |= {"downstream_expert.datarc.cuts": tone_corpus}
    words += ["-o", ",,".join(f"config.{name}={value}" for name, value in settings.items())]
    order = json.dumps({"arguments": words, "log": str(tmp_path / "log.txt")}) + "\n"
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(order)
        process.stdin.flush()
        end = time.monotonic() + 300
        while not list((tmp_path / "run").glob("states-*.ckpt")):
            time.sleep(0.01)
            # A worker that could not train says so in its log, and waits for another order.
            log = (tmp_path / "log.txt").read_text() if (tmp_path / "log.txt").exists() else ""
            assert process.poll() is None, log
            assert "error: " not in log, log
            assert time.monotonic() < end, log
        process.stdin.close()  # as the end of the process at its other end does
        assert process.wait(timeout=20)


@pytest.mark.parametrize("during", [True, False])
def test_heads_of_earlier_versions_are_read(
    tmp_path: Path, tone_corpus: Path, start: Start, *, during: bool
) -> None:
    """Before layers could be chosen and tests put off, a probe's key and outcome were these."""
    config = ProbeConfig(total_steps=60, eval_step=20, test_in_training=during)
    given = resolved(config)
    assert given.pop("layers") == "weighted"
    assert given.pop("patience") is None
    settings = yaml.safe_load(packaged_config("keyword").read_text())
    settings["runner"].update(
        total_steps=60, eval_step=20, log_step=20, save_step=20, max_keep=1,
        eval_dataloaders=["dev", "test"] if during else ["dev"],
    )  # fmt: skip
    settings["downstream_expert"]["datarc"]["cuts"] = str(tone_corpus)
    digests = (digest_file(cuts_path(tone_corpus, split)) for split in ("train", "dev", "test"))
    texts = [json.dumps(each, sort_keys=True) for each in (settings, given)]
    key = digest_strings(
        ["fbank_cached", "", "keyword", *texts, "fp32", *digests,
         json.dumps(versions(), sort_keys=True)]
    )  # fmt: skip
    names = ("dev_predictions", "test_predictions", "checkpoint")
    kept = {name: str(tmp_path / name) for name in names}
    for path in kept.values():
        Path(path).touch()
    kept |= {"key": key, "commands": [], "best_step": 20, "layer_weights": []}  # type: ignore[dict-item]
    write_json(tmp_path / "outcome.json", {**kept, "train_seconds": 1.5, "test_seconds": 2.5})
    for test in (True, False):
        assert start(tmp_path, config, test=test, run=never, **FBANK).test_seconds == 2.5


@pytest.mark.parametrize(
    ("layers", "flags", "written"),
    [("weighted", [], None), ("mean", [], "mean"), (2, ["-l", "2"], None)],
)
def test_layers_are_chosen_by_s3prls_means(
    layers: Any, flags: list[str], written: str | None, tmp_path: Path, start: Start
) -> None:
    """A setting of the runner, or its own flag, so that the command repeats the head."""
    commands: list[Sequence[str]] = []

    def run(words: Sequence[str], _: Path) -> float:
        commands.append(words)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, ProbeConfig(layers=layers), run=run, **FBANK)
    (words,) = commands
    assert words[words.index("-l") :] == flags if flags else "-l" not in words
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["runner"].get("layers") == written


def test_failure_shows_the_end_of_the_log(tmp_path: Path, start: Start) -> None:
    """What went wrong in the other process must be read without looking for a file."""
    with pytest.raises(RuntimeError, match=r"Exit code [12](.|\n)*layer"):
        start(tmp_path, replace(SHORT, layers=99))
    assert not (tmp_path / "outcome.json").exists()


def test_impossible_settings_are_refused(tmp_path: Path, start: Start) -> None:
    """Before minutes of training, not after."""
    with pytest.raises(ValueError, match="eval_step = 50 is larger than total_steps = 10"):
        ProbeConfig(total_steps=10, eval_step=50)
    with pytest.raises(ValueError, match=r"no task 'mood'; known: .*ser"):
        start(tmp_path, task="mood")
