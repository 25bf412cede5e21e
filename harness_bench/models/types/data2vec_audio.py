"""data2vec for audio, folders of transformers."""

from __future__ import annotations

from harness_bench.models.transformers import TransformersFolder

TYPE = TransformersFolder("data2vec-audio", title="data2vec audio")
