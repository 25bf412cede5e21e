"""The grid of learning rates and seeds: SUPERB's rule, nothing peeked at, every trial kept."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness_bench.models.features.config import FOLDER
from harness_bench.probing import grid
from harness_bench.probing.grid import (
    GridConfig,
    GridOutcome,
    explain_choice,
    grid_config,
    run_grid,
)
from harness_bench.probing.head.config import DIVERGED
from harness_bench.probing.probe import (
    HeadDiverged,
    ProbeConfig,
    ProbeOutcome,
    Run,
    Subject,
    own_processes,
    run_probe,
)
from harness_bench.probing.run import ProbeReport, draw_layers, publish_grid
from harness_bench.results.manage import check
from harness_bench.results.predictions import ClassPrediction, write_predictions
from harness_bench.results.record import load_result

# Learning rate -> share of right answers on dev and on test: dev chooses the second.
RIGHT = {1e-2: (0.3, 0.9), 1e-3: (0.8, 0.5), 1e-4: (0.6, 0.95)}
SEEDS = (1, 2, 3)


def answers(path: Path, right: float, seed: int) -> Path:
    """Write made-up answers of a split."""
    rng = np.random.default_rng([seed, int(100 * right)])
    rows = []
    for number in range(60):
        truth = "abc"[number % 3]
        pred = truth if rng.random() < right else "abc"[(number + 1) % 3]
        row = ClassPrediction(id=f"test-{number:02d}", truth=truth, pred=pred, probs={},
                              group=f"g{number % 6}")  # fmt: skip
        rows.append(row)
    write_predictions(path, rows)
    return path


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Replace the training of heads by made-up outcomes; return the trials that were run."""
    found: list[tuple[float, int]] = []

    def run_probe(
        _: Subject, out: Path, config: ProbeConfig, *, threads: int, test: bool, run: Run
    ) -> ProbeOutcome:
        assert threads
        assert callable(run)
        if not out.exists():
            found.append((config.learning_rate, config.seed))
        dev, right = RIGHT[config.learning_rate]
        out.mkdir(parents=True, exist_ok=True)
        if test:
            answers(out / "test.jsonl", right, config.seed)
        return ProbeOutcome(
            key="k", dev_predictions=answers(out / "dev.jsonl", dev, config.seed),
            test_predictions=out / "test.jsonl", tested=test,
            checkpoint=out / "dev-best.ckpt", commands=(), best_step=1,
            layer_weights=(0.25, 0.75), train_seconds=1, test_seconds=1,
        )  # fmt: skip

    monkeypatch.setattr(grid, "run_probe", run_probe)
    return found


@pytest.fixture
def outcome(tmp_path: Path, trials: list[tuple[float, int]], tone_corpus: Path) -> GridOutcome:
    """Run a grid of three learning rates and three seeds."""
    config = GridConfig(learning_rates=tuple(RIGHT), seeds=SEEDS)
    made = run_grid(subject(tone_corpus), tmp_path, config)
    assert trials
    return made


def subject(cuts: Path) -> Subject:
    """Name what is probed."""
    return Subject(upstream="fbank_cached", checkpoint=None, task="did", cuts=cuts)


@pytest.mark.parametrize("seeds", [(1,), SEEDS])
@pytest.mark.parametrize("rates", [(1e-3,), tuple(RIGHT)])
def test_a_grid_tells_how_far_it_is(
    rates: tuple[float, ...], seeds: tuple[int, ...], tmp_path: Path, tone_corpus: Path,
    trials: list[tuple[float, int]],
) -> None:  # fmt: skip
    told: list[tuple[int, int, str]] = []
    config = GridConfig(learning_rates=rates, seeds=seeds)
    run_grid(subject(tone_corpus), tmp_path, config, tell=lambda *each: told.append(each))
    assert trials
    of = told[0][1]
    assert told == [(done, of, "trials") for done in range(of + 1)]


def test_only_dev_chooses_and_only_the_chosen_is_repeated(
    outcome: GridOutcome, trials: list[tuple[float, int]], tmp_path: Path
) -> None:
    """Test would have chosen 1e-4; the first seed tries all rates, the others the best."""
    assert outcome.learning_rate == 1e-3
    assert trials == [(1e-2, 1), (1e-3, 1), (1e-4, 1), (1e-3, 2), (1e-3, 3)]
    assert [bool(trial.test) for trial in outcome.trials] == [False, True, False, True, True]
    read = {path.parent.name for path in tmp_path.rglob("test.jsonl")}
    assert read == {"lr0.001.seed1", "lr0.001.seed2", "lr0.001.seed3"}, "peeked at test"
    assert outcome.checkpoint.parent.name == "lr0.001.seed1"
    assert outcome.layer_weights == (0.25, 0.75)


def test_mean_and_spread_are_those_of_the_seeds(outcome: GridOutcome) -> None:
    """Against numpy, from the trials themselves."""
    tests = [trial.test["accuracy"] for trial in outcome.trials if trial.test]
    assert len(set(tests)) > 1
    assert outcome.test_mean["accuracy"] == pytest.approx(np.mean(tests))
    assert outcome.test_deviation["accuracy"] == pytest.approx(np.std(tests, ddof=1))
    table = str(ProbeReport(outcome, Path(), None))
    assert f"{np.mean(tests):.2f} ± {np.std(tests, ddof=1):.2f}" in table
    assert table.count("\n0.001 ") == 3
    trials = table.partition("\n\n")[0].splitlines()
    assert max(map(len, trials)) <= 80, "a terminal would wrap every line"


def test_the_result_carries_the_grid(
    outcome: GridOutcome, tmp_path: Path, tone_corpus: Path
) -> None:
    """Its figure is the mean over the seeds, with an interval over clusters and the spread."""
    config = GridConfig(learning_rates=tuple(RIGHT), seeds=SEEDS)
    row = {"model": "m", "corpus": "tones", "model_kind": "baseline", "synthetic": True}
    path = publish_grid(subject(tone_corpus), outcome, config, row, tmp_path / "results")
    result = load_result(path)
    assert result.main.value == pytest.approx(outcome.test_mean["accuracy"])
    assert result.main.spread == pytest.approx(outcome.test_deviation["accuracy"])
    assert result.metrics["uar"].value == pytest.approx(outcome.test_mean["uar"])
    assert result.seeds == SEEDS
    assert set(result.learning_rates) == {"0.01", "0.001", "0.0001"}
    assert max(result.learning_rates, key=lambda rate: result.learning_rates[rate]) == "0.001"
    assert result.utterances == 60
    assert result.leakage is not None
    assert check([path]) == (1, []), "validate agrees"


def test_a_finished_grid_reads_back(outcome: GridOutcome, tmp_path: Path) -> None:
    """`predict` and people read grid.json; figures without their grid and subject are nobody's."""
    kept = json.loads((tmp_path / grid.GRID).read_text())
    assert kept["learning_rate"] == outcome.learning_rate
    assert len(kept["trials"]) == 5
    assert kept["checkpoint"] == str(outcome.checkpoint)
    made = json.loads((tmp_path / "provenance.json").read_text())
    assert made["config"]["grid"]["learning_rates"] == [*RIGHT]
    assert made["config"]["subject"]["upstream"] == "fbank_cached"
    assert len(made["inputs"]) == len(outcome.trials)


def test_impossible_grids_are_refused(
    tmp_path: Path, trials: list[tuple[float, int]], tone_corpus: Path
) -> None:
    """Right after the first trials, never with a choice by chance."""
    with pytest.raises(ValueError, match=r"no metric 'wer'; known: accuracy"):
        run_grid(subject(tone_corpus), tmp_path, GridConfig(metric="wer"))
    assert trials == [(1e-3, 1337)]


def test_layers_are_drawn(tmp_path: Path) -> None:
    """A picture of any number of layers."""
    for count in (2, 25):
        target = tmp_path / f"{count}.png"
        draw_layers([1 / count] * count, target, "layers of $x")
        assert target.read_bytes()[:4] == b"\x89PNG"


def test_a_rate_that_diverges_loses_and_is_told(
    tmp_path: Path, trials: list[tuple[float, int]], tone_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The others have a winner all the same; one that diverges with another seed has no mean."""
    made = vars(grid)["run_probe"]
    lost: set[tuple[float, int]] = {(1e-2, 1)}

    def run_probe(subject: Subject, out: Path, config: ProbeConfig, **more: Any) -> ProbeOutcome:
        if (config.learning_rate, config.seed) in lost:
            raise HeadDiverged("diverged")
        outcome: ProbeOutcome = made(subject, out, config, **more)
        return outcome

    monkeypatch.setattr(grid, "run_probe", run_probe)
    config = GridConfig(learning_rates=tuple(RIGHT), seeds=SEEDS)
    found = run_grid(subject(tone_corpus), tmp_path / "one", config)
    assert found.learning_rate == 1e-3
    assert [line for line in found.advice if "diverged" in line] == [
        "learning rate 0.01 diverged and was left out"
    ]
    assert not [line for line in found.advice if "may do better" in line and "0.01" in line]
    assert (1e-3, 3) in trials
    for pairs in ({(1e-3, 2)}, {(rate, 1) for rate in RIGHT}):
        lost |= pairs
        with pytest.raises(HeadDiverged):
            run_grid(subject(tone_corpus), tmp_path / f"lost{len(lost)}", config)


def test_a_head_that_diverged_is_not_trained_again(tmp_path: Path, tone_corpus: Path) -> None:
    """It would end in the same way; with another learning rate it begins anew."""
    runs: list[Path] = []

    def run(arguments: Sequence[str], log: Path) -> float:
        runs.append(log)
        out = log.parent / "s3prl"
        out.mkdir(exist_ok=True)
        (out / DIVERGED).write_text('{"step": 5, "split": "dev", "loss": "nan"}')
        raise RuntimeError(arguments)

    for rate, tries in ((1e-3, 2), (1e-4, 1)):
        for _ in range(tries):
            with pytest.raises(HeadDiverged, match=r"step 5 .*dev"):
                run_probe(
                    replace(subject(tone_corpus), label_field="label"), tmp_path,
                    ProbeConfig(learning_rate=rate), run=run,
                )  # fmt: skip
    assert len(runs) == 2


def test_a_mistake_that_all_trials_share_is_heard_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tone_corpus: Path
) -> None:
    """Trials that wait are not begun: each may take hours before it fails likewise."""
    begun: list[float] = []

    def run_probe(_: Subject, __: Path, config: ProbeConfig, **___: Any) -> ProbeOutcome:
        begun.append(config.learning_rate)
        raise RuntimeError("no such upstream")

    monkeypatch.setattr(grid, "run_probe", run_probe)
    with pytest.raises(RuntimeError, match="no such upstream"):
        run_grid(subject(tone_corpus), tmp_path, GridConfig(learning_rates=tuple(RIGHT)))
    assert begun == [1e-2]


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({1e-3: 50.0}, "the only one"),
        ({1e-2: 40.0, 1e-3: 50.0, 1e-4: 45.0}, "0.001: best accuracy on dev (0.01: 40.00 %"),
        ({1e-2: 50.0, 1e-3: 50.0}, "0.01, 0.001 are equal on dev"),
        ({1e-2: 40.0, 1e-3: 50.0}, "0.001 is the smallest that was tried: 0.0001 may do better"),
        ({1e-2: 60.0, 1e-3: 50.0}, "0.01 is the largest that was tried: 0.1 may do better"),
    ],
)
def test_a_choice_not_to_be_trusted_says_so(scores: dict[float, float], told: str) -> None:
    """At the end of the grid, or by the order of equal ones, it is no optimum."""
    lines = explain_choice(scores, max(scores, key=lambda rate: scores[rate]), "accuracy")
    assert told in "\n".join(lines)
    assert len(lines) == 1 + ("equal" in told or "may do better" in told)


def test_heads_that_were_still_learning_say_so(
    outcome: GridOutcome, tmp_path: Path, trials: list[tuple[float, int]], tone_corpus: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The made-up heads are best at step 1: at the end of a training of one step, not of 10,000."""
    assert outcome.advice == ()
    short = ProbeConfig(total_steps=1, eval_step=1)
    config = GridConfig(learning_rates=(1e-3, 1e-4), seeds=SEEDS, probe=short)
    made = run_grid(subject(tone_corpus), tmp_path / "short", config)
    assert trials
    rates, steps = made.advice
    assert "0.001 is the largest" in rates
    assert "step 1, of 3 of 3 heads: more steps may do better" in steps
    told = str(ProbeReport(made, Path(), None))
    assert told.endswith(steps)
    told += capsys.readouterr().err
    assert (told.count(rates), told.count(steps)) == (1, 1)


def test_trials_share_features_until_the_grid_is_done(
    tmp_path: Path, trials: list[tuple[float, int]], tone_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Five trials read the same speech; what they keep for each other must not stay on the disk."""
    seen: list[str | None] = []

    @contextmanager
    def process(config: ProbeConfig, threads: int, more: Mapping[str, str]) -> Iterator[Run]:
        folder = more.get(FOLDER)
        seen.append(folder)
        if folder:
            Path(folder).mkdir(parents=True)
        with own_processes(config, threads, more) as run:
            yield run

    monkeypatch.delenv(FOLDER, raising=False)
    config = GridConfig(learning_rates=tuple(RIGHT))
    run_grid(subject(tone_corpus), tmp_path / "a", config, process=process)
    assert seen == [str(tmp_path / "a" / "features")]
    assert not (tmp_path / "a" / "features").exists()
    assert FOLDER not in os.environ, "other grids of this process have their own"
    monkeypatch.setenv(FOLDER, "/elsewhere")
    run_grid(subject(tone_corpus), tmp_path / "b", config, process=process)
    assert seen[1:] == [None], "the user's folder wins"
    assert len(trials) == 6


def test_file_and_keywords_make_one_grid(tmp_path: Path) -> None:
    """Keywords win, and nothing that the file says is lost where no keyword is given."""
    config = tmp_path / "probe.toml"
    config.write_text("seeds = [5, 6]\n[probe]\nlearning_rate = 2e-4\nhidden = 8\n")
    made = grid_config(config, steps=100)
    assert made.learning_rates == (2e-4,)
    assert made.seeds == (5, 6)
    assert (made.probe.hidden, made.probe.total_steps, made.probe.eval_step) == (8, 100, 100)
    made = grid_config(config, learning_rates=[1e-2, 1e-3], seeds=range(1337, 1340))
    assert made.learning_rates == (1e-2, 1e-3)
    assert made.seeds == (1337, 1338, 1339)
    assert grid_config() == GridConfig()
    for given, meant in (("mean", "mean"), ("3", 3), (3, 3)):
        assert grid_config(config, layers=given).probe.layers == meant


@pytest.mark.parametrize(
    ("text", "keywords", "named"),
    [
        ("", {"learning_rates": [1e-3, 1e-3]}, "learning_rates .* names a value twice"),
        ("", {"seeds": [1, 1]}, "seeds .* names a value twice"),
        ("", {"learning_rates": [5]}, "learning_rates"),
        ("[probe]\nlayers = 'average'", {}, "layers"),
        ("probe = 3", {}, "probe"),
        ("[prob]", {}, "prob"),
    ],
)
def test_wrong_grids_are_sentences(
    tmp_path: Path, text: str, keywords: dict[str, Any], named: str
) -> None:
    """Told before anything is trained, in words that name the offender."""
    config = tmp_path / "probe.toml"
    config.write_text(text)
    with pytest.raises(ValueError, match=named) as caught:
        grid_config(config, **keywords)
    assert "validation error" not in str(caught.value)
