"""s3prl's own `run_downstream`, its own hub and runner: the peer of probes.

python -m benchmarks.s3prl_stock ARGUMENTS

The task alone is ours, put where it lies in an s3prl folder into which a user copied it. The
bridges to today's libraries are applied, without which s3prl does not start at all, and opening
the model leaves the random state alone, so that heads start equal and results can be compared.
"""

import importlib
import sys
from typing import Any

import torch

from harness_bench.probing.s3prl import bridges

TASK, UPSTREAM = "ser", "hf_hubert_custom"


def main() -> None:
    """Run s3prl's command with the arguments of this process."""
    bridges.apply()
    for part in ("", ".expert"):
        ours = importlib.import_module(f"harness_bench.downstream.{TASK}{part}")
        sys.modules[f"s3prl.downstream.{TASK}{part}"] = ours
    import s3prl.hub  # noqa: PLC0415 - after the bridges
    from s3prl.run_downstream import main as run  # noqa: PLC0415 - after the bridges

    stock = getattr(s3prl.hub, UPSTREAM)

    def opened(*arguments: Any, **options: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            return stock(*arguments, **options)

    setattr(s3prl.hub, UPSTREAM, opened)
    run()


if __name__ == "__main__":
    main()
