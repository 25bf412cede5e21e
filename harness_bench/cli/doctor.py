"""What this machine has, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

from harness_bench.core.extras import OPTIONAL, PACKAGE, Optional, is_installed
from harness_bench.core.workdir import PACKAGES

SUPPORTED = ((3, 12), (3, 14))
LEAST_FREE_GB = 5


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at."""

    name: str
    verdict: Literal["ok", "missing", "broken"]  # missing: optional and absent
    detail: str


def diagnose() -> list[Diagnosis]:
    """Look at Python, libraries, optional parts, devices and the disk."""
    extras = {module: each for module, each in OPTIONAL.items() if each.extra}
    optional = {each.distribution for each in extras.values()}
    libraries = [_library(name) for name in PACKAGES if name not in optional]
    parts = [_optional(module, library) for module, library in extras.items()]
    return [_python(), *libraries, *parts, _clash(), _device(), _bash(), _disk()]


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
    return Diagnosis(name, verdict, version or f"not installed; `pip install {PACKAGE}` brings it")


def _optional(module: str, library: Optional) -> Diagnosis:
    name, serves = library.distribution, f"serves {library.serves}"
    if not is_installed(module):
        return Diagnosis(name, "missing", f"{serves}; get it with: {library.command}")
    version = _version(name) or "from another distribution"  # onnxruntime-gpu, the original s3prl
    return Diagnosis(name, "ok", f"{version}, {serves}")


def _clash() -> Diagnosis:
    """s3prl and its maintained fork share files: only one may be installed."""
    if (version := _version("s3prl")) is None:
        return Diagnosis("s3prl clash", "ok", "only the maintained fork, or none")
    detail = f"s3prl {version} is installed too; run: pip uninstall s3prl espnet-s3prl, then "
    return Diagnosis("s3prl clash", "broken", detail + "pip install espnet-s3prl")


def _device() -> Diagnosis:
    if not is_installed("torch"):
        return Diagnosis("device", "missing", "torch tells of GPUs, and is not installed")
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
