"""UniSpeech-SAT folders of transformers."""

from __future__ import annotations

from harness_bench.models.transformers import TransformersFolder

TYPE = TransformersFolder("unispeech-sat", title="UniSpeech-SAT", exact_norms=("layer",))
