"""s3prl's own `run_downstream` with this project's upstreams and tasks.

`python -m harness_bench.run_downstream` takes all of s3prl's flags; see docs/s3prl.md.
"""

from __future__ import annotations

from harness_bench.core.process import share_cores
from harness_bench.probing.s3prl.arguments import complete_command
from harness_bench.probing.s3prl.hook import activate

# At module level, so that spawned DataLoader workers, which import this module again, have it too.
activate()


def main() -> None:
    """Check and complete the command line, then hand it to s3prl."""
    share_cores()
    complete_command()
    from s3prl.run_downstream import main as s3prl_main  # noqa: PLC0415 - heavy

    s3prl_main()


if __name__ == "__main__":
    main()
