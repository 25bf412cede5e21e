"""Tiny checkpoints of every kind that an upstream opens, written by transformers itself."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SHAPE: dict[str, Any] = {
    "num_hidden_layers": 3, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
    "conv_dim": [24] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
    "vocab_size": 12,
}  # fmt: skip
LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
GROUP = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
# kind -> class of transformers, settings, whether waveforms are normalised
KINDS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "hubert_layer": ("HubertModel", LAYER, True),
    "hubert_group": ("HubertModel", GROUP, False),
    "hubert_ctc": ("HubertForCTC", LAYER, True),
    "wav2vec2_layer": ("Wav2Vec2Model", LAYER, True),
    "wav2vec2_group": ("Wav2Vec2Model", GROUP, True),
    "wav2vec2_pretraining": ("Wav2Vec2ForPreTraining", LAYER, True),
}
OURS = "mel"  # of no other library
GROUP_KINDS = ("hubert_group", "wav2vec2_group")


def build(kind: str) -> Any:
    """Return a model of transformers in eval mode whose biases and norms are no round numbers."""
    import transformers  # noqa: PLC0415 - keeps collection light

    name, settings, _ = KINDS[kind]
    model_class = getattr(transformers, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(kind))
        model = model_class(model_class.config_class(**SHAPE, **settings))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="session")
def folder_of(
    tmp_path_factory: pytest.TempPathFactory, mel_checkpoint: Path
) -> Callable[[str], Path]:
    """Return a function that gives the folder of a kind, written once."""
    root = tmp_path_factory.mktemp("upstreams")

    @functools.cache
    def give(kind: str) -> Path:
        from transformers import Wav2Vec2FeatureExtractor  # noqa: PLC0415 - as above

        if kind == OURS:
            return mel_checkpoint
        folder = root / kind
        build(kind).save_pretrained(folder)
        normalize = KINDS[kind][2]
        extractor = Wav2Vec2FeatureExtractor(do_normalize=normalize, return_attention_mask=True)
        extractor.save_pretrained(folder)
        return folder

    return give


def waves(lengths: list[int], seed: int = 0) -> list[torch.Tensor]:
    """Return noise with an offset, (samples,) each."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, generator=generator) * 0.3 + 0.05 for length in lengths]
