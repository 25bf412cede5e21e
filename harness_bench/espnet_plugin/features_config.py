"""Settings of the pass that caches features, from TOML or YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.config import STRICT, build, read_toml, read_yaml

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, config=STRICT)
class FeatureConfig:
    """How the pass over the audio runs; what it writes comes from the command line.

    300 h with 512 numbers per frame take 55 GB. HArnESS-ST (4 layers of 512) does about 7 s of
    audio per second of one CPU core.
    """

    batch_seconds: Annotated[float, Field(gt=0)] = 60.0  # padded audio; decides the last bits
    shard_mb: Annotated[float, Field(gt=0)] = 256.0  # MiB a file; what a kill loses at most
    readers: Annotated[int, Field(ge=1)] = 2  # threads that read audio
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Annotated[int, Field(ge=1)] | None = None  # processes here; None: one, or each GPU


def read_config(path: Path) -> FeatureConfig:
    """Read a TOML or YAML file.

    Raises:
        ValueError: no such file, not of either form, unknown key or impossible value.
    """
    read = read_yaml if path.suffix in (".yaml", ".yml") else read_toml
    return build(FeatureConfig, read(path), source=str(path))
