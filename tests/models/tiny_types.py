"""A tiny checkpoint of every model type, written by whoever writes such checkpoints."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from harness_bench.models.checkpoint import save_checkpoint
from harness_bench.models.hubert import Hubert
from tests.models import fairseq_layout
from tests.models.conftest import MEL, small_config

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTHS: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
}  # fmt: skip
CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
LARGE: dict[str, Any] = {
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True
}  # fmt: skip


def save(model: Any, folder: Path, extractor: Any = None) -> Path:
    """Write a model of transformers, by default with the extractor of waveforms."""
    from transformers import Wav2Vec2FeatureExtractor  # noqa: PLC0415 - slow

    with contextlib.redirect_stderr(io.StringIO()):  # its bars
        model.save_pretrained(folder)
    (extractor or Wav2Vec2FeatureExtractor(do_normalize=True)).save_pretrained(folder)
    return folder


def waveforms(name: str, **settings: Any) -> Any:
    """Build a random model of transformers on waveforms, as NAMEConfig and NAMEModel."""
    import transformers  # noqa: PLC0415 - slow

    values = WIDTHS | CONVOLUTIONS | settings
    if name == "Data2VecAudio":
        values |= {"num_conv_pos_embeddings": 2}  # as many convolutions
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**values)
    return getattr(transformers, f"{name}Model")(config).eval()


def w2v_bert() -> Any:
    """Build a random w2v-BERT 2.0."""
    from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel  # noqa: PLC0415 - slow

    torch.manual_seed(0)
    return Wav2Vec2BertModel(Wav2Vec2BertConfig(**WIDTHS)).eval()


def whisper(seconds: int = 30) -> Any:
    """Build a random Whisper, decoder included, of windows of so many seconds."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration  # noqa: PLC0415 - slow

    torch.manual_seed(0)
    sizes = {"d_model": 32, "vocab_size": 60, "num_mel_bins": 80}
    sizes |= {f"{part}_layers": 2 for part in ("encoder", "decoder")}
    sizes |= {f"{part}_ffn_dim": 48 for part in ("encoder", "decoder")}
    sizes |= {f"{part}_attention_heads": 4 for part in ("encoder", "decoder")}
    tokens = dict.fromkeys(("pad_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    config = WhisperConfig(**sizes, **tokens, max_source_positions=50 * seconds)
    return WhisperForConditionalGeneration(config).eval()


def whisper_extractor(seconds: int = 30) -> Any:
    """Return the extractor of such a Whisper."""
    from transformers import WhisperFeatureExtractor  # noqa: PLC0415 - slow

    return WhisperFeatureExtractor(feature_size=80, chunk_length=seconds)


def adapters(folder: Path) -> tuple[Any, Path]:
    """Write an MMS with a file of other adapters; return the model that has those, and the file."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC  # noqa: PLC0415 - slow

    torch.manual_seed(0)
    settings = WIDTHS | CONVOLUTIONS | LARGE | {"adapter_attn_dim": 4, "vocab_size": 6}
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**settings)).eval()
    save(model, folder)
    other = {name: 0.1 * torch.randn_like(each) for name, each in model._get_adapters().items()}
    save_file(other, folder / "adapter.ara.safetensors")
    model.load_state_dict(other, strict=False)
    return model.wav2vec2, folder / "adapter.ara.safetensors"


def speechbrain(folder: Path) -> Any:
    """Write what SpeechBrain's checkpointer leaves beside the settings it started from."""
    model = save(waveforms("Wav2Vec2", **LARGE), folder)
    from transformers import Wav2Vec2Model  # noqa: PLC0415 - slow

    reference = Wav2Vec2Model.from_pretrained(model).eval()
    weights = {f"model.{name}": value for name, value in reference.state_dict().items()}
    torch.save(weights, folder / "wav2vec2.ckpt")
    (folder / "model.safetensors").unlink()
    text = "wav2vec2_hub: facebook/wav2vec2-large-xlsr-53\nasr: !new:speechbrain.nnet.Linear\n"
    (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")
    return reference


def _ours(folder: Path, **settings: Any) -> Path:
    torch.manual_seed(0)
    save_checkpoint(folder, Hubert(small_config(**settings)))
    return folder


def _fairseq(folder: Path) -> Path:
    torch.manual_seed(0)
    model = Hubert(small_config())
    settings, task = fairseq_layout.settings(model)
    state = {"cfg": {"model": settings, "task": task}, "model": fairseq_layout.weights(model)}
    folder.mkdir(exist_ok=True)
    torch.save({"args": None, **state}, folder / "hubert.pt")
    return folder / "hubert.pt"


def _wav2vec2(folder: Path) -> Path:
    path = _ours(folder) / "config.json"
    path.write_text(path.read_text().replace('"hubert"', '"wav2vec2"'))
    return folder


def _w2v_bert(folder: Path) -> Path:
    from transformers import SeamlessM4TFeatureExtractor  # noqa: PLC0415 - slow

    return save(w2v_bert(), folder, SeamlessM4TFeatureExtractor())


def _speechbrain(folder: Path) -> Path:
    speechbrain(folder)
    return folder


def _onnx(folder: Path) -> Path:
    from harness_bench.deploy.run import export  # noqa: PLC0415 - onnx

    export(_ours(folder.with_name(f"{folder.name}_parent")), folder, "onnx")
    return folder


# Module below `harness_bench.models.types` -> what writes a checkpoint of it and returns its path.
MAKERS: dict[str, Callable[[Path], Path]] = {
    "data2vec_audio": lambda folder: save(waveforms("Data2VecAudio"), folder),
    "fairseq": _fairseq,
    "fbank": lambda _: Path("fbank"),
    "hubert": _ours,
    "mel": lambda folder: _ours(folder, **MEL),
    "mms": lambda folder: adapters(folder)[1],
    "onnx": _onnx,
    "speechbrain": _speechbrain,
    "unispeech_sat": lambda folder: save(waveforms("UniSpeechSat", **LARGE), folder),
    "wav2vec2": _wav2vec2,
    "wav2vec2_bert": _w2v_bert,
    "wav2vec2_conformer": lambda folder: save(waveforms("Wav2Vec2Conformer", **LARGE), folder),
    "wavlm": lambda folder: save(waveforms("WavLM", **LARGE), folder),
    "whisper": lambda folder: save(whisper(1), folder, whisper_extractor(1)),
}
