"""Train one head by s3prl's runner on the upstreams named; run in a process of its own.

Arguments: checkpoint, cuts, folder for the runs, then `NAME` or `NAME:-f` each.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from harness_bench.probing.s3prl.arguments import complete
from harness_bench.probing.s3prl.hook import activate

SETTINGS = ("total_steps=12", "eval_step=6", "log_step=1", "save_step=12")


def main() -> None:
    """Run s3prl's own main once for each upstream."""
    activate()
    checkpoint, cuts, out, *wanted = sys.argv[1:]
    from s3prl.downstream.runner import Runner  # noqa: PLC0415 - behind the hook
    from s3prl.run_downstream import main as run  # noqa: PLC0415

    build = Runner._get_upstream

    def build_and_seed(self: Any) -> Any:
        # Building transformers' model draws random numbers; the head must start the same.
        entry = build(self)
        torch.manual_seed(1337)
        return entry

    Runner._get_upstream = build_and_seed
    for name in wanted:
        upstream, _, flag = name.partition(":")
        steps = ",,".join(f"config.runner.{step}" for step in SETTINGS)
        words = ["-m", "train", "-u", upstream, "-k", checkpoint, "-d", "keyword"]
        words += ["-p", f"{out}/{name}", *([flag] if flag else [])]
        words += ["-o", f"config.downstream_expert.datarc.cuts={cuts},,{steps}"]
        sys.argv[1:] = complete(words)
        run()


if __name__ == "__main__":
    main()
