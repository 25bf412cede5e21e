"""Print the checkpoint folder that an upstream's name stands for; refuse one that cannot be used.

Example:
    python egs/upstream.py harness_st
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness_bench.models.checkpoint import load_config, weights_file


def folder_of(upstream: str) -> Path:
    """Return the folder of a name of the family, or the folder itself, checked.

    Raises:
        ValueError: neither a folder nor a name, or a checkpoint that this project cannot compute.
    """
    # Seconds of import that a folder does not need.
    from harness_bench.upstream.harness import named  # noqa: PLC0415

    folder = Path(upstream)
    if not folder.exists():
        if upstream not in (known := named.names()):
            raise ValueError(
                f"--upstream {upstream} is neither fbank, nor a checkpoint folder, nor one of "
                f"{', '.join(known)}."
            )
        folder = named.resolve(upstream)
    load_config(folder)
    weights_file(folder)
    return folder.absolute()


def main() -> int:
    """Print the folder; return the exit status."""
    try:
        print(folder_of(*sys.argv[1:]))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
