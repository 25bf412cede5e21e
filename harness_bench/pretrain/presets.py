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


def preset_table() -> list[dict[str, Any]]:
    """Return one row per preset: shape, exact counts and what the paper prints."""
    rows = [_row(name) for name in preset_names()]
    largest = next(row["parameters"] for row in rows if row["name"] == H_L)
    return [row | {"compression_percent": _compression(row, largest)} for row in rows]


def _compression(row: dict[str, Any], largest: int) -> float:
    share = 1 - float(row["parameters"]) / largest
    return round(100 * share, 2)


def _row(name: str) -> dict[str, Any]:
    step = load_preset(name)
    shape, paper = step.model, step.paper
    return {
        "name": name,
        "encoder_layers": shape.encoder_layers,
        "encoder_embed_dim": shape.encoder_embed_dim,
        "encoder_ffn_embed_dim": shape.encoder_ffn_embed_dim,
        "encoder_attention_heads": shape.encoder_attention_heads,
        "parameters": paper_parameters(shape, step.labels.clusters, step.pretrain.final_dim),
        "exported_parameters": exported_parameters(shape),
        "printed_millions": paper.printed_millions if paper else None,
        "where": paper.where if paper else "",
    }


def render_presets(rows: list[dict[str, Any]]) -> str:
    """Return the table as text, with the readings explained below it."""
    lines = columns([_HEADER, *map(_cells, rows)])
    notes = [f"{row['name']}: {row['where']}" for row in rows]
    explained = (
        "parameters: counted as fairseq does, pretraining head with 1,004 label embeddings "
        "included;\nexported: the backbone in the checkpoint folder (transformers always has a "
        "projection);\nprinted: millions in the paper; compression: 1 - parameters / HArnESS-L."
    )
    return "\n".join([*lines, "", explained, "", *notes])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    printed = row["printed_millions"]
    return (
        row["name"],
        str(row["encoder_layers"]),
        str(row["encoder_embed_dim"]),
        str(row["encoder_ffn_embed_dim"]),
        str(row["encoder_attention_heads"]),
        f"{row['parameters']:,}",
        f"{row['exported_parameters']:,}",
        "-" if printed is None else f"{printed:g} M",
        f"{row['compression_percent']:.2f} %",
    )
