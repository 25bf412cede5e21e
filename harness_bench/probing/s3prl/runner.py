"""s3prl's runner opened for inference: a trained head with its upstream."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness_bench.core.files import write_json
from harness_bench.probing.head.config import CLASSES
from harness_bench.probing.s3prl.checkpoints import load_states
from harness_bench.probing.s3prl.hook import activate


def open_runner(checkpoint: Path, folder: Path, upstream_checkpoint: Path | None) -> Any:
    """Make s3prl's runner with the weights of a checkpoint, its models in eval mode."""
    activate()
    from s3prl.downstream.runner import Runner  # noqa: PLC0415 - heavy, and only once activated

    state = load_states(checkpoint)
    classes = state["Downstream"].get("_extra_state", {}).get("classes")
    if classes is None:
        raise ValueError(f"{checkpoint} is no head of this project's tasks: it names no classes.")
    # The experiment may have moved, and its cuts may be gone: the checkpoint alone must suffice.
    write_json(folder / CLASSES, classes)
    settings = vars(state["Args"]) | {
        "mode": "inference", "expdir": str(folder), "init_ckpt": str(checkpoint),
        "device": "cpu", "local_rank": None,
    }  # fmt: skip
    if upstream_checkpoint is not None:
        settings["upstream_ckpt"] = str(upstream_checkpoint)
    kept = settings.get("upstream_ckpt")
    if kept is not None and not Path(kept).exists():
        raise ValueError(
            f"The upstream's checkpoint {kept} of {checkpoint} is not there any more; say where it "
            "lies now with --upstream-checkpoint."
        )
    runner = Runner(argparse.Namespace(**settings), state["Config"])
    for entry in runner.all_entries:
        entry.model.eval()
    return runner
