"""The feature cache under s3prl's own runner: faster, and nothing else changes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness_bench.core import code_digest
from tests.probing.resume_runs import equal, load
from tests.probing.trainings import Trainings, run_trainings

pytestmark = pytest.mark.s3prl
# The utterances of `tone_corpus` that a run sees, and the second of noise of s3prl's featurizer.
SEEN = 24 + 12 + 1
HALF = "HARNESS_FEATURE_CACHE_DTYPE=fp16"
FIRST = {
    "off": "HARNESS_FEATURE_CACHE= HARNESS_FEATURE_CACHE_MB=0",
    "cold": "",
    "warm": "",
    "disk": "HARNESS_FEATURE_CACHE_MB=0",
    "broken": "",
    "tuned": "-f",
    "half_cold": HALF,
    "half_warm": HALF,
}
BESIDE = {"cold_beside": "", "warm_beside": ""}


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, tone_corpus: Path
) -> Trainings:
    """Train 12 steps each time, in two processes at once on one cache."""
    folder = tmp_path_factory.mktemp("runs")
    cache = {"HARNESS_FEATURE_CACHE": str(folder / "cache")}
    return run_trainings(folder, tiny_checkpoint, tone_corpus, FIRST, BESIDE, **cache)


def logged(runs: Trainings, name: str, file: str = "metrics.jsonl") -> bytes:
    return (runs.folder / name / file).read_bytes()


def assert_equal(runs: Trainings, one: str, other: str) -> None:
    """Compare two runs to the last bit: losses and accuracies, predictions, trained weights."""
    for file in ("metrics.jsonl", "predictions.dev.jsonl"):
        assert logged(runs, one, file) == logged(runs, other, file)
    left, right = (load(runs.folder / name / "states-12.ckpt") for name in (one, other))
    assert all(equal(left[part], right[part]) for part in ("Downstream", "Featurizer"))


@pytest.mark.parametrize("name", ["cold", "warm", "disk", "broken", "cold_beside", "warm_beside"])
def test_results_are_those_without_a_cache(runs: Trainings, name: str) -> None:
    """To the last bit, whoever put the features there, and with one entry cut in half."""
    assert_equal(runs, "off", name)


def test_only_what_is_missing_is_computed(runs: Trainings) -> None:
    """Else the cache would be right and useless. A broken entry is told, once."""
    assert [runs.said[name].count("is broken") for name in ("broken", "warm")] == [1, 0]
    assert runs.computed["off"] == 1 + 12 * 4 + 2 * 12
    assert SEEN <= runs.computed["cold"] + runs.computed["cold_beside"] <= 2 * SEEN
    assert {name: runs.computed[name] for name in ("warm", "disk", "broken", "warm_beside")} == {
        "warm": 0, "disk": 0, "broken": 1, "warm_beside": 0,
    }  # fmt: skip
    assert (runs.computed["half_cold"], runs.computed["half_warm"]) == (SEEN, 0)


def test_half_precision_changes_little_and_always_the_same(runs: Trainings) -> None:
    """Its first epoch sees rounded features too, so that a warm run repeats a cold one."""
    assert_equal(runs, "half_cold", "half_warm")
    names = ("off", "half_cold")
    rows = [[json.loads(line)["loss"] for line in logged(runs, n).splitlines()] for n in names]
    assert rows[0] != rows[1]
    assert rows[1] == pytest.approx(rows[0], rel=2e-2)


def test_fine_tuning_refuses_the_cache_and_says_so(runs: Trainings) -> None:
    """Features of weights that are gone must neither be read nor left for others."""
    assert "Fine-tuning (-f)" in runs.said["tuned"]
    assert runs.computed["tuned"] == runs.computed["off"] - 1  # the featurizer's noise was there
    assert len([*(runs.folder / "cache").glob("??/*.safetensors")]) == 2 * SEEN


@pytest.fixture
def opened(tiny_checkpoint: Path, tmp_path: Path) -> Any:
    """Return a function that opens our upstream on a cache, as a new process would."""
    from harness_bench.probing.s3prl import bridges, hub  # noqa: PLC0415 - imports torch

    bridges.hub_names()

    def make(checkpoint: Path = tiny_checkpoint, **settings: str) -> Any:
        lines = [f'folder = "{tmp_path / "cache"}"', *(f"{k} = {v!r}" for k, v in settings.items())]
        file = tmp_path / "options.toml"
        file.write_text("\n".join(["[feature_cache]", *lines]), encoding="utf-8")
        return hub.harness_local(str(checkpoint), model_config=str(file))

    return make


@torch.no_grad()
def test_the_mean_of_the_layers_can_be_all_that_is_kept(opened: Any) -> None:
    """For 24 layers it takes a 25th of the room; s3prl then weighs nothing."""
    wav = torch.randn(9000)
    states = opened()([wav])["hidden_states"]
    for _ in ("computed", "from disk"):
        out = opened(states="mean")([wav])
        assert [*out] == ["hidden_states"]
        (mean,) = out["hidden_states"]
        torch.testing.assert_close(mean, torch.stack(states).mean(0))


@torch.no_grad()
def test_another_checkpoint_or_code_computes_its_own(
    opened: Any, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights overwritten in their folder, too: the folder's name says nothing."""
    wav = torch.randn(9000)
    first = opened()([wav])["last_hidden_state"]
    other = shutil.copytree(tiny_checkpoint, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({name: 2 * value for name, value in tensors.items()}, other / "model.safetensors")
    assert not torch.equal(opened(other)([wav])["last_hidden_state"], first)
    same = shutil.copytree(tiny_checkpoint, tmp_path / "same")
    upstream = opened(same)
    monkeypatch.setattr(upstream, "encode", None)  # a call would raise
    assert torch.equal(upstream([wav])["last_hidden_state"], first)
    monkeypatch.setattr(code_digest, "VERSION", code_digest.VERSION + 1)
    upstream = opened(same)
    monkeypatch.setattr(upstream, "encode", None)
    with pytest.raises(TypeError, match="not callable"):
        upstream([wav])


@torch.no_grad()
def test_weights_loaded_later_stay_off_the_disk(
    opened: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checkpoint's digest does not know them."""
    upstream = opened()
    upstream.load_state_dict({name: 2 * value for name, value in upstream.state_dict().items()})
    upstream([torch.randn(9000)])
    assert not [*tmp_path.glob("cache/??/*")]
    assert "loaded from an experiment: none are kept" in capsys.readouterr().err
