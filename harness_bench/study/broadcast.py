"""The ASR recipe of QASR as processes that jobs start."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from harness_bench.asr.config import recipe_folder, words_of
from harness_bench.core.process import run_logged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.study.job import Place

DECODED = "decoded"  # below a training's folder


def run_stages(
    place: Place, expdir: Path, given: Mapping[str, Any], first: int, last: int, **more: Any
) -> None:
    """Run stages of the recipe's run.sh, whose own defaults stand where nothing is given.

    Raises:
        ValueError: there is no such recipe.
        RuntimeError: a stage failed; shows the end of its log.
    """
    script = recipe_folder(given["recipe"]) / "run.sh"
    options = {name: _word(value) for name, value in given.items() if name != "recipe"}
    command = ["bash", str(script), *words_of(
        **options, **more, expdir=expdir, stage=first, stop_stage=last, python=sys.executable
    )]  # fmt: skip
    # Another checkout's asr.sh would not know our stages' folders.
    run_logged(command, place.log, threads=place.job.needs.cpus, environment={"ESPNET_ROOT": ""})


def _word(value: Any) -> Any:
    """Write a list as one word, as the recipe's options want it."""
    return " ".join(map(str, value)) if isinstance(value, list) else value
