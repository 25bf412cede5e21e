"""The feature cache under s3prl's own runner: faster, and nothing else changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness_bench.core import code_digest

pytestmark = pytest.mark.s3prl
SCRIPT = Path(__file__).with_name("cached_runs.py")
# The utterances of `tone_corpus` that a run sees, and the second of noise of s3prl's featurizer.
SEEN = 24 + 12 + 1
OFF = "HARNESS_FEATURE_CACHE= HARNESS_FEATURE_CACHE_MB=0"
HALF = "HARNESS_FEATURE_CACHE_DTYPE=fp16"
DISK_ALONE = "HARNESS_FEATURE_CACHE_MB=0"
FIRST = [
    f"off:{OFF}", "cold", "warm", f"disk:{DISK_ALONE}", "broken", "tuned:-f",
    f"half_cold:{HALF}", f"half_warm:{HALF}",
]  # fmt: skip
BESIDE = ["cold_beside", "warm_beside"]


class Runs(NamedTuple):
    """What two processes that shared one cache left and said."""

    folder: Path
    computed: dict[str, int]
    said: dict[str, str]


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, tone_corpus: Path
) -> Runs:
    """Train 12 steps each time, in two processes at once on one cache."""
    folder = tmp_path_factory.mktemp("runs")
    places = [tiny_checkpoint, tone_corpus, folder, folder / "cache"]
    processes = [
        subprocess.Popen(
            [sys.executable, *map(str, [SCRIPT, *places, *names])], cwd=folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for names in (FIRST, BESIDE)
    ]  # fmt: skip
    computed, said = {}, {}
    for process in processes:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        for line in out.splitlines():
            if line.startswith("{"):
                computed.update(json.loads(line))
        for part in err.split("run ")[1:]:
            said[part.split("\n", 1)[0]] = part
    return Runs(folder, computed, said)


def left(runs: Runs, name: str) -> tuple[bytes, bytes, dict[str, Any]]:
    """Return losses and accuracies, predictions, and the trained weights of a run."""
    folder = runs.folder / name
    with torch.serialization.safe_globals([Namespace]):
        state = torch.load(folder / "states-12.ckpt", weights_only=True)
    weights = {**state["Downstream"], **state["Featurizer"]}
    weights.pop("_extra_state", None)
    files = ("metrics.jsonl", "predictions.dev.jsonl")
    return (*((folder / file).read_bytes() for file in files), weights)  # type: ignore[return-value]


def assert_equal(runs: Runs, one: str, other: str) -> None:
    """Compare two runs to the last bit."""
    first, second = left(runs, one), left(runs, other)
    assert first[:2] == second[:2]
    assert first[2].keys() == second[2].keys()
    assert all(torch.equal(value, second[2][name]) for name, value in first[2].items())


@pytest.mark.parametrize("name", ["cold", "warm", "disk", "broken", "cold_beside", "warm_beside"])
def test_results_are_those_without_a_cache(runs: Runs, name: str) -> None:
    """To the last bit, whoever put the features there, and with one entry cut in half."""
    assert_equal(runs, "off", name)


def test_only_what_is_missing_is_computed(runs: Runs) -> None:
    """Else the cache would be right and useless."""
    assert runs.computed["off"] == 1 + 12 * 4 + 2 * 12
    assert SEEN <= runs.computed["cold"] + runs.computed["cold_beside"] <= 2 * SEEN
    assert {name: runs.computed[name] for name in ("warm", "disk", "broken", "warm_beside")} == {
        "warm": 0, "disk": 0, "broken": 1, "warm_beside": 0,
    }  # fmt: skip
    assert (runs.computed["half_cold"], runs.computed["half_warm"]) == (SEEN, 0)


def test_a_broken_entry_is_told(runs: Runs) -> None:
    assert runs.said["broken"].count("is broken") == 1
    assert "is broken" not in runs.said["warm"]


def test_half_precision_changes_little_and_always_the_same(runs: Runs) -> None:
    """Its first epoch sees rounded features too, so that a warm run repeats a cold one."""
    assert_equal(runs, "half_cold", "half_warm")
    rows = [
        [json.loads(line)["loss"] for line in left(runs, name)[0].splitlines()]
        for name in ("off", "half_cold")
    ]
    assert rows[0] != rows[1]
    assert rows[1] == pytest.approx(rows[0], rel=2e-2)


def test_fine_tuning_refuses_the_cache_and_says_so(runs: Runs) -> None:
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
