"""wav2vec 2.0 with conformer blocks, folders of transformers."""

from __future__ import annotations

from harness_bench.models.transformers import TransformersFolder

TYPE = TransformersFolder("wav2vec2-conformer", title="wav2vec 2.0 conformer")
