"""Find plugins by looking into folders: a new file or folder is all that a new plugin needs."""

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import Any


def modules_in(package: str, *, packages: bool = False) -> list[str]:
    """List the public modules directly in a package, or its packages; imports none of them."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(_folders(package))
        if module.ispkg == packages and not module.name.startswith("_")
    )


def packages_in(package: str) -> list[str]:
    """List the public sub-packages directly in a package, sorted, importing none of them."""
    return modules_in(package, packages=True)


def package_folder(package: str) -> Path:
    """Return the folder of an importable package."""
    return Path(_folders(package)[0])


def _folders(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{package} is not an importable package; is the project installed?")
    return list(spec.submodule_search_locations)


def attribute(module: str, name: str) -> Any:
    """Import `module` and return its `name`; a plugin without it is a `ValueError` that says so."""
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError as error:
        raise ValueError(f"Plugin {module} has no {name}; see CONTRIBUTING.md.") from error
