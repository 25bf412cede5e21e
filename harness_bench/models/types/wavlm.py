"""WavLM folders of transformers."""

from __future__ import annotations

from harness_bench.models.transformers import TransformersFolder

TYPE = TransformersFolder("wavlm", title="WavLM", exact_norms=("layer",))
