"""The paper's models as configs, and their table."""

from __future__ import annotations

from typing import Any

from harness_bench.core.tables import columns
from harness_bench.models.size import exported_parameters, paper_parameters
from harness_bench.pretrain.config import load_preset, preset_names

H_L = "harness_l_it2"  # compression is counted against HArnESS-L
_HEADER = (
    "preset", "layers", "dim", "FFN", "heads", "parameters", "exported", "printed", "compression"
)  # fmt: skip
_SHAPE = (
    "encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads"
)  # fmt: skip


def preset_table() -> list[dict[str, Any]]:
    """Return one row per preset: shape, exact counts and what the paper prints."""
    rows = []
    for name in preset_names():
        step = load_preset(name)
        rows.append({
            "name": name,
            **{key: getattr(step.model, key) for key in _SHAPE},
            "parameters": paper_parameters(
                step.model, step.labels.clusters, step.pretrain.final_dim
            ),
            "exported_parameters": exported_parameters(step.model),
            "printed_millions": step.paper.printed_millions if step.paper else None,
            "where": step.paper.where if step.paper else "",
        })  # fmt: skip
    largest = next(row["parameters"] for row in rows if row["name"] == H_L)
    for row in rows:
        row["compression_percent"] = round(100 * (1 - row["parameters"] / largest), 2)
    return rows


def render_presets(rows: list[dict[str, Any]]) -> str:
    """Return the table as text, with the readings explained below it."""
    cells = [
        (row["name"], *(str(row[key]) for key in _SHAPE), f"{row['parameters']:,}",
         f"{row['exported_parameters']:,}",
         "-" if row["printed_millions"] is None else f"{row['printed_millions']:g} M",
         f"{row['compression_percent']:.2f} %")
        for row in rows
    ]  # fmt: skip
    explained = (
        "parameters: counted as fairseq does, pretraining head with 1,004 label embeddings "
        "included;\nexported: the backbone in the checkpoint folder (transformers always has a "
        "projection);\nprinted: millions in the paper; compression: 1 - parameters / HArnESS-L."
    )
    notes = [f"{row['name']}: {row['where']}" for row in rows]
    return "\n".join([*columns([_HEADER, *cells]), "", explained, "", *notes])
