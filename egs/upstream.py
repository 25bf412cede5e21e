"""Print the checkpoint folder that an upstream's name stands for; refuse one that cannot be used.

Example:
    python egs/upstream.py harness_st mean
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness_bench.models.frozen import shape_of
from harness_bench.models.layers import checked_layers, parse_layers


def folder_of(upstream: str, layers: str = "weighted") -> Path:
    """Return the folder of a name of the family, or the folder itself, checked.

    Raises:
        ValueError: neither a folder nor a name, a checkpoint that this project cannot compute, or
            a layer that it does not have.
    """
    # Seconds of import that a folder does not need.
    from harness_bench.models import hub  # noqa: PLC0415

    folder = Path(upstream)
    if not folder.exists():
        if upstream not in (known := hub.names()):
            raise ValueError(
                f"--upstream {upstream} is neither fbank, nor a checkpoint folder, nor one of "
                f"{', '.join(known)}."
            )
        folder = hub.resolve(upstream)
    checked_layers(parse_layers(layers), shape_of(folder).num_layers)
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
