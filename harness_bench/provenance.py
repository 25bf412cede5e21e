"""What made an output folder: config, versions, seed, input digests, command, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness_bench import __version__
from harness_bench.files import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PACKAGES = (
    "torch", "torchaudio", "transformers", "lhotse", "lightning", "numpy", "scikit-learn",
    "espnet", "espnet-s3prl", "jiwer", "soundfile", "safetensors",
)  # fmt: skip
FILE_NAME = "provenance.json"


def versions() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries that shape results."""
    found = {"harness-ssl-bench": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> str:
    """Say in one line on what this process runs, without importing torch."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"


def command_line() -> str:
    """Return the command that started this process, quoted for a shell."""
    return shlex.join(sys.argv)


def write_provenance(
    folder: Path,
    *,
    config: Mapping[str, Any],
    seed: int | None,
    inputs: Mapping[str, str],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write provenance.json: the resolved config, versions, seed and input digests of a folder.

    Args:
        folder: the output folder.
        config: JSON-ready resolved config (`config.resolved`).
        seed: the seed that governed the step, or None where nothing is random.
        inputs: name -> digest of everything read.
        extra: anything more that a reader may need.
    """
    record = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "config": dict(config),
        "seed": seed,
        "inputs": dict(inputs),
        "versions": versions(),
        "hardware": hardware(),
        **(extra or {}),
    }
    write_json(folder / FILE_NAME, record)
