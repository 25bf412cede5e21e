"""`harness-bench export --to`: what a path is, its graph, and what the graph keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.deploy.checkpoint import checkpoint_subject
from harness_bench.deploy.convert import write_export

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.deploy.parity import Parity
    from harness_bench.models.runtime import Runtime


def export(source: Path, out: Path, to: Runtime) -> Parity:
    """Write a model as a graph; see `write_export`."""
    return write_export(checkpoint_subject(source), out, to)
