"""Foreign encoders: their own library's hidden states, alone and in a batch, whatever the file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness_bench.models import frozen
from tests.models import tiny_types
from tests.models.conftest import padded
from tests.models.tiny_types import LARGE, save, waveforms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LENGTHS = [9_000, 4_001, 721]
WHISPER_SECONDS = 1
# Name of a kind -> class of transformers, settings. Those without LARGE have a group norm, which
# looks over the padding too.
ON_WAVEFORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "wavlm_base": ("WavLM", {}),
    "wavlm_large": ("WavLM", LARGE),
    "data2vec": ("Data2VecAudio", {}),
    "unispeech_sat_base": ("UniSpeechSat", {}),
    "unispeech_sat_large": ("UniSpeechSat", LARGE),
    "conformer_relative": ("Wav2Vec2Conformer", LARGE),
    "conformer_rotary": ("Wav2Vec2Conformer", {"position_embeddings_type": "rotary"}),
    "mhubert": ("Hubert", {"conv_pos_batch_norm": True}),
    "mms": ("Wav2Vec2", {**LARGE, "adapter_attn_dim": 4}),
    "adapter_behind": ("Wav2Vec2", {**LARGE, "add_adapter": True}),
    "no_feature_norm": ("Hubert", {**LARGE, "feat_proj_layer_norm": False}),
    "hubert_25_hz": ("Hubert", {
        **LARGE, "conv_dim": (16,) * 8, "conv_kernel": (10, 3, 3, 3, 3, 2, 2, 2),
        "conv_stride": (5, 2, 2, 2, 2, 2, 2, 2),
    }),
    "wav2vec2_12_ms": ("Wav2Vec2", {
        "conv_dim": (16,) * 3, "conv_kernel": (11, 7, 9), "conv_stride": (8, 6, 4),
    }),
}  # fmt: skip
KINDS = [*ON_WAVEFORMS, "w2v_bert", "whisper"]
TOGETHER = (
    "wavlm_large", "unispeech_sat_large", "adapter_behind", "hubert_25_hz", "w2v_bert", "whisper",
)  # fmt: skip
type Reference = Callable[[Tensor], tuple[Tensor, ...]]


def make(kind: str, folder: Path) -> tuple[Any, Reference]:
    """Write a checkpoint; return its encoder in transformers, and that one's own hidden states."""
    if kind == "w2v_bert":
        from transformers import SeamlessM4TFeatureExtractor  # noqa: PLC0415 - slow

        model, extractor = tiny_types.w2v_bert(), SeamlessM4TFeatureExtractor()
        body, save_as = model, model
    elif kind == "whisper":
        save_as, extractor = tiny_types.whisper(), tiny_types.whisper_extractor()
        body = save_as.model.encoder
    else:
        from transformers import Wav2Vec2FeatureExtractor  # noqa: PLC0415 - slow

        name, settings = ON_WAVEFORMS[kind]
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
        body = save_as = waveforms(name, **settings)
        for module in body.modules():  # a trained batch norm gives silence a sound
            if isinstance(module, torch.nn.BatchNorm1d):
                torch.nn.init.normal_(module.bias)
    save(save_as, folder, extractor)

    def states(wave: Tensor) -> tuple[Tensor, ...]:
        given = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt")
        found: tuple[Tensor, ...] = body(**given, output_hidden_states=True).hidden_states
        return found

    return body, states


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_hidden_states_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    """Every state, every length, alone and in a batch.

    Since its version 5 transformers, too, lists the last one before the final layer norm.
    """
    body, reference = make(kind, tmp_path)
    model, shape = frozen.load_backbone(tmp_path), frozen.shape_of(tmp_path)
    assert model.shape == shape
    assert model.one_by_one is (kind not in TOGETHER)
    samples, lengths = padded(LENGTHS)
    batch, frames = model(samples, lengths)
    for row, length in enumerate(LENGTHS):
        (alone,) = model.encode([samples[row, :length]])
        theirs = [each[0, : shape.frames(length)] for each in reference(samples[row, :length])]
        assert len(alone) == len(theirs) == shape.num_layers + 1
        if kind == "whisper":  # the one that is still listed behind the norm
            alone[-1] = body.layer_norm(alone[-1])
            batch[-1][row] = body.layer_norm(batch[-1][row])
        for state, other in zip(alone, theirs, strict=True):
            torch.testing.assert_close(state, other, atol=2e-5, rtol=1e-5)
        together = torch.stack([state[row, : frames[row]] for state in batch])
        torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)
    counted = {name: each.numel() for name, each in body.named_parameters()}
    used = sum(size for name, size in counted.items() if not name.startswith("adapter."))
    assert frozen.parameter_count(tmp_path) == used


@torch.inference_mode()
def test_whisper_hears_what_is_longer_than_its_window(tmp_path: Path) -> None:
    """Windows side by side, each as transformers gives it; the ends are where windows meet, too."""
    model = tiny_types.whisper(WHISPER_SECONDS)
    extractor = tiny_types.whisper_extractor(WHISPER_SECONDS)
    save(model, tmp_path, extractor)
    ours, window = frozen.load_backbone(tmp_path), WHISPER_SECONDS * 16_000
    lengths = [window - 1, window, window + 79, window + 80, window + 400, 2 * window + 5_000]
    samples, counts = padded(lengths)
    batch, frames = ours(samples, counts)
    for row, length in enumerate(lengths):
        parts = torch.split(samples[row, :length], window)
        bins = [extractor(part.numpy(), sampling_rate=16_000, return_tensors="pt")
                for part in parts]  # fmt: skip
        theirs = torch.cat([model.model.encoder(**each, output_hidden_states=True).hidden_states[1]
                            for each in bins], dim=1)[0]  # fmt: skip
        assert int(frames[row]) == (length - 400) // 320 + 1
        torch.testing.assert_close(batch[1][row, : frames[row]], theirs[: frames[row]])
        (alone,) = ours.encode([samples[row, :length]])
        torch.testing.assert_close(alone[1], batch[1][row, : frames[row]])


@torch.inference_mode()
def test_adapters_of_a_language_are_named_by_their_file(tmp_path: Path) -> None:
    """The folder's path means its own adapters, the file's path that language's."""
    reference, file = tiny_types.adapters(tmp_path)
    wave = padded([4_001])[0][0]
    heard = (wave - wave.mean()) / (wave.var(correction=0) + 1e-7).sqrt()
    theirs = reference(heard[None], output_hidden_states=True).hidden_states
    own, named = (frozen.load_backbone(path).encode([wave])[0] for path in (tmp_path, file))
    torch.testing.assert_close(named[1], theirs[1][0], atol=1e-5, rtol=1e-5)
    assert (own[1] - named[1]).abs().max() > 1e-3
    assert frozen.checkpoint_digest(tmp_path) != frozen.checkpoint_digest(file)


@torch.inference_mode()
def test_speechbrains_models_hear_what_they_were_trained_on(tmp_path: Path) -> None:
    """It normalises by a layer norm, whose epsilon is another: quiet audio shows the difference."""
    reference = tiny_types.speechbrain(tmp_path)
    wave = 0.01 * padded([4_001])[0][0]
    theirs = reference(
        torch.nn.functional.layer_norm(wave, wave.shape)[None], output_hidden_states=True
    ).hidden_states
    (ours,) = frozen.load_backbone(tmp_path).encode([wave])
    torch.testing.assert_close(ours[1], theirs[1][0], atol=1e-5, rtol=1e-5)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="facebook/wav2vec2-large-xlsr-53"):
        frozen.load_backbone(tmp_path)


@pytest.mark.parametrize(("name", "file"), [("Hubert", "hubert.ckpt"), ("WavLM", "wavlm.ckpt")])
def test_speechbrains_weights_come_before_those_it_started_from(
    name: str, file: str, tmp_path: Path
) -> None:
    """Its recipe's repository has both where someone copied all of the first model into it."""
    save(waveforms(name, **LARGE), tmp_path)
    tuned = waveforms(name, **LARGE)
    with torch.no_grad():
        tuned.feature_projection.projection.bias += 1
    torch.save({f"model.{key}": each for key, each in tuned.state_dict().items()}, tmp_path / file)
    (tmp_path / "hyperparams.yaml").write_text("seed: 1\n")
    body = frozen.load_backbone(tmp_path).body
    assert isinstance(body, torch.nn.Module)
    bias = dict(body.named_parameters())["feature_projection.projection.bias"]
    torch.testing.assert_close(bias, tuned.feature_projection.projection.bias)


def test_a_languages_file_that_lacks_an_adapter_is_refused(tmp_path: Path) -> None:
    """The rest would be the adapters of another language."""
    _, file = tiny_types.adapters(tmp_path)
    whole = load_file(file)
    save_file({name: each for name, each in whole.items() if ".layers.1." not in name}, file)
    with pytest.raises(ValueError, match=r"lacks .*layers\.1\."):
        frozen.load_backbone(file)


@pytest.mark.parametrize("kind", ["wavlm_base", "w2v_bert", "whisper"])
@torch.inference_mode()
def test_features_are_float32_whatever_the_numbers_of_the_file(kind: str, tmp_path: Path) -> None:
    """Transformers would compute in those that config.json names."""
    make(kind, tmp_path)
    wave = padded([4_001])[0][0]
    (whole,) = frozen.load_backbone(tmp_path).encode([wave])
    config = json.loads((tmp_path / "config.json").read_text())
    for name, dtype in (("dtype", "bfloat16"), ("torch_dtype", "float16")):
        (tmp_path / "config.json").write_text(json.dumps({**config, "dtype": None, name: dtype}))
        (found,) = frozen.load_backbone(tmp_path).encode([wave])
        torch.testing.assert_close(found, whole, atol=0, rtol=0)


IMPOSSIBLE: list[tuple[str, str, Any]] = [
    ("hubert", "conv_kernel", 5), ("hubert", "conv_stride", None),
    ("wavlm_base", "conv_kernel", 5), ("wavlm_base", "conv_kernel", [1, 2]),
    ("wavlm_base", "conv_stride", [0] * 7), ("wavlm_base", "hidden_size", "32"),
    ("wavlm_base", "num_hidden_layers", 0), ("w2v_bert", "num_hidden_layers", 2.5),
    ("w2v_bert", "feature_projection_input_dim", 80), ("whisper", "encoder_layers", 0),
    ("whisper", "d_model", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "value"), IMPOSSIBLE)
def test_settings_of_no_model_are_refused_before_weights(
    kind: str, name: str, value: Any, tmp_path: Path
) -> None:
    """By name, and not by the error of whatever meets them first."""
    if kind == "hubert":
        tiny_types.MAKERS[kind](tmp_path)
    else:
        make(kind, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {name: value}))
    with pytest.raises(ValueError, match=name):
        frozen.shape_of(tmp_path)


def test_what_transformers_does_not_build_is_its_sentence(tmp_path: Path) -> None:
    """Its own checks of settings raise no ValueError."""
    make("wavlm_base", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_buckets": "many"}))
    with pytest.raises(ValueError, match="num_buckets"):
        frozen.load_backbone(tmp_path)


@pytest.mark.parametrize("kind", ["w2v_bert", "whisper"])
@pytest.mark.parametrize(("name", "value"), [("sampling_rate", 8_000), ("stride", 1),
                                             ("chunk_length", 20)])  # fmt: skip
def test_how_bins_are_made_fits_the_model(kind: str, name: str, value: int, tmp_path: Path) -> None:
    """What would fail, or sound twice as fast, is told when the model is opened."""
    make(kind, tmp_path)
    path = tmp_path / frozen.PREPROCESSOR
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    if name in {"w2v_bert": ["chunk_length"], "whisper": ["stride"]}[kind]:
        frozen.load_backbone(tmp_path)  # no setting of its extractor
        return
    with pytest.raises(ValueError, match=r"sampling_rate is 8000|1 windows|2000, 160"):
        frozen.load_backbone(tmp_path)


@pytest.mark.parametrize("kind", ["wavlm_base", "whisper"])
def test_weights_that_are_missing_are_named(kind: str, tmp_path: Path) -> None:
    """Where a weight is missing, transformers warns and draws it at random."""
    make(kind, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    name = "encoder_layers" if kind == "whisper" else "num_hidden_layers"
    (tmp_path / "config.json").write_text(json.dumps(config | {name: 3}))
    with pytest.raises(ValueError, match=r"missing .*layers\.2\."):
        frozen.load_backbone(tmp_path)
    del config[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"lacks {name}"):
        frozen.shape_of(tmp_path)
