"""What this machine has, what is missing and how to get it."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

from harness_bench.core.extras import OPTIONAL, PACKAGE, is_installed
from harness_bench.core.workdir import PACKAGES

SUPPORTED = ((3, 12), (3, 14))
LEAST_FREE_GB = 5


_SCORES = ("numpy", "jiwer")  # scores alone need them, as docs/install.md says
_MODULES = {"scikit-learn": "sklearn"}  # whose name is not the distribution's
_APART = ("espeakng_loader",)  # GPL: only a process of its own may load it


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at."""

    name: str
    verdict: Literal["ok", "missing", "broken"]  # broken: installed, and does not work
    detail: str


def diagnose() -> list[Diagnosis]:
    """Look at Python, libraries, optional parts, devices and the disk."""
    extras = {module: each for module, each in OPTIONAL.items() if each.extra}
    optional = {each.distribution for each in extras.values()}
    libraries = [_core(name) for name in PACKAGES if name not in optional]
    parts = [
        _library(library.distribution, module, library.serves, library.command)
        for module, library in extras.items()
    ]
    return [_python(), *libraries, *parts, _clash(), _device(libraries), _bash(), _disk()]


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


def _core(name: str) -> Diagnosis:
    use = "scores" if name in _SCORES else "corpora, pretraining, models and probes"
    return _library(name, _MODULES.get(name, name), use, f"pip install {PACKAGE}")


def _library(name: str, module: str, use: str, command: str) -> Diagnosis:
    if not is_installed(module):
        return Diagnosis(
            name, "missing", f"not installed; needed for {use}; get it with: {command}"
        )
    version = _version(name) or "from another distribution"  # onnxruntime-gpu, the original s3prl
    if reason := _fault(module):
        again = f"install it again: pip install --force-reinstall {name}"
        return Diagnosis(name, "broken", f"{version}, which cannot be imported ({reason}); {again}")
    return Diagnosis(name, "ok", f"{version}, for {use}")


def _fault(module: str) -> str:
    """Import a library, and say why that fails; nothing where it does not."""
    if module in _APART:
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False
        )
        return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a library can raise anything
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def _clash() -> Diagnosis:
    """s3prl and its maintained fork share files: only one may be installed."""
    if (version := _version("s3prl")) is None:
        return Diagnosis("s3prl clash", "ok", "only the maintained fork, or none")
    detail = f"s3prl {version} is installed too; run: pip uninstall s3prl espnet-s3prl, then "
    return Diagnosis("s3prl clash", "broken", detail + "pip install espnet-s3prl")


def _device(libraries: list[Diagnosis]) -> Diagnosis:
    if any(each.name == "torch" and each.verdict != "ok" for each in libraries):
        return Diagnosis("device", "missing", "not known without torch, which finds GPUs")
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
