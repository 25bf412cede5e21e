"""`s3prl.hub` without its cost: every upstream's name at once, its code only on use.

The stock hub imports all upstreams (17 CPU-seconds) before it can name one. This module stands in
for it (see `hook`): the names are read from the hubconf files without running them, and the
upstreams of this project's `upstream/` folders are added.
"""

import ast
import difflib
import functools
import importlib
from pathlib import Path
from typing import Any

from harness_bench.core.extras import require
from harness_bench.core.files import check_given
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
    if name.startswith("_"):  # Python asks for those of any module, also where s3prl is absent
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in index():
        raise AttributeError(f"s3prl's hub has no upstream {name!r}{_near(name)}")
    value = getattr(importlib.import_module(index()[name]), name)
    globals()[name] = value
    return value


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, index(), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def __dir__() -> list[str]:
    return sorted(index())


@functools.cache
def index() -> dict[str, str]:
    """Return upstream name -> module that defines it; ours win over s3prl's."""
    return {**stock_index(), **{name: module for name, (module, _) in own_upstreams().items()}}


def s3prl_folder() -> Path:
    """Return the folder of the installed s3prl without importing it."""
    require("s3prl")
    return package_folder("s3prl")


def checkpoint_of(upstream: str, given: str | Path | None) -> Path | None:
    """Return what an upstream opens: what `-k` gives, or what one of our names stands for.

    None where it opens nothing, or what s3prl fetches. May download.

    Raises:
        ValueError: no such name; -k is missing, not there, or of no use to this upstream; the
            weights of one of our names are not available.
    """
    if upstream not in index():
        raise ValueError(f"There is no upstream (-u) {upstream!r}{_near(upstream)}")
    if given is None:
        if upstream.endswith(NEEDS_CHECKPOINT) and takes_checkpoint(upstream):
            raise ValueError(f"Upstream {upstream} needs a checkpoint: give it with -k.")
        return own_checkpoint(upstream)
    if not takes_checkpoint(upstream):
        raise ValueError(
            f"Upstream {upstream} takes no checkpoint: it would compute its own features, which "
            f"would be reported under the name of -k {given}. Leave -k out, or open that "
            "checkpoint with -u harness_local."
        )
    called = f"-u {upstream} -k"
    if upstream in own_upstreams():
        return models.locate(given, called)
    if upstream.endswith("_local"):
        check_given(Path(given), called, "file or folder")
    return Path(given)


def takes_checkpoint(upstream: str) -> bool:
    """Whether an upstream's function does anything with -k, by its source; nothing is imported."""
    return _takes(index()[upstream], upstream)


@functools.cache
def _takes(module: str, name: str) -> bool:
    """Whether a function, a class or what a call gives, named so by a module, takes `ckpt`."""
    source = _source(module)
    found = [node for node in parse(source).body if name in _names(node)] if source else []
    node = found[-1] if found else None
    if isinstance(node, ast.ImportFrom):
        package = module.rsplit(".", node.level)[0] + "." if node.level else ""
        (there,) = (each.name for each in node.names if name in (each.asname, each.name))
        return _takes(f"{package}{node.module}", there)
    functions = [each for each in getattr(node, "body", ()) if isinstance(each, ast.FunctionDef)]
    if isinstance(node, ast.ClassDef):
        made = [each for each in functions if each.name == "__init__"]
        return not made or _hands_on(made[0], module)  # without one, its base's: ours take it
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        return _takes(module, ast.unparse(node.value.func))
    if isinstance(node, ast.FunctionDef):
        return any(_hands_on(each, module) for each in (node, *functions))
    return False


def _hands_on(function: ast.FunctionDef, module: str) -> bool:
    given, keywords = function.args, function.args.kwarg
    if "ckpt" in {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)}:
        return True
    if keywords is None:
        return False
    nodes = [*ast.walk(function)]
    targets = [each for node in nodes if isinstance(node, ast.Assign) for each in node.targets]
    if f"{keywords.arg}['ckpt']" in map(ast.unparse, targets):
        return False  # an address of its own
    return any(
        _takes(module, node.func.id)
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and None in (handed := {each.arg for each in node.keywords})
        and "ckpt" not in handed
        and all(isinstance(each, ast.Starred) for each in node.args)  # or its own comes first
    )


def _source(module: str) -> Path | None:
    """Return the file of a module of s3prl or of ours; None of any other."""
    for top, root in ((OWN, package_folder), ("harness_bench", package_folder), ("s3prl", None)):
        if module.startswith(f"{top}."):
            folder = root(top) if root else s3prl_folder()
            path = folder.joinpath(*module.removeprefix(f"{top}.").split(".")).with_suffix(".py")
            return path if path.is_file() else None
    return None


def _names(node: ast.stmt) -> list[str]:
    """Return the names that a line of a module defines, private ones too."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign) and _about(node) is not None:
        return [name.id for name in node.targets if isinstance(name, ast.Name)]
    return []


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


@functools.cache
def stock_index() -> dict[str, str]:
    """Return s3prl's own names -> modules, by the imports of its hub.py."""
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
    return [name for name in _names(node) if not name.startswith("_")]


def parse(path: Path) -> ast.Module:
    """Read a Python file's syntax tree, running nothing of it."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
