"""Checkpoint folders: whole or refused, opened by others, safe."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import HubertModel, Wav2Vec2Config, Wav2Vec2ForPreTraining

from harness_bench.models import frozen
from harness_bench.models.checkpoint import (
    HEAD,
    halve,
    load_config,
    load_hubert,
    save_checkpoint,
    save_random,
)
from harness_bench.models.config import exported_parameters
from harness_bench.models.hubert import Hubert
from tests.models.conftest import MEL, padded, small_config

if TYPE_CHECKING:
    from pathlib import Path


def test_round_trip_is_exact(hubert: Hubert, tmp_path: Path) -> None:
    """What is loaded is what was trained, bit for bit, whatever the kind."""
    save_checkpoint(tmp_path, hubert)
    again = load_hubert(tmp_path)
    before, after = hubert.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    tensors = load_file(tmp_path / frozen.WEIGHTS)
    assert frozen.parameter_count(tmp_path) == sum(tensor.numel() for tensor in tensors.values())


def test_transformers_saves_what_we_load(tmp_path: Path) -> None:
    """HuBERT-L and XLS-R come as transformers folders; ours must read those, prefix or not."""
    config = Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        conv_dim=(16,) * 7, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, codevector_dim=16,
        proj_codevector_dim=16,
    )  # fmt: skip
    reference = Wav2Vec2ForPreTraining(config).eval()
    reference.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
    samples, lengths = padded([5_000])
    with torch.inference_mode():
        ours, frames = frozen.load_backbone(tmp_path)(samples, lengths)
        theirs = reference.wav2vec2(samples, output_hidden_states=True).hidden_states
    assert int(frames[0]) == theirs[0].shape[1]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs, strict=True))


def test_a_bin_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    """Checkpoints come from strangers: loading one must never execute what it holds."""
    save_random(tmp_path, small_config(), seed=0)
    (tmp_path / frozen.WEIGHTS).unlink()
    flag = tmp_path / "executed"
    payload = f"cposix\nsystem\n(S'touch {flag}'\ntR.".encode()
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/version", "3\n")
    with pytest.raises(Exception, match=r"(?i)weights.only|unsupported|unpickl"):
        frozen.load_backbone(tmp_path)
    assert not flag.exists()


def test_missing_weights_are_named(tmp_path: Path) -> None:
    """A silent non-strict load would give random layers and a plausible score."""
    save_random(tmp_path, small_config(), seed=0)
    tensors = load_file(tmp_path / frozen.WEIGHTS)
    del tensors["encoder.layers.1.attention.k_proj.weight"]
    save_file(tensors, tmp_path / frozen.WEIGHTS)
    with pytest.raises(ValueError, match=r"encoder\.layers\.1\.attention\.k_proj\.weight"):
        frozen.load_backbone(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_act", "relu"), ("conv_pos_batch_norm", True), ("feat_proj_layer_norm", False)],
)
def test_what_would_be_computed_wrongly_is_refused(tmp_path: Path, key: str, value: object) -> None:
    """A folder that loads and gives other features than its model would poison every figure."""
    save_checkpoint(tmp_path, Hubert(small_config()))
    path = tmp_path / frozen.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f"{key} is {value!r}"):
        load_config(tmp_path)


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    """A BERT folder must not end in a shape error deep inside."""
    (tmp_path / frozen.CONFIG).write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="model_type is 'bert'"):
        frozen.load_backbone(tmp_path)
    with pytest.raises(ValueError, match="there is no such file or folder"):
        frozen.load_backbone(tmp_path / "nothing")


def test_random_depends_on_its_seed_alone(tmp_path: Path) -> None:
    """The random row of the leaderboard must be the same on every run."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(hash(name) % 1000)
        save_random(tmp_path / name, small_config(), seed=seed)
    digests = [frozen.checkpoint_digest(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


# The shape of the small model that stands in the package.
MINI = {
    "encoder_layers": 6, "encoder_embed_dim": 256, "encoder_ffn_embed_dim": 1024, "conv_pos": 64,
    "conv_pos_groups": 16, **MEL, "conv_dim": (256,),
}  # fmt: skip
LARGEST_CHANGE = 0.01  # of a hidden state's standard deviation


@pytest.mark.parametrize("shape", [{}, MINI], ids=["raw", "mel"])
@torch.inference_mode()
def test_half_the_numbers_give_nearly_the_same_hidden_states(
    tmp_path: Path, shape: dict[str, Any]
) -> None:
    """Half the bytes; computed in float32 wherever it is opened. Measured: 0.2 % of the deviation.

    A trained model of this shape, on 78 s of speech: 0.75 %.
    """
    torch.manual_seed(0)  # by other draws a state may change by 1.04 %
    model = Hubert(small_config(**shape)).eval()
    folders = tmp_path / "whole", tmp_path / "half"
    for folder in folders:
        save_checkpoint(folder, model, head={"final_proj.bias": torch.ones(3)}, facts={"name": "x"})
    halve(folders[1])
    whole, half = map(frozen.weight_bytes, folders)
    assert whole - half == pytest.approx(2 * frozen.parameter_count(folders[1]), abs=500)  # headers
    assert frozen.parameter_count(folders[1]) == exported_parameters(model.config)
    assert not (folders[1] / HEAD).exists()
    opened = load_hubert(folders[1]).eval()
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.float32}
    samples, lengths = padded([32_000, 9_000])
    ours = model(samples, lengths).hidden_states
    for state, again in zip(ours, opened(samples, lengths).hidden_states, strict=True):
        assert 0 < (state - again).abs().max() < LARGEST_CHANGE * state.std()
    if not shape:
        theirs = HubertModel.from_pretrained(folders[1])
        assert theirs.dtype == torch.float32


def test_a_halved_folder_has_a_digest_of_its_own(tmp_path: Path) -> None:
    """Its features are other ones, and the same every time."""
    for name in "abc":
        save_random(tmp_path / name, small_config(), seed=0)
    for name in "bc":
        halve(tmp_path / name)
    digests = [frozen.checkpoint_digest(tmp_path / name) for name in "abc"]
    assert digests[0] != digests[1] == digests[2]


def test_a_weight_of_two_names_is_halved(tmp_path: Path) -> None:
    """Transformers ties weights, and files of torch.save keep that; safetensors do not."""
    tied = torch.ones(2, dtype=torch.float16)
    torch.save({"one": tied, "two": tied}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text("{}")
    halve(tmp_path)
    assert {*load_file(tmp_path / "model.safetensors")} == {"one", "two"}


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    """Infinity would come out of every layer behind them."""
    model = Hubert(small_config())
    with torch.no_grad():
        model.encoder.layer_norm.weight[0] = 1e5
    save_checkpoint(tmp_path, model)
    with pytest.raises(ValueError, match=r"encoder\.layer_norm\.weight reaches 1e\+05"):
        halve(tmp_path)
    assert load_hubert(tmp_path).encoder.layer_norm.weight[0] == 1e5


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("nested", ["feature_extractor", "audio_processor"])
def test_the_processor_of_transformers_5_decides(
    tmp_path: Path, nested: str, *, normalize: bool
) -> None:
    """It is the one file that its trainer leaves, and comes before the older one."""
    save_random(tmp_path, small_config(normalize=not normalize), seed=0)
    before = frozen.checkpoint_digest(tmp_path)
    path = tmp_path / frozen.PROCESSOR
    path.write_text(json.dumps({"processor_class": "Wav2Vec2Processor"}))
    assert load_config(tmp_path).normalize is not normalize
    assert frozen.checkpoint_digest(tmp_path) == before  # it says nothing of the audio
    path.write_text(json.dumps({nested: {"do_normalize": normalize, "sampling_rate": 16000}}))
    assert load_config(tmp_path).normalize is normalize
    assert frozen.checkpoint_digest(tmp_path) != before
    (tmp_path / frozen.PREPROCESSOR).unlink()
    assert load_config(tmp_path).normalize is normalize


@pytest.mark.parametrize("mode", ["layer_norm", "default"])
def test_a_folder_that_does_not_say_is_guessed_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    """As fairseq published models of its kind."""
    save_random(tmp_path, small_config(extractor_mode=mode), seed=0)
    (tmp_path / frozen.PREPROCESSOR).unlink()
    assert load_config(tmp_path).normalize is (mode == "layer_norm")
    assert frozen.PREPROCESSOR in capsys.readouterr().err
