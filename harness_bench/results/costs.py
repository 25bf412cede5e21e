"""Write what checkpoints cost to run into the measured results made with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.core.files import write_text
from harness_bench.core.log import say
from harness_bench.results.record import load_results

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.results.record import Costs


def write_costs(folder: Path, costs: Mapping[str, Costs]) -> dict[str, int]:
    """Put costs into the measured results of a folder, by the digest of their checkpoint.

    Nothing else of a result changes, and each stays in its file, whatever that is named. Costs
    that a result has already are replaced; files that would stay as they are, are not written.

    Args:
        folder: of results; broken files are told and stay as they are.
        costs: checkpoint digest -> costs.

    Returns:
        Checkpoint digest -> number of results that carry its costs now, 0 where none does.

    Raises:
        ValueError: there is no such folder.
    """
    found, problems = load_results(folder)
    for path, reason in problems.items():
        say(f"{path.name} is left out: {reason}")
    counts = dict.fromkeys(costs, 0)
    for path, result in found.items():
        digest = result.checkpoint_digest
        if result.source != "measured" or digest is None or digest not in costs:
            continue
        counts[digest] += 1
        if result.costs != costs[digest]:
            new = result.model_copy(update={"costs": costs[digest]})
            write_text(path, new.model_dump_json(indent=2) + "\n")
    return counts
