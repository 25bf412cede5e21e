"""Settings of the feature cache: from the environment, or from a TOML file."""

from __future__ import annotations

from os import getenv
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.config import STRICT, build, read_toml

FOLDER = "HARNESS_FEATURE_CACHE"
MEMORY_MB, DISK_MB = "HARNESS_FEATURE_CACHE_MB", "HARNESS_FEATURE_CACHE_DISK_MB"
DTYPE = "HARNESS_FEATURE_CACHE_DTYPE"


@dataclass(frozen=True, config=STRICT)
class FeatureCacheConfig:
    """Where features are kept, in which form, and how many.

    Nothing goes to disk unless a folder is named: a 24-layer model fills 18 GB for each hour of
    speech, too much to write unasked.
    """

    folder: Path | None = None  # HARNESS_FEATURE_CACHE; None: memory alone
    memory_mb: Annotated[int, Field(ge=0)] = 1024  # HARNESS_FEATURE_CACHE_MB, MiB; 0 keeps none
    disk_mb: Annotated[int, Field(ge=0)] = 20480  # HARNESS_FEATURE_CACHE_DISK_MB, MiB
    dtype: Literal["fp32", "fp16"] = "fp32"  # HARNESS_FEATURE_CACHE_DTYPE
    states: Literal["all", "mean"] = "all"  # mean: the plain mean of all layers is the one feature


@dataclass(frozen=True, config=STRICT)
class UpstreamOptions:
    """How an upstream computes."""

    # False computes each batch padded, as other toolkits do. Models with a group norm (HuBERT and
    # wav2vec 2.0 of base size) then see the padding: features depend on the batch.
    per_utterance: bool = True


@dataclass(frozen=True, config=STRICT)
class UpstreamConfig:
    """The tables of an upstream's config, `-g FILE.toml`."""

    upstream: UpstreamOptions = UpstreamOptions()
    feature_cache: FeatureCacheConfig = FeatureCacheConfig()


def upstream_config(file: Path | None = None) -> UpstreamConfig:
    """Read an upstream's config; its table `feature_cache` comes before the environment.

    An unknown key or an impossible value is a ValueError that names the file or the variable.
    """
    tables = {} if file is None else read_toml(file)
    cache = tables.get("feature_cache", {})
    if isinstance(cache, dict):
        tables["feature_cache"] = _from_environment() | cache
    return build(UpstreamConfig, tables, source=str(file or "feature cache"))


def _from_environment() -> dict[str, Any]:
    """Return what the environment sets; an empty variable counts as absent."""
    variables = {"folder": FOLDER, "memory_mb": MEMORY_MB, "disk_mb": DISK_MB, "dtype": DTYPE}
    values: dict[str, Any] = {k: text for k, name in variables.items() if (text := getenv(name))}
    for key in {"memory_mb", "disk_mb"} & values.keys():
        if not values[key].isdecimal():
            raise ValueError(
                f"{variables[key]}={values[key]!r}: expected whole MiB, 0 or more (0 keeps none)."
            )
        values[key] = int(values[key])
    if values.get("dtype", "fp32") not in ("fp32", "fp16"):
        raise ValueError(f"{DTYPE}={values['dtype']!r}: expected fp32 or fp16.")
    return values
