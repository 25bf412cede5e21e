"""Checkpoint folders: transformers' layout, read and written without importing transformers.

A folder holds config.json, model.safetensors and preprocessor_config.json (so transformers,
s3prl's `hf_hubert_custom` and ESPnet open it without us), pretraining_head.safetensors where there
is a head, and harness.json with its provenance.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core.config import build
from harness_bench.core.files import atomic_path, read_settings, write_json
from harness_bench.core.log import say
from harness_bench.core.workdir import versions
from harness_bench.models import frozen
from harness_bench.models.frozen import CONFIG, PREPROCESSOR, WEIGHTS
from harness_bench.models.hubert import Hubert, HubertConfig
from harness_bench.models.weights import fill, read_weights, stored_tensors, weight_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

HEAD, FACTS = "pretraining_head.safetensors", "harness.json"
IDENTITY_KEY = "harness_identity_projection"
MEL = "harness_mel"  # no model of transformers, which must not take it for HuBERT
# wav2vec 2.0 and XLS-R have HuBERT's architecture; only the pretraining task differs.
MODEL_TYPES = ("hubert", "wav2vec2", MEL)
# transformers' feat_extract_norm -> extractor_mode
_MODES = {"layer": "layer_norm", "group": "default", "mel": "mel"}
# What no setting of ours changes; a folder that says otherwise is another architecture.
_NEEDED = {
    "hidden_act": "gelu", "feat_extract_activation": "gelu", "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False, "adapter_attn_dim": None,
}  # fmt: skip
_CONVOLUTIONS = ("conv_dim", "conv_kernel", "conv_stride")
# Our name (fairseq's) -> transformers'.
_FIELDS = {
    "encoder_layers": "num_hidden_layers", "encoder_embed_dim": "hidden_size",
    "encoder_ffn_embed_dim": "intermediate_size", "encoder_attention_heads": "num_attention_heads",
    "conv_bias": "conv_bias", "layer_norm_first": "do_stable_layer_norm",
    "conv_pos": "num_conv_pos_embeddings", "conv_pos_groups": "num_conv_pos_embedding_groups",
    "layer_norm_eps": "layer_norm_eps",
}  # fmt: skip
PROJECTION = "feature_projection.projection"
ZERO = (
    "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout",
    "final_dropout", "layerdrop",
)  # fmt: skip


def save_checkpoint(
    folder: Path,
    model: Hubert,
    *,
    head: Mapping[str, Tensor] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint folder; config.json comes last, so a folder that has one is whole.

    Dropouts, layerdrop and SpecAugment are written as 0: a frozen upstream that some runner puts
    into train mode would otherwise drop hidden states.

    `head` holds the pretraining head's tensors; `facts`, what made the model, go to harness.json.
    """
    tensors, config = dict(model.state_dict()), model.config
    if not config.has_projection:
        # transformers always projects: an identity gives it fairseq's model exactly.
        tensors[f"{PROJECTION}.weight"] = torch.eye(config.encoder_embed_dim)
        tensors[f"{PROJECTION}.bias"] = torch.zeros(config.encoder_embed_dim)
    (folder / CONFIG).unlink(missing_ok=True)
    _save_tensors(folder / WEIGHTS, tensors)
    if head:
        _save_tensors(folder / HEAD, head)
    write_json(folder / PREPROCESSOR, {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": config.normalize,
        "feature_size": 1, "padding_side": "right", "padding_value": 0.0,
        "return_attention_mask": True, "sampling_rate": SAMPLE_RATE,
    })  # fmt: skip
    write_json(folder / FACTS, {"versions": versions(), **(facts or {})})
    write_json(folder / CONFIG, transformers_config(config))


def save_random(folder: Path, config: HubertConfig, *, seed: int) -> None:
    """Write a checkpoint that has learned nothing: the baseline of every pretraining."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Hubert(config)
    save_checkpoint(folder, model, facts={"name": "random", "seed": seed, "hours": 0.0})


def halve(folder: Path) -> None:
    """Rewrite a folder's weights in float16, for frozen use: without a pretraining head.

    They are float32 again wherever they are loaded. A weight that float16 cannot hold is a
    ValueError.
    """
    files, found = weight_files(folder), stored_tensors(folder)
    parent = frozen.checkpoint_digest(folder)  # by which results know the model
    floats = {name for name, value in found.items() if value.is_floating_point()}
    tensors = {  # copied: a file of torch.save may hold one weight under two names
        name: value.to(torch.float16, copy=True) if name in floats else value
        for name, value in found.items()
    }
    for name in floats:
        if bool((tensors[name].isinf() & found[name].isfinite()).any()):
            raise ValueError(
                f"{folder}: {name} reaches {found[name].abs().max():.3g}; float16 ends at 65504. "
                "Keep this model in float32."
            )
    for stale in (folder / HEAD, *files):
        stale.unlink(missing_ok=True)
    _save_tensors(folder / WEIGHTS, tensors)
    write_json(folder / FACTS, {**read_facts(folder), "dtype": "float16", "parent": parent})
    # transformers would compute in the numbers of the file otherwise.
    write_json(folder / CONFIG, {**frozen.config_of(folder), "dtype": "float32"})


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as partial:
        save_file(plain, partial, metadata={"format": "pt"})


def load_hubert(folder: Path, **changes: Any) -> Hubert:
    """Load the backbone of a folder, ours or transformers'; `changes` override config fields."""
    config = load_config(folder, **changes)
    model = Hubert(config)
    tensors = read_weights(folder)
    if not config.has_projection:
        tensors = {k: v for k, v in tensors.items() if not k.startswith(PROJECTION)}
    fill(model, tensors, folder)
    return model


def load_config(folder: Path, **changes: Any) -> HubertConfig:
    """Read the settings of a folder of our architecture as our config.

    Raises:
        ValueError: another architecture, or a setting is missing: transformers would fill in that
            of another model.
    """
    found = frozen.config_of(folder)
    if found.get("model_type") not in MODEL_TYPES:
        frozen.refuse(folder, MODEL_TYPES)
    if (odd := unlike_ours(found)) is not None:
        raise ValueError(
            f"{folder / CONFIG}: {odd} is {found[odd]!r}. This project trains and starts models "
            f"with {_NEEDED[odd]!r} alone; it runs such a one as an upstream or teacher of labels."
        )
    require(folder, (*_FIELDS.values(), *_CONVOLUTIONS, "feat_extract_norm"))
    require_sizes(folder, _CONVOLUTIONS)
    if (norm := found["feat_extract_norm"]) not in _MODES:
        raise ValueError(
            f"{folder / CONFIG}: feat_extract_norm is {norm!r}; expected one of "
            f"{', '.join(_MODES)}."
        )
    fields: dict[str, Any] = {ours: found[theirs] for ours, theirs in _FIELDS.items()}
    fields |= {name: tuple(found[name]) for name in _CONVOLUTIONS}
    fields |= {
        "extractor_mode": _MODES[norm],
        "post_extract_proj": "if_needed" if found.get(IDENTITY_KEY) else "always",
        "normalize": normalizes(folder),
    }
    return build(HubertConfig, fields | changes, source=str(folder / CONFIG))


def require(folder: Path, keys: Iterable[str]) -> None:
    """Check that config.json has these settings, or raise the `ValueError` that names the rest."""
    found = frozen.config_of(folder)
    if missing := [key for key in keys if key not in found]:
        raise ValueError(
            f"{folder / CONFIG} lacks {', '.join(missing)}. Guessed, they would give features that "
            "the model never had; take them from where the model was published."
        )


def require_sizes(folder: Path, keys: Iterable[str]) -> None:
    """Check that config.json has these settings, whole numbers from 1 or lists of them."""
    require(folder, keys := [*keys])
    for key, found in ((key, frozen.config_of(folder)[key]) for key in keys):
        listed = found if key in _CONVOLUTIONS else [found]
        if not isinstance(listed, list) or not all(type(n) is int and n > 0 for n in listed):
            raise ValueError(
                f"{folder / CONFIG}: {key} is {found!r}; expected "
                f"{'a list of whole numbers' if key in _CONVOLUTIONS else 'a whole number'} from 1."
            )


def unlike_ours(config: Mapping[str, Any]) -> str | None:
    """Name a setting by which a HuBERT or wav2vec 2.0 differs from our module; None: none does."""
    return next((key for key, ours in _NEEDED.items() if config.get(key, ours) != ours), None)


def normalizes(folder: Path) -> bool:
    """Tell whether a model hears each waveform with zero mean and unit variance.

    A folder that does not say so is taken as its kind was published, and a line says that.
    """
    found = frozen.preprocessing_of(folder)
    if found:
        if not isinstance(does := found.get("do_normalize", True), bool):
            raise ValueError(f"{folder}: do_normalize = {does!r}; expected true or false.")
        return does
    guess = frozen.config_of(folder).get("feat_extract_norm") != "group"
    _tell_guess(folder, guess)
    return guess


@cache
def _tell_guess(folder: Path, guess: bool) -> None:  # noqa: FBT001 - remembered by its arguments
    say(
        f"{folder} has neither {PREPROCESSOR} nor {frozen.PROCESSOR}, which say how its audio is "
        f"prepared: taking do_normalize = {str(guess).lower()}, as models of its kind were "
        "published. Put that file beside the weights."
    )


def transformers_config(config: HubertConfig) -> dict[str, Any]:
    """Return the config.json of transformers' HubertModel; its bytes are part of digests."""
    mel = config.extractor_mode == "mel"
    return {
        "architectures": ["HarnessMel" if mel else "HubertModel"],
        "model_type": MEL if mel else "hubert",
        "hidden_size": config.encoder_embed_dim,
        "num_hidden_layers": config.encoder_layers,
        "num_attention_heads": config.encoder_attention_heads,
        "intermediate_size": config.encoder_ffn_embed_dim,
        "hidden_act": "gelu",
        "conv_dim": list(config.conv_dim),
        "conv_kernel": list(config.conv_kernel),
        "conv_stride": list(config.conv_stride),
        "num_feat_extract_layers": len(config.conv_dim),
        "conv_bias": config.conv_bias,
        "feat_extract_norm": {mode: norm for norm, mode in _MODES.items()}[config.extractor_mode],
        "feat_extract_activation": "gelu",
        "feat_proj_layer_norm": True,
        "do_stable_layer_norm": config.layer_norm_first,
        "num_conv_pos_embeddings": config.conv_pos,
        "num_conv_pos_embedding_groups": config.conv_pos_groups,
        "layer_norm_eps": config.layer_norm_eps,
        IDENTITY_KEY: not config.has_projection,
        **dict.fromkeys(ZERO, 0.0),
        "apply_spec_augment": False,
        "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
        "initializer_range": 0.02,
    }


def belongs_to_head(name: str) -> bool:
    """Whether a tensor is a task head's (quantizer, CTC, ...), not the backbone's."""
    parts = ("feature_extractor", "feature_projection", "encoder", "masked_spec_embed")
    return name.split(".", maxsplit=1)[0] not in parts


def read_facts(folder: Path) -> dict[str, Any]:
    """Read harness.json of a checkpoint folder (empty for foreign folders)."""
    return read_settings(folder / FACTS)
