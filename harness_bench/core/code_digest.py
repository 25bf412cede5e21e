"""What decides a model's features beside its weights and the waveform: code and libraries."""

from __future__ import annotations

import importlib.metadata
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.files import digest_file, digest_strings
from harness_bench.core.registry import package_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

# Raise this when features change for a reason that no source file below shows.
VERSION = 1
_LIBRARIES = ("torch", "torchaudio", "transformers", "espnet-s3prl")


def code_digest(model: nn.Module, packages: Iterable[str] = ()) -> str:
    """Return a digest of the code that computes a model's features.

    It covers the source files of all classes in the model (and of their bases; torch's own count
    by torch's version), whole packages that these call functions of, the versions of the
    libraries above, and `VERSION`. A comment changed in one of those files costs one computation
    of the features; a rule changed there without a new number by hand would give wrong ones
    silently.
    """
    classes = {base for module in model.modules() for base in type(module).__mro__}
    names = {kind.__module__ for kind in classes} - {"builtins"}
    own = {name for name in names if name.split(".", maxsplit=1)[0] not in ("torch", "typing")}
    return _together([*map(_file_of, own), *_files_of(packages)], _LIBRARIES)


def modules_digest(
    names: Iterable[str], libraries: Iterable[str], packages: Iterable[str] = ()
) -> str:
    """Return a digest of imported modules, whole packages and the versions of libraries."""
    return _together([*map(_file_of, names), *_files_of(packages)], libraries)


def _together(files: Iterable[Path | None], libraries: Iterable[str]) -> str:
    sources = sorted({_digest(file) for file in files if file is not None})
    return digest_strings([str(VERSION), *map(_version, libraries), *sources])


def _files_of(packages: Iterable[str]) -> list[Path]:
    return [file for name in packages for file in package_folder(name).rglob("*.py")]


def _file_of(name: str) -> Path | None:
    """Return the source file of an imported module; None for one written in C or typed in."""
    found = getattr(sys.modules.get(name), "__file__", None)
    return Path(found) if found and found.endswith(".py") else None


_digest = cache(digest_file)  # of a file as it was when first asked: what this process runs


@cache
def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
