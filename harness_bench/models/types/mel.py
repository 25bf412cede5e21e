"""HuBERT on log-mel bins (`extractor_mode = "mel"`): folders which transformers refuses."""

from __future__ import annotations

from harness_bench.models.checkpoint import MEL
from harness_bench.models.types.hubert import HubertFolder

TYPE = HubertFolder(MEL)
