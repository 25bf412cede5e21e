"""wav2vec 2.0 and XLS-R of transformers: HuBERT's architecture; only the pretraining differs."""

from __future__ import annotations

from harness_bench.models.types.hubert import HubertFolder

TYPE = HubertFolder(
    "wav2vec2",
    title="wav2vec 2.0",
    elsewhere="transformers: `Wav2Vec2Model.from_pretrained(FOLDER)`",
)
