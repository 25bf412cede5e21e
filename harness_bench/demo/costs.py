"""A demo's stage that measures what a checkpoint costs to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.files import read_json, write_json
from harness_bench.provenance import hardware, versions
from harness_bench.result_parts import Costs

if TYPE_CHECKING:
    from pathlib import Path


def stage_name(model: str) -> str:
    """Return the name of the stage that measures a model."""
    return f"costs {model}"


def measure(checkpoint: Path, kept: Path) -> Costs:
    """Measure a checkpoint, or return what was measured of the same one on the same machine.

    Args:
        checkpoint: the checkpoint folder.
        kept: JSON file for the costs and for what decides them.

    Raises:
        ValueError: no checkpoint there.
        RuntimeError: the model could not be run.
    """
    from harness_bench.efficiency import efficiency  # noqa: PLC0415 - imports torch
    from harness_bench.models.checkpoint import checkpoint_digest  # noqa: PLC0415 - likewise

    decided_by = {
        "checkpoint": checkpoint_digest(checkpoint), "hardware": hardware(), "versions": versions()
    }  # fmt: skip
    if kept.is_file():
        values = read_json(kept)
        if values.get("decided_by") == decided_by:
            return Costs.model_validate(values["costs"])
    costs = efficiency(checkpoint).costs
    write_json(kept, {"decided_by": decided_by, "costs": costs.model_dump()})
    return costs
