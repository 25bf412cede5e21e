"""Model types: what each promises, and one dropped in as a single file that every room opens."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness_bench.audio.resample import resample
from harness_bench.core.files import digest_file, digest_strings
from harness_bench.core.registry import modules_in
from harness_bench.models import frozen, types
from harness_bench.models.types.fbank import fbank
from tests.models.conftest import padded
from tests.models.tiny_types import MAKERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LENGTHS = [9_000, 4_001, 720]
# Frames of 10 ms, one number each: their loudness, and a trained multiple of it.
MADE_UP = """
from typing import override

import torch
from safetensors.torch import load_file
from torch import nn

from harness_bench.models.frozen import FrozenModel, ModelShape, ModelType


class Loudness(FrozenModel):
    def __init__(self, shape, scale):
        super().__init__(shape)
        self.scale = nn.Parameter(scale)

    @override
    def forward(self, waveforms, lengths, max_layer=None):
        loud = waveforms.unfold(1, 400, 160).square().mean(2, keepdim=True)
        frames = (lengths - 400) // 160 + 1
        return [loud, loud * self.scale], frames


class LoudnessFolder(ModelType):
    model_types = ("loudness",)

    @override
    def shape(self, path):
        return ModelShape(1, 1, 160, 400)

    @override
    def load(self, path):
        return Loudness(self.shape(path), load_file(path / "model.safetensors")["scale"])


TYPE = LoudnessFolder()
"""


@pytest.fixture
def made_up(tmp_path: Path) -> Iterator[Path]:
    """Drop the file in; return a checkpoint of that type."""
    place, folder = tmp_path / "types", tmp_path / "checkpoint"
    place.mkdir()
    folder.mkdir()
    (place / "loudness.py").write_text(MADE_UP, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "loudness"}), encoding="utf-8")
    save_file({"scale": torch.tensor([3.0])}, folder / "model.safetensors")
    types.__path__.append(str(place))
    yield folder
    types.__path__.remove(str(place))
    sys.modules.pop(f"{types.__name__}.loudness", None)


@pytest.fixture(params=modules_in(types.__name__))
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a checkpoint of each type that there is."""
    return MAKERS[request.param](tmp_path / "model")


@torch.inference_mode()
def test_every_type_keeps_its_promises(checkpoint: Path) -> None:
    """The shape without weights is that of the features, alone and in a batch alike."""
    shape, model = frozen.shape_of(checkpoint), frozen.load_backbone(checkpoint)
    assert model.shape == shape
    assert not model.training
    samples, lengths = padded(LENGTHS)
    states, frames = model(samples, lengths)
    assert len(states) == shape.num_layers + 1
    assert frames.tolist() == [shape.frames(length) for length in LENGTHS]
    for row, length in enumerate(LENGTHS):
        (alone,) = model.encode([samples[row, :length]])
        assert alone.shape == (len(states), frames[row], shape.hidden_size)
        together = torch.stack([state[row, : frames[row]] for state in states])
        torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4, equal_nan=True)
    last, _ = model(samples, lengths, max_layer=0)
    torch.testing.assert_close(last[0], states[0], equal_nan=True)
    assert model.operations_per_second(1.0) > 0


def test_digests_are_those_of_earlier_versions(checkpoint: Path) -> None:
    """Labels, probes, ASR models and results carry them: a new rule would make all of them anew."""
    expected, names = None, ["config.json", "preprocessor_config.json", "model.safetensors"]
    if checkpoint.suffix == ".pt":
        expected = digest_file(checkpoint)
    elif checkpoint.exists():
        folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
        names += [checkpoint.name] if checkpoint.is_file() else []
        for other in ("wav2vec2.ckpt", "model.onnx"):
            if (folder / other).is_file():
                names = ["hyperparams.yaml", *names[:-1], other]
        names = [name for name in names if (folder / name).is_file()]
        expected = digest_strings(digest_file(folder / name) for name in names)
    assert frozen.type_of(checkpoint).digest(checkpoint) == expected


@torch.inference_mode()
def test_one_file_serves_labels_and_costs(made_up: Path) -> None:
    """Training and measuring ask the registry, not a list of names."""
    from harness_bench.pretrain.labels.features import HiddenSource  # noqa: PLC0415 - torchaudio
    from harness_bench.results.efficiency import _measure  # noqa: PLC0415

    source = HiddenSource(made_up, 1, torch.device("cpu"))
    frames = source.frames(*padded([400, 720]))
    assert [each.shape for each in frames] == [(1, 1), (2, 1)]  # of 20 ms, as all labels
    assert source.digest == f"hidden-1-of-{frozen.checkpoint_digest(made_up)}"
    with pytest.raises(ValueError, match="Layer 2 "):
        HiddenSource(made_up, 2, torch.device("cpu"))
    costs = _measure(made_up)
    assert costs.parameters == frozen.parameter_count(made_up) == 1
    assert costs.disk_bytes == (made_up / "model.safetensors").stat().st_size
    assert costs.checkpoint_digest == frozen.checkpoint_digest(made_up)


@pytest.mark.s3prl
@torch.no_grad()
def test_one_file_serves_upstreams(made_up: Path) -> None:
    """`-u harness_local -k FOLDER`."""
    from harness_bench.probing.s3prl import hub  # noqa: PLC0415 - behind the marker

    upstream = hub.harness_local(str(made_up))
    (wav,) = padded([720])[0]
    first, second = upstream([wav])["hidden_states"]
    assert torch.equal(second, 3 * first)
    assert upstream.get_downsample_rates("hidden_states") == 160
    assert upstream.digest() == frozen.checkpoint_digest(made_up)


@pytest.mark.espnet
def test_one_file_serves_asr(made_up: Path) -> None:
    """From audio and as features on disk."""
    from harness_bench.asr import features  # noqa: PLC0415 - behind the marker
    from harness_bench.asr.espnet.frontend import HarnessFrontend  # noqa: PLC0415

    samples, lengths = padded([4_000, 720])
    weighted, frames = HarnessFrontend(made_up)(samples, lengths)
    assert frames.tolist() == [23, 3]
    last, _ = HarnessFrontend(made_up, layers=-1, cache_mb=1)(samples, lengths)
    torch.testing.assert_close(weighted, 2 / 3 * last)
    job = features.open_job(made_up, "mean", features.FeatureConfig(), torch.device("cpu"))
    assert (job.facts["dim"], job.facts["checkpoint"]) == (1, frozen.checkpoint_digest(made_up))


def test_what_no_type_opens_is_named(made_up: Path, tmp_path: Path) -> None:
    """The types that there are stand in the sentence; a digest it has all the same."""
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(ValueError, match=r"'bert'.*hubert, loudness, .*wav2vec2"):
        frozen.load_backbone(folder)
    assert frozen.checkpoint_digest(folder) != frozen.checkpoint_digest(made_up)


def test_fbank_of_a_telephones_audio_is_no_rounding_error() -> None:
    """Above 4 kHz nothing is left of it: bins that never change have no deviation to divide by."""
    quiet = np.random.default_rng(0).standard_normal(8_000).astype(np.float32) / 50
    found = fbank(torch.from_numpy(resample(quiet, 8_000)))
    assert found.abs().max() < 20
    assert not found[:, 70:80].any()
    assert not fbank(torch.from_numpy(quiet[:400])).any()  # a single frame
