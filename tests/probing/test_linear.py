"""Linear probes: scikit-learn by hand as oracle; equal inputs give equal bytes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from harness_bench.leaderboard.ranking import by_column
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from harness_bench.audio.io import load_waveform
from harness_bench.core.cache import BoundedStore
from harness_bench.core.files import read_json, write_json
from harness_bench.core.workdir import WorkDir
from harness_bench.cuts.fields import label_of
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.models import hub as models
from harness_bench.models.checkpoint import save_random
from harness_bench.models.frozen import checkpoint_digest, hidden_states, parameter_count
from harness_bench.probing import linear, run
from harness_bench.probing.grid import grid_config
from harness_bench.probing.head.config import DataConfig, LinearConfig
from harness_bench.probing.head.data import learn_classes, read_split
from harness_bench.probing.linear import LinearOutcome, pool, run_linear
from harness_bench.probing.probe import ProbeConfig, Subject, run_probe
from harness_bench.results.predictions import ClassPrediction, read_predictions
from harness_bench.results.record import load_result, load_results, save_result
from tests.models.conftest import small_config

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.s3prl
SEGMENTS = 2


@pytest.fixture
def subject(tone_corpus: Path, tiny_checkpoint: Path) -> Subject:
    return Subject(
        upstream="harness_local", checkpoint=tiny_checkpoint, task="keyword", cuts=tone_corpus,
        label_field="label",
    )  # fmt: skip


def by_hand(subject: Subject, split: str) -> tuple[np.ndarray, list[str]]:
    """Return (utterances, layers, segments * dim) by numpy, and the labels."""
    cuts = read_cuts(subject.cuts, split)
    rows = []
    for cut in cuts:
        states = hidden_states(str(subject.checkpoint), load_waveform(cut)).numpy()
        frames = states.shape[1]
        bounds = [(i * frames // SEGMENTS, -(-(i + 1) * frames // SEGMENTS)) for i in (0, 1)]
        rows.append(np.concatenate([states[:, a:b].mean(1) for a, b in bounds], axis=1))
    return np.stack(rows), [label_of(cut, "label") for cut in cuts]


@pytest.mark.parametrize("classifier", ["linear", "knn"])
def test_equals_scikit_learn_by_hand(subject: Subject, tmp_path: Path, classifier: str) -> None:
    """Layer and setting that dev chooses, every answer on test and every probability."""
    config = LinearConfig(
        classifier="knn" if classifier == "knn" else "linear",
        segments=SEGMENTS,
        c=(1e-3, 1.0),
        neighbours=(1, 3),
    )
    outcome = run_linear(subject, tmp_path, config)
    splits = {split: by_hand(subject, split) for split in ("train", "dev", "test")}
    best: tuple[float, int, float, np.ndarray] | None = None
    for layer in range(splits["train"][0].shape[1]):
        mean = splits["train"][0][:, layer].mean(0)
        deviation = splits["train"][0][:, layer].std(0)
        x = {name: (rows[:, layer] - mean) / deviation for name, (rows, _) in splits.items()}
        for setting in config.c if classifier == "linear" else config.neighbours:
            model = (
                LogisticRegression(C=setting, max_iter=1000)
                if classifier == "linear"
                else KNeighborsClassifier(int(setting), metric="cosine")
            ).fit(x["train"], splits["train"][1])
            dev = 100 * model.score(x["dev"], splits["dev"][1])
            if best is None or dev > best[0]:
                best = dev, layer, setting, model.predict_proba(x["test"])
    assert best is not None
    assert (outcome.layer, outcome.setting) == best[1:3]
    assert max(outcome.dev.values()) == pytest.approx(best[0])
    rows = {row.id: row for row in read_predictions(outcome.test_predictions, ClassPrediction)}
    for cut, probs in zip(read_cuts(subject.cuts, "test"), best[3], strict=True):
        assert list(rows[cut.id].probs.values()) == pytest.approx(list(probs), abs=1e-3)


def test_a_finished_probe_is_not_run_again(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LinearConfig(segments=1, c=(0.01,))
    first = run_linear(subject, tmp_path / "out", config)
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    monkeypatch.setattr(linear, "open_encoder", None)
    again = run_linear(subject, moved, config)
    assert again.test_predictions.parent == moved
    assert (again.layer, again.setting, again.dev) == (first.layer, first.setting, first.dev)
    with pytest.raises(TypeError, match="not callable"):
        run_linear(subject, moved, replace(config, c=(0.1,)))


def test_features_are_kept_nowhere_and_the_folder_is_locked(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every utterance is read once; who asks for the same figures waits, and computes nothing."""
    seen: list[int] = []

    def put(store: BoundedStore[Any, Any], *_: Any) -> None:
        seen.append(store.max_bytes)

    monkeypatch.setattr(BoundedStore, "put", put)
    config, out = LinearConfig(segments=1, c=(0.01,)), tmp_path / "out"
    held = WorkDir(out, {})
    with ThreadPoolExecutor(1) as pool:
        with held.lock():
            waiting = pool.submit(run_linear, subject, out, config)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
            assert not (out / "inputs.json").exists()
        assert waiting.result().dev
    assert set(seen) == {0}


def test_what_cannot_be_probed_is_told_first(subject: Subject, tmp_path: Path) -> None:
    """As of the CNN head: before an upstream is opened."""
    with pytest.raises(ValueError, match=r"no task 'none'.*keyword"):
        run_linear(replace(subject, task="none"), tmp_path, LinearConfig())
    with pytest.raises(ValueError, match="holds no cuts"):
        run_linear(replace(subject, cuts=tmp_path), tmp_path, LinearConfig())


def test_classes_of_dev_or_test_alone_are_told_before_anything_is_computed(
    subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both heads read test last, after hours; skipped, such utterances are counted."""
    for split in ("train", "dev", "test"):
        cuts = read_cuts(subject.cuts, split)
        if split == "test":
            cuts[1].supervisions[0].custom["label"] = "shrill"
        write_cuts(tmp_path / "cuts", split, cuts)
    odd = replace(subject, cuts=tmp_path / "cuts")
    with pytest.raises(ValueError, match=r"'test'.*'shrill' \(1\).*--unknown-labels skip"):
        run_linear(odd, tmp_path / "linear", LinearConfig())
    with pytest.raises(ValueError, match="shrill"):
        run_probe(odd, tmp_path / "head", ProbeConfig(), run=lambda *_: 1 / 0, test=False)
    assert not (tmp_path / "head").exists()
    found = run_linear(replace(odd, unknown_labels="skip"), tmp_path / "skip", LinearConfig())
    assert "test: 1 utterances have labels that train lacks: 'shrill'" in capsys.readouterr().err
    rows = read_predictions(found.test_predictions, ClassPrediction)
    test = read_cuts(odd.cuts, "test")
    assert len(rows) == len(test) - 1
    row = {"model": "m", "corpus": "tones", "model_kind": "other", "synthetic": True}
    path = run.publish_linear(
        replace(odd, unknown_labels="skip"), found, LinearConfig(), row, tmp_path / "results"
    )
    heard = sum(cut.duration for cut in test if cut.id != test[1].id)
    assert load_result(path).hours == pytest.approx(heard / 3600, abs=1e-4)
    assert load_result(path).utterances == len(rows)


def test_more_neighbours_than_utterances_are_left_out(
    subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default tries 30, a small train split has fewer; none that it has is an error."""
    few = run_linear(subject, tmp_path / "few", LinearConfig(classifier="knn", neighbours=(3, 99)))
    assert few.setting == 3
    assert "neighbours = [99]" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"neighbours = \[99\].*train has \d+ utterances"):
        run_linear(subject, tmp_path / "no", LinearConfig(classifier="knn", neighbours=(99,)))


def test_equal_inputs_give_equal_bytes(subject: Subject, tmp_path: Path) -> None:
    """No seed is needed: nothing is drawn."""
    config = LinearConfig(segments=1, c=(0.01, 1.0))
    one, two = (run_linear(subject, tmp_path / name, config) for name in "ab")
    assert one.test_predictions.read_bytes() == two.test_predictions.read_bytes()
    assert isinstance(one, LinearOutcome)


def test_fbank_has_a_probe_too(subject: Subject, tmp_path: Path) -> None:
    """An upstream without checkpoint, of one hidden state."""
    fbank = replace(subject, upstream="fbank_cached", checkpoint=None)
    outcome = run_linear(fbank, tmp_path, LinearConfig())
    assert [*outcome.dev] == [0]
    rows = read_predictions(outcome.test_predictions, ClassPrediction)
    assert [{*row.probs} for row in rows] == [{"high", "low", "middle"}] * 12


def test_the_result_of_a_named_model_says_which_weights_it_is_of(
    subject: Subject, tmp_path: Path
) -> None:
    """A name stands for other weights tomorrow, and costs go to results by digest."""
    named = replace(subject, upstream="harness_mini", checkpoint=None)
    row = {"model": "x", "model_kind": "pretrained", "corpus": "tones", "synthetic": True}
    config = LinearConfig(c=(1.0,), segments=1)
    found = run_linear(named, tmp_path / "out", config)
    result = load_result(run.publish_linear(named, found, config, row, tmp_path))
    folder = models.resolve("harness_mini")
    assert result.checkpoint_digest == checkpoint_digest(folder)
    assert result.parameters == parameter_count(folder)


def test_segments_of_fewer_frames_than_segments_share_frames() -> None:
    states = torch.arange(3.0).reshape(1, 3, 1)
    assert pool(states, 4).tolist() == [[0.0, 0.5, 1.5, 2.0]]
    assert pool(states, 1).tolist() == [[1.0]]


def test_both_heads_of_a_model_are_columns_of_one_board(subject: Subject, tmp_path: Path) -> None:
    """Two ways to read an upstream are never compared as if they were one."""
    results = tmp_path / "results"
    done = run.probe(
        subject.upstream, subject.task, subject.cuts, tmp_path / "linear", head="linear",
        checkpoint=subject.checkpoint, results=results, model="tiny", corpus="tones",
    )  # fmt: skip
    result = load_result(done.result)
    assert (result.task, result.head, result.utterances) == ("keyword", "linear", 12)
    assert result.main.interval is not None
    assert result.main_metric == "accuracy"
    save_result(result.model_copy(update={"head": ""}), results)  # as of the CNN head
    assert sorted(path.name for path in results.glob("*.json")) == [
        "tiny.keyword.tones.test.json", "tiny.keyword.tones.test.linear.json",
    ]  # fmt: skip
    columns = by_column(load_results(results)[0], "measured")
    assert [column.task for column in columns] == ["keyword", "keyword (linear)"]
    assert done.plot is not None
    assert done.plot.is_file()
    assert isinstance(done.outcome, LinearOutcome)
    assert f"hidden state {done.outcome.layer}, C = {done.outcome.setting:g}" in str(done)
    saved = read_json(done.result)
    for each in saved["metrics"].values():
        each["interval"] = dict.fromkeys(("low", "high"), each["value"]) | {
            "method": "jackknife over 2 clusters"
        }
    write_json(done.result, saved)
    assert "No interval for accuracy" in str(done), "a figure without one and without a word"
    assert done.checkpoint is None


@pytest.mark.parametrize("name", ["learning_rates", "seeds", "steps", "layers"])
def test_settings_of_the_cnn_head_are_refused(subject: Subject, tmp_path: Path, name: str) -> None:
    given: dict[str, Any] = {name: [1]}
    with pytest.raises(ValueError, match=f"'knn' has no {name}"):
        run.probe("fbank_cached", "keyword", subject.cuts, tmp_path, head="knn", **given)


def test_one_file_serves_both_heads(subject: Subject, tmp_path: Path) -> None:
    """Tables of either head stand beside the other's; an unknown key is refused by both."""
    file = tmp_path / "probe.toml"
    file.write_text("[probe]\ntotal_steps = 7\neval_step = 7\n[linear]\nsegments = 1\nc = [1.0]\n")
    config = grid_config(file)
    assert (config.probe.total_steps, config.linear.segments) == (7, 1)
    done = run.probe(
        subject.upstream, subject.task, subject.cuts, tmp_path / "out", head="linear",
        checkpoint=subject.checkpoint, config=file,
    )  # fmt: skip
    assert isinstance(done.outcome, LinearOutcome)
    assert done.outcome.setting == 1.0
    file.write_text("[liner]\nsegments = 1\n")
    with pytest.raises(ValueError, match="liner"):
        run.probe("fbank_cached", "keyword", subject.cuts, tmp_path / "no", head="knn", config=file)


def test_features_that_are_not_finite_are_refused(tone_corpus: Path, tmp_path: Path) -> None:
    """By the name of the utterance; scikit-learn would speak of an array."""
    config = DataConfig(cuts=tone_corpus, label_field="label")
    classes = learn_classes(tone_corpus, "label")
    data = read_split("dev", config=config, classes=classes, report_in=tmp_path)
    with pytest.raises(ValueError, match=f"features of '{data.cuts[0].id}' are not finite"):
        linear.pool_split(data, lambda _: [torch.full((5, 3), torch.inf)], 2)


def test_a_broken_checkpoint_is_told_before_cuts_are_read(tmp_path: Path) -> None:
    """Here there are none to read."""
    folder = tmp_path / "model"
    save_random(folder, small_config(), seed=0)
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    subject = Subject(
        upstream="harness_local", checkpoint=folder, task="keyword", cuts=tmp_path / "none"
    )
    with pytest.raises(ValueError, match="git lfs pull"):
        run_linear(subject, tmp_path / "out", LinearConfig())
    with pytest.raises(ValueError, match="git lfs pull"):
        run_probe(subject, tmp_path / "out", ProbeConfig())
