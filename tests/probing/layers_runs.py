"""Train one head on the learned sum and on the plain mean of the layers: CHECKPOINT CUTS OUT.

Run in a process of its own, because s3prl is patched there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness_bench import run_downstream

SETTINGS = ("total_steps=12", "eval_step=6", "log_step=1", "save_step=12")
MEAN = "config.runner.layers=mean"


def main() -> None:
    """Run the command once for each way, and once more on the sum that was learned."""
    checkpoint, cuts, out = sys.argv[1:]
    one_feature = Path(out) / "mean.toml"
    one_feature.write_text('[feature_cache]\nstates = "mean"\n')
    learned = ["-i", f"{out}/learned/states-12.ckpt"]
    ways: dict[str, tuple[list[str], list[str]]] = {
        "learned": ([], []),
        "mean": ([], [MEAN]),
        "one feature": (["-g", str(one_feature)], []),
        "mean, begun with a learned sum": (learned, [MEAN, "config.runner.total_steps=24"]),
    }
    for name, (words, settings) in ways.items():
        overrides = [f"config.downstream_expert.datarc.cuts={cuts}"]
        overrides += [f"config.runner.{step}" for step in SETTINGS] + settings
        sys.argv[1:] = ["-m", "train", "-u", "harness_local", "-k", checkpoint, "-d", "keyword"]
        sys.argv += ["-p", f"{out}/{name}", *words, "-o", ",,".join(overrides)]
        run_downstream.main()


if __name__ == "__main__":
    main()
