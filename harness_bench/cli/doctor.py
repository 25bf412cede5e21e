"""What this machine has, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

from harness_bench.core.workdir import PACKAGES

SUPPORTED = ((3, 12), (3, 14))
# distribution, module, what it serves, how to get it
OPTIONAL = (
    ("espnet-s3prl", "s3prl", "SER and DID heads", "uv pip install 'harness-ssl-bench[s3prl]'"),
    ("espnet", "espnet2", "ASR recipes", "uv pip install 'harness-ssl-bench[espnet]'"),
    ("espeakng-loader", "espeakng_loader", "the synthetic demo corpus (GPL, a program of its own)",
     "uv pip install 'harness-ssl-bench[demo]'"),
)  # fmt: skip
LEAST_FREE_GB = 5


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at."""

    name: str
    verdict: Literal["ok", "missing", "broken"]  # missing: optional and absent
    detail: str


def diagnose() -> list[Diagnosis]:
    """Look at Python, libraries, optional parts, devices and the disk."""
    libraries = [_library(name) for name in PACKAGES if name not in {row[0] for row in OPTIONAL}]
    optional = [_optional(*row) for row in OPTIONAL]
    return [_python(), *libraries, *optional, _clash(), _device(), _bash(), _disk()]


def _python() -> Diagnosis:
    low, high = SUPPORTED
    fits = low <= sys.version_info[:2] < high
    detail = platform.python_version() + ("" if fits else "; 3.12 or 3.13 is needed")
    return Diagnosis("python", "ok" if fits else "broken", detail)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _library(name: str) -> Diagnosis:
    version = _version(name)
    verdict: Literal["ok", "broken"] = "ok" if version else "broken"
    return Diagnosis(name, verdict, version or "not installed; run `make setup`")


def _optional(name: str, module: str, purpose: str, how: str) -> Diagnosis:
    if importlib.util.find_spec(module) is None:
        return Diagnosis(name, "missing", f"serves {purpose}; get it with: {how}")
    return Diagnosis(name, "ok", f"{importlib.metadata.version(name)}, serves {purpose}")


def _clash() -> Diagnosis:
    """s3prl and its maintained fork share files: only one may be installed."""
    if (version := _version("s3prl")) is None:
        return Diagnosis("s3prl clash", "ok", "only the maintained fork, or none")
    detail = f"s3prl {version} is installed too; run: uv pip uninstall s3prl espnet-s3prl, then "
    return Diagnosis("s3prl clash", "broken", detail + "uv pip install espnet-s3prl")


def _device() -> Diagnosis:
    import torch

    detail = f"no GPU; CPU with {torch.get_num_threads()} threads (everything works on it)"
    if torch.cuda.is_available():
        detail = f"{torch.cuda.device_count()} GPU: {torch.cuda.get_device_name(0)}"
    return Diagnosis("device", "ok", detail)


def _bash() -> Diagnosis:
    found = shutil.which("bash")
    detail = found or "the recipes in egs/ need it; install it by your system"
    return Diagnosis("bash", "ok" if found else "missing", detail)


def _disk() -> Diagnosis:
    free = shutil.disk_usage(".").free / 1e9
    return Diagnosis(
        "disk", "ok" if free > LEAST_FREE_GB else "missing", f"{free:.0f} GB free here"
    )
