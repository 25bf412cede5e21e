"""HuBERT on log-mel bins (`extractor_mode = "mel"`): folders which transformers refuses."""

from __future__ import annotations

from harness_bench.models.checkpoint import MEL
from harness_bench.models.types.hubert import HubertFolder

TYPE = HubertFolder(
    MEL,
    title="HuBERT on log-mel bins",
    elsewhere=(
        "transformers: **cannot open it.** Its HubertModel has convolutions where this model has "
        f"80 log-mel bins and one linear layer; config.json says `{MEL}`, and transformers refuses "
        "that, as does what is built on it (s3prl's own `hf_hubert_custom`)"
    ),
)
