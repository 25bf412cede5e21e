"""Heads as graphs: upstream, weighted sum and head in one, beside what `predict` says."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf
import torch

pytest.importorskip("onnx")
from harness_bench.deploy import head as heads
from harness_bench.deploy.predict import predict
from harness_bench.deploy.run import export
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.models.runtime import GRAPH, read_config
from harness_bench.results.record import Result, load_results
from harness_bench.scoring.publish import class_result, publish
from tests.deploy.test_transcribe import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.s3prl
LOUD = {"modelrc": {"hidden": 16, "average": 5, "input_norm": "batch"}}
PLAIN = {"modelrc": {"hidden": 16}}


def head_of(
    folder: Path, checkpoint: Path, cuts: Path, settings: dict[str, Any], **featurizer: Any
) -> Path:
    """Return the place of an untrained head, and the runner that `open_runner` would make."""
    from s3prl.upstream.interfaces import Featurizer  # noqa: PLC0415 - behind the marker

    from harness_bench.probing.head.expert import ClassifierExpert  # noqa: PLC0415
    from harness_bench.probing.s3prl.upstream import FrozenExpert  # noqa: PLC0415

    torch.manual_seed(5)
    upstream = FrozenExpert(checkpoint)
    taken = Featurizer(upstream, upstream_device="cpu", **featurizer)
    if hasattr(taken, "weights"):
        torch.nn.init.normal_(taken.weights)
    data = {"datarc": {"cuts": str(cuts), "label_field": "label"}, **settings}
    expert = ClassifierExpert(
        32, 320, data, str(folder), downstream="keyword", seed=1, mode="train"
    ).eval()
    for name, value in expert.model.named_buffers():
        if value.is_floating_point():
            torch.nn.init.uniform_(value, 0.5, 2) if "var" in name else torch.nn.init.normal_(value)
    for each in expert.parameters():
        each.data *= 3  # or all probabilities are a third
    (folder / "dev-best.ckpt").write_bytes(b"weights")
    parts = {"upstream": upstream, "featurizer": taken, "downstream": expert}
    runner = SimpleNamespace(**{name: SimpleNamespace(model=part) for name, part in parts.items()})
    return_to[folder] = runner
    return folder


return_to: dict[Path, Any] = {}


@pytest.fixture(autouse=True)
def _runners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "open_runner", lambda path, *_: return_to[path.parent])


@pytest.mark.parametrize(
    ("settings", "featurizer"),
    [(LOUD, {}), (PLAIN, {"layer_selection": 1}), (PLAIN, {"normalize": True}),
     (PLAIN, {"feature_selection": "last_hidden_state"})],
    ids=["weighted", "layer", "normalised", "last"],
)  # fmt: skip
def test_a_graph_gives_the_heads_probabilities(
    tmp_path: Path, tiny_checkpoint: Path, tone_corpus: Path,
    settings: dict[str, Any], featurizer: dict[str, Any],
) -> None:  # fmt: skip
    """`export` checks three lengths and a batch against the parent; the file says the classes."""
    source = head_of(tmp_path, tiny_checkpoint, tone_corpus, settings, **featurizer)
    done = export(source, tmp_path / "out", "onnx")
    assert done.parity.max_difference < 1e-5
    config = read_config(tmp_path / "out", "head")
    assert config.classes == tuple(return_to[tmp_path].downstream.model.classes)
    assert config.upstream_digest == checkpoint_digest(tiny_checkpoint)
    if featurizer.get("layer_selection") == 1:  # the second block is no part of it
        assert b"encoder/layers.1" not in (tmp_path / "out" / GRAPH).read_bytes()


@pytest.fixture
def made(tmp_path: Path, tiny_checkpoint: Path, tone_corpus: Path) -> tuple[Path, Any]:
    """Export a head to int8 beside its parent's result; return its folder and what was told."""
    source = head_of(tmp_path, tiny_checkpoint, tone_corpus, LOUD)
    head = heads.open_head(source)
    examination = head.examine(tone_corpus, "test")
    assert examination.answers is not None
    rows: list[Any] = examination.answers(head.subject.parent)
    template = partial(
        Result, model="tiny", model_kind="pretrained", task="keyword", corpus="tones",
        split="test", synthetic=True, checkpoint_digest=checkpoint_digest(tiny_checkpoint),
    )  # fmt: skip
    publish(class_result(rows, template), rows, tmp_path / "results")
    return tmp_path / "out", export(source, tmp_path / "out", "onnx-int8", cuts=tone_corpus)


def test_its_row_stands_beside_the_parents(
    made: tuple[Path, Any], tmp_path: Path, tone_corpus: Path
) -> None:
    """The same utterances, the paired difference, size and speed; the parent's row stays."""
    out, done = made
    results = {each.model: each for each in load_results(tmp_path / "results")[0].values()}
    assert set(results) == {"tiny", "tiny (onnx-int8)"}
    ours, parent = results["tiny (onnx-int8)"], results["tiny"]
    assert ours.synthetic
    assert (ours.split_digest, ours.corpus) == (parent.split_digest, "tones")
    assert parent.exported is None
    assert ours.exported is not None
    assert ours.costs is not None
    assert ours.exported.difference == pytest.approx(ours.main.value - parent.main.value)
    assert ours.exported.interval.low <= ours.exported.difference <= ours.exported.interval.high
    assert "paired" in ours.exported.interval.method
    assert ours.costs.disk_bytes == (out / GRAPH).stat().st_size
    figures = json.loads((out / "harness.json").read_text())["export"]
    assert [each["metric"] for each in figures["changes"]] == ["accuracy", "macro_f1"]
    assert done.parity.utterances > 3
    assert str(done.result) in str(done)
    (tmp_path / "results" / done.result.name).unlink()
    (tmp_path / "results" / parent.file_name).unlink()
    with pytest.raises(ValueError, match="has 0 results of"):
        export(tmp_path, tmp_path / "second", "onnx", cuts=tone_corpus)
    assert not (tmp_path / "second").exists()


def test_predict_hears_what_the_parent_hears(made: tuple[Path, Any], tmp_path: Path) -> None:
    """Stereo at another rate too; what cannot be heard is one answer with its reason."""
    tone = np.sin(np.arange(24_000) / 7)[:, None] * [0.2, 0.1]
    for name, rate in (("same.wav", 16_000), ("other.wav", 24_000)):
        sf.write(tmp_path / name, tone, rate)
    sf.write(tmp_path / "short.wav", np.zeros(300), 16_000)
    sf.write(tmp_path / "nan.wav", np.full(8_000, np.nan), 16_000, subtype="FLOAT")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    names = ("same.wav", "other.wav", "short.wav", "nan.wav", "broken.wav", "none.wav")
    one, other, *failed = predict(made[0], [tmp_path / name for name in names])
    runner = return_to[tmp_path]
    for answer, near in ((one, 0.02), (other, 0.03)):
        from harness_bench.audio.io import read_waveform  # noqa: PLC0415

        wav = torch.from_numpy(read_waveform(answer.file))
        with torch.inference_mode():
            features = runner.featurizer.model([wav], runner.upstream.model([wav]))
            (expected,) = runner.downstream.model.probabilities(features, [len(wav)])
        assert answer.probs == pytest.approx(expected, abs=near)
        assert next(iter(answer.probs)) == answer.label
    reasons = ["give no frame", "NaN or infinite", "", "no such file"]
    for answer, reason in zip(failed, reasons, strict=True):
        assert not answer.probs
        assert reason in answer.problem


def test_no_torch_is_imported(made: tuple[Path, Any], tmp_path: Path) -> None:
    """`harness-bench predict` of an export starts in half a second, in little memory."""
    sf.write(tmp_path / "a.wav", np.sin(np.arange(24_000) / 7), 24_000)
    command = [sys.executable, "-c", PROGRAM, "predict", str(made[0]), str(tmp_path / "a.wav")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["probs"].values()) == pytest.approx(1, abs=1e-5)
