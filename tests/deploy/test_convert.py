"""Exported folders: what is in them, what they give, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, override

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")
from harness_bench.deploy import checkpoint as checkpoints
from harness_bench.deploy.run import export
from harness_bench.models import frozen
from harness_bench.models.checkpoint import read_facts, save_random
from harness_bench.models.runtime import GRAPH, Graph, read_config
from tests.models import tiny_types
from tests.models.conftest import MEL, padded, small_config

if TYPE_CHECKING:
    from harness_bench.models.runtime import Runtime

LENGTHS = [9_000, 4_001, 720]
SMALL = {"encoder_layers": 2, "conv_dim": (16,) * 6 + (24,)}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_random(folder, small_config(**SMALL), seed=3)
    return folder


@pytest.fixture(scope="module", params=["onnx", "onnx-int8"])
def exported(request: pytest.FixtureRequest, parent: Path) -> Path:
    out = parent.with_name(request.param)
    export(parent, out, request.param)
    return out


@torch.inference_mode()
def test_an_export_is_a_checkpoint_of_its_own_type(exported: Path, parent: Path) -> None:
    """Heads, labels, ASR and costs take it: shape, digest, features alone as in a batch."""
    ours, theirs = frozen.load_backbone(exported), frozen.load_backbone(parent)
    assert ours.shape == theirs.shape == frozen.shape_of(exported)
    assert frozen.checkpoint_digest(exported) != frozen.checkpoint_digest(parent)
    assert frozen.parameter_count(exported) == frozen.parameter_count(parent)
    assert frozen.weight_bytes(exported) == (exported / GRAPH).stat().st_size
    assert ours.operations_per_second(10) == theirs.operations_per_second(10)
    samples, lengths = padded(LENGTHS)
    states, frames = ours(samples, lengths)
    expected, counts = theirs(samples, lengths)
    assert torch.equal(frames, counts)
    near = 1e-5 if exported.name == "onnx" else 0.2
    for row, length in enumerate(LENGTHS):
        (alone,) = ours.encode([samples[row, :length]])
        for state, one, wanted in zip(states, alone, expected, strict=True):
            torch.testing.assert_close(state[row, : frames[row]], one, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(one, wanted[row, : frames[row]], atol=near, rtol=1e-3)
    first, _ = ours(samples, lengths, max_layer=0)
    assert len(first) == 1


def test_the_digest_is_of_the_files_that_decide(exported: Path, tmp_path: Path) -> None:
    """What was measured is no part of it; the graph and its config are."""
    copy = shutil.copytree(exported, tmp_path / "copy")
    before = frozen.checkpoint_digest(copy)
    (copy / "harness.json").write_text("{}")
    assert frozen.checkpoint_digest(copy) == before
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert frozen.checkpoint_digest(copy) != before


def test_figures_stand_beside_the_parents(exported: Path, parent: Path) -> None:
    """README and harness.json say how far, how large, how fast."""
    config, facts = read_config(exported, "upstream"), read_facts(exported)
    assert config.parent_digest == frozen.checkpoint_digest(parent)
    assert config.batched == (exported.name == "onnx")
    figures = facts["export"]
    assert figures["made_up"]
    assert 0 < figures["max_difference"] < (1e-4 if exported.name == "onnx" else 1)
    assert figures["disk_bytes"] == frozen.weight_bytes(exported)
    assert figures["parent_disk_bytes"] == frozen.weight_bytes(parent)
    assert figures["real_time_factor"] > 0
    assert "Beside its parent" in (exported / "README.md").read_text()
    assert "harness_local -k FOLDER" in (exported / "README.md").read_text()


@pytest.mark.parametrize("kind", ["mel", "base"])
def test_other_extractors(kind: str, tmp_path: Path) -> None:
    """Log-mel bins without complex numbers, and group norms over each utterance alone."""
    changes = MEL if kind == "mel" else {"layer_norm_first": False, "extractor_mode": "default"}
    save_random(tmp_path / "parent", small_config(**{**SMALL, **changes}), seed=1)
    parity = export(tmp_path / "parent", tmp_path / "out", "onnx").parity
    assert parity.max_difference < 1e-4
    assert parity.relative_difference < 1e-5
    small = export(tmp_path / "parent", tmp_path / "out", "onnx-int8").parity
    # A spectrum, or convolutions without layer norms, in 8 bits would be off by a fifth.
    assert small.relative_difference < 0.05


def test_torchscript_runs_without_the_project(parent: Path, tmp_path: Path) -> None:
    """`torch.jit.load` alone gives the features, of another batch than the traced one."""
    export(parent, tmp_path / "script", "torchscript")
    script = torch.jit.load(tmp_path / "script" / "model.pt")  # type: ignore[no-untyped-call]
    samples, lengths = padded(LENGTHS)
    with torch.inference_mode():
        *states, frames = script(samples, lengths)
        expected, counts = frozen.load_backbone(parent)(samples, lengths)
    assert torch.equal(frames, counts)
    torch.testing.assert_close(states[-1][0], expected[-1][0], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match=r"TorchScript.*onnx-int8"):
        frozen.load_backbone(tmp_path / "script")


def test_an_export_of_an_export_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is an export already"):
        export(exported, tmp_path / "again", "onnx")


class _ByLoudness(frozen.FrozenModel):
    """Decides by the audio, as no graph can."""

    def __init__(self) -> None:
        super().__init__(frozen.ModelShape(1, 0, 320, 400))

    @override
    def forward(
        self, waveforms: torch.Tensor, lengths: torch.Tensor, max_layer: int | None = None
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        del max_layer
        frames = (lengths - 400) // 320 + 1
        level = waveforms.abs().max()
        state = waveforms.unfold(1, 400, 320).mean(2, keepdim=True)
        return [state if level > 0.35 else state + 1], frames

    @override
    def operations_per_second(self, seconds: float) -> float:
        return seconds


@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_a_model_that_decides_by_the_audio_is_refused(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: Runtime
) -> None:
    """Tracing fixes one way; the folder is not written."""
    monkeypatch.setattr(checkpoints, "load_backbone", lambda _: _ByLoudness().eval())
    with pytest.raises(ValueError, match=r"cannot be exported"):
        export(parent, tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_operations_that_a_graph_lacks_are_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """FBANK's spectrum has complex numbers; torch would print its whole program."""
    with pytest.raises(ValueError, match=r"^fbank cannot be exported as a graph: .*fft"):
        export(Path("fbank"), tmp_path / "out", "onnx")
    assert not capfd.readouterr().out


def test_a_graph_that_runs_at_one_length_alone_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Rotary positions are a table of the traced length: the runtime's own error comes first."""
    settings = {"position_embeddings_type": "rotary", **tiny_types.LARGE}
    folder = tiny_types.save(tiny_types.waveforms("Wav2Vec2Conformer", **settings), tmp_path / "m")
    capfd.readouterr()
    with pytest.raises(ValueError, match=r"cannot be exported: the graph fails for 16000 samples"):
        export(folder, tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()
    assert "onnxruntime" not in capfd.readouterr().err


@torch.inference_mode()
def test_a_traced_graph_hears_no_padding(tmp_path: Path) -> None:
    """One utterance of a batch may be all that a device gets, as long as the longest."""
    source = tiny_types.save(tiny_types.waveforms("WavLM"), tmp_path / "wavlm")
    export(source, tmp_path / "out", "onnx")
    model, (samples, _) = frozen.load_backbone(tmp_path / "out"), padded([9_000, 4_001])
    states, frames = model(samples[1:], torch.tensor([4_001]))
    (alone,) = model.encode([samples[1, :4_001]])
    assert frames.tolist() == [model.shape.frames(4_001)]
    torch.testing.assert_close(torch.stack(states, dim=1)[0, :, : int(frames[0])], alone)


def test_a_graph_does_not_take_its_parents_place(parent: Path) -> None:
    """The weights would be gone."""
    with pytest.raises(ValueError, match="is the model itself"):
        export(parent, parent, "onnx")
    assert frozen.shape_of(parent)


def test_what_is_not_installed_is_told(
    exported: Path, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The libraries are an extra; the sentence says which."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"onnxruntime is needed.*harness-ssl-bench\[onnx\]"):
        frozen.load_backbone(exported)
    with pytest.raises(ValueError, match=r"onnxruntime is needed.*harness-ssl-bench\[onnx\]"):
        export(parent, tmp_path / "out", "onnx")


def test_what_cannot_run_is_told(exported: Path, tmp_path: Path) -> None:
    """Too short an utterance, a broken graph, another use, another folder in the way."""
    graph = Graph(exported, "upstream", 1)
    with pytest.raises(ValueError, match="399 samples give no frame: 400"):
        graph.alone(np.zeros(399, np.float32))
    copy = shutil.copytree(exported, tmp_path / "copy")
    (copy / GRAPH).write_bytes(b"not a graph")
    with pytest.raises(ValueError, match=GRAPH):
        Graph(copy, "upstream")
    with pytest.raises(ValueError, match=r"'upstream'.*harness_local.*'head'"):
        Graph(exported, "head")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "frames": 3}))
    with pytest.raises(ValueError, match="frames"):
        Graph(copy, "upstream")
