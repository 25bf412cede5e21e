"""The key layout of fairseq's HuBERT files, written down by hand from our models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from harness_bench.models.hubert import Hubert

CLUSTERS, FINAL_DIM = 10, 16
BLOCK = {
    "attention.q_proj": "self_attn.q_proj",
    "attention.k_proj": "self_attn.k_proj",
    "attention.v_proj": "self_attn.v_proj",
    "attention.out_proj": "self_attn.out_proj",
    "layer_norm": "self_attn_layer_norm",
    "feed_forward.intermediate_dense": "fc1",
    "feed_forward.output_dense": "fc2",
    "final_layer_norm": "final_layer_norm",
}


def weights(model: Hubert, *, old_weight_norm: bool = True) -> dict[str, torch.Tensor]:
    """Return the model's and a random head's tensors under fairseq's names."""
    ours = {name: value.clone() for name, value in model.state_dict().items()}
    made = {"mask_emb": ours.pop("masked_spec_embed")}
    positions = "encoder.pos_conv_embed.conv."
    names = ("weight_g", "weight_v") if old_weight_norm else None
    for index in (0, 1):
        parametrized = f"parametrizations.weight.original{index}"
        name = names[index] if names else parametrized
        made[f"encoder.pos_conv.0.{name}"] = ours.pop(positions + parametrized)
    made["encoder.pos_conv.0.bias"] = ours.pop(f"{positions}bias")
    norm = "2.1" if model.config.extractor_mode == "layer_norm" else "2"
    for kind in ("weight", "bias"):
        made[f"encoder.layer_norm.{kind}"] = ours.pop(f"encoder.layer_norm.{kind}")
        made[f"layer_norm.{kind}"] = ours.pop(f"feature_projection.layer_norm.{kind}")
        if model.config.has_projection:
            made[f"post_extract_proj.{kind}"] = ours.pop(f"feature_projection.projection.{kind}")
        for layer in range(model.config.encoder_layers):
            for mine, theirs in BLOCK.items():
                part = ours.pop(f"encoder.layers.{layer}.{mine}.{kind}")
                made[f"encoder.layers.{layer}.{theirs}.{kind}"] = part
        for layer in range(len(model.config.conv_dim)):
            prefix = f"feature_extractor.conv_layers.{layer}"
            for mine, theirs in (("conv", "0"), ("layer_norm", norm)):
                if f"{prefix}.{mine}.{kind}" in ours:
                    made[f"{prefix}.{theirs}.{kind}"] = ours.pop(f"{prefix}.{mine}.{kind}")
    assert not ours, f"no name for {sorted(ours)}"
    made["final_proj.weight"] = torch.randn(FINAL_DIM, model.config.encoder_embed_dim)
    made["final_proj.bias"] = torch.randn(FINAL_DIM)
    made["label_embs_concat"] = torch.randn(CLUSTERS + 4, FINAL_DIM)
    return made


def settings(model: Hubert) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return fairseq's `model` and `task` settings of a model of ours."""
    config = model.config
    dim, kernel, stride = config.conv_dim[0], config.conv_kernel, config.conv_stride
    pairs = [f"({dim},{k},{s})" for k, s in zip(kernel, stride, strict=True)]
    layers = f"[{pairs[0]}] + [{pairs[1]}] * 4 + [{pairs[5]}] * 2"
    same = (
        "encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "conv_bias",
        "encoder_attention_heads", "extractor_mode", "layer_norm_first", "conv_pos",
        "conv_pos_groups", "dropout", "encoder_layerdrop",
    )  # fmt: skip
    shape = {name: getattr(config, name) for name in same}
    more = {"_name": "hubert", "label_rate": "${task.label_rate}", "untie_final_proj": True}
    task = {"_name": "hubert_pretraining", "normalize": config.normalize, "labels": ["km"]}
    return {**shape, **more, "conv_feature_layers": layers, "activation_fn": "gelu"}, task
