"""`s3prl.hub` without its cost: every upstream's name at once, its code only on use.

The stock hub imports all upstreams (17 CPU-seconds) before it can name one. This module stands in
for it (see `hook`): the names are read from the hubconf files without running them, and the
upstreams of this project's `upstream/` folders are added.
"""

import ast
import difflib
import functools
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from harness_bench.core.registry import package_folder, packages_in
from harness_bench.models import hub as models

OWN = "harness_bench.upstream"
# Upstreams that need a file or an address of the user's, by the endings s3prl gives their names.
NEEDS_CHECKPOINT = ("_local", "_url", "_gdriveid", "_custom")


def options(only_registered_ckpt: bool = False) -> list[str]:  # noqa: FBT001, FBT002 - s3prl's
    """List all upstream names, or those that need no checkpoint from the user."""
    names = sorted(index())
    if only_registered_ckpt:
        return [name for name in names if not name.endswith(NEEDS_CHECKPOINT)]
    return names


def own_names() -> list[str]:
    """List the upstreams of this project's folders, without importing any or needing s3prl."""
    return sorted(own_upstreams())


def __getattr__(name: str) -> Any:
    """Import the hubconf that defines upstream `name`, and remember its function."""
    if name.startswith("_") or name not in index():
        near = difflib.get_close_matches(name, index(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise AttributeError(f"s3prl's hub has no upstream {name!r}{hint}")
    value = getattr(importlib.import_module(index()[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(index())


@functools.cache
def index() -> dict[str, str]:
    """Return upstream name -> module that defines it; ours win over s3prl's."""
    return {**_stock_index(), **{name: module for name, (module, _) in own_upstreams().items()}}


def s3prl_folder() -> Path:
    """Return the folder of the installed s3prl without importing it."""
    spec = importlib.util.find_spec("s3prl")
    if spec is None or spec.origin is None:
        raise ValueError(
            "s3prl is not installed. Install it with `pip install 'harness-ssl-bench[s3prl]'`."
        )
    return Path(spec.origin).parent


def own_checkpoint(name: str) -> Path | None:
    """Return what one of our names stands for without `-k`, None for others; may download."""
    own = name in own_upstreams() and name in models.names()
    return models.resolve(name) if own else None


@functools.cache
def own_upstreams() -> dict[str, tuple[str, str]]:
    """Return our upstreams' names -> module and first line about it, of each folder's hubconf.

    A name is a public function, or what a call gives whose first argument tells of it.
    """
    return {
        name: (f"{OWN}.{package}.hubconf", about.partition("\n")[0])
        for package in packages_in(OWN)
        for node in parse(package_folder(OWN) / package / "hubconf.py").body
        if (about := _about(node)) is not None
        for name in _public_names(node)
    }


def _about(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef):
        return ast.get_docstring(node) or ""
    call = node.value if isinstance(node, ast.Assign) else None
    first = call.args[0] if isinstance(call, ast.Call) and call.args else None
    return str(first.value) if isinstance(first, ast.Constant) else None


def _stock_index() -> dict[str, str]:
    """Follow the imports of s3prl's own hub.py."""
    root, found = s3prl_folder(), {}
    for node in parse(root / "hub.py").body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = _public_names(node)
            if names == ["*"]:
                hubconf = root.joinpath(*node.module.split(".")[1:]).with_suffix(".py")
                names = [name for line in parse(hubconf).body for name in _public_names(line)]
            found.update(dict.fromkeys(names, node.module))
    return found


def _public_names(node: ast.stmt) -> list[str]:
    """Return what `import *` would take of a line of a module."""
    names: list[str] = []
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names = [node.name]
    elif isinstance(node, ast.ImportFrom):
        names = [alias.asname or alias.name for alias in node.names]
    elif isinstance(node, ast.Assign) and _about(node) is not None:
        names = [name.id for name in node.targets if isinstance(name, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def parse(path: Path) -> ast.Module:
    """Read a Python file's syntax tree, running nothing of it."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
