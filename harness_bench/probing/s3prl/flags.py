"""The flags of s3prl's `run_downstream`, read from its source without importing it.

s3prl's own parser comes after its heavy imports and lists 200 upstreams in one paragraph. Read from
the installed file, the flags are always those of that version.
"""

from __future__ import annotations

import argparse
import ast
import textwrap
from typing import TYPE_CHECKING, Any

from harness_bench.core.registry import package_folder, packages_in
from harness_bench.probing.s3prl import hub

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TASKS = "harness_bench.downstream"
COMMAND_FILE, PARSER_FUNCTION = "run_downstream.py", "get_downstream_args"
TYPES = {"int": int, "float": float, "str": str}


def tasks() -> list[str]:
    """List this project's classification tasks: the folders under `downstream/`."""
    return packages_in(TASKS)


def stock_tasks() -> list[str]:
    """List the tasks that s3prl itself brings."""
    found = (hub.s3prl_folder() / "downstream").glob("*/expert.py")
    return sorted(path.parent.name for path in found)


def make_parser() -> argparse.ArgumentParser:
    """Build a parser of the flags that the installed s3prl takes."""
    parser = argparse.ArgumentParser(
        prog="run_downstream",
        description="Train and test a head on an upstream: s3prl's command line and flags, with "
        "this project's upstreams and tasks.",
    )
    for names, options in _flags():
        parser.add_argument(*names, **options)
    return parser


def arguments_of(parser: argparse.ArgumentParser, known: argparse.Namespace) -> list[str]:
    """Write parsed arguments as words again, each flag once, by its long name."""
    words: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse lists its flags nowhere else
        value = getattr(known, action.dest, None)
        if value is None or value == action.default:
            continue
        name = action.option_strings[-1]
        # One word with its value: the value may begin with a dash (`-l -1`).
        words.append(name if action.nargs == 0 else f"{name}={value}")
    return words


def help_text() -> str:
    """Return what `--help` prints: the flags, then every upstream and task."""
    own = hub.own_names()
    # s3prl's hub also exposes two classes that it imports.
    stock = [name for name in hub.options() if name[0].islower() and name not in own]
    parts = [
        make_parser().format_help(),
        _list("upstreams (-u) of this project", _upstreams()),
        _list("tasks (-d) of this project", _tasks()),
        _wrapped("upstreams that s3prl brings", stock),
        _wrapped("tasks that s3prl brings", stock_tasks()),
    ]
    return "\n".join(parts)


def _flags() -> Iterator[tuple[list[str], dict[str, Any]]]:
    path = hub.s3prl_folder() / COMMAND_FILE
    for node in ast.walk(_function(hub.parse(path))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".add_argument"):
            names = [ast.literal_eval(word) for word in node.args]
            yield names, {word.arg: _value(word) for word in node.keywords if word.arg}


def _function(tree: ast.Module) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == PARSER_FUNCTION:
            return node
    raise ValueError(
        f"s3prl's {COMMAND_FILE} has no {PARSER_FUNCTION}, from which its flags are read. This "
        "version is not supported; install the one of requirements.lock."
    )


def _value(word: ast.keyword) -> Any:
    """Evaluate an option of `add_argument`: a type's name, a text with gaps, or a literal."""
    if word.arg == "type" and isinstance(word.value, ast.Name):
        return TYPES[word.value.id]
    if isinstance(word.value, ast.JoinedStr):
        # The gaps hold s3prl's list of upstreams, which is ours to give.
        parts = (
            str(part.value) if isinstance(part, ast.Constant) else "listed below"
            for part in word.value.values
        )
        return " ".join("".join(parts).split())
    return ast.literal_eval(word.value)


def _upstreams() -> Iterator[tuple[str, str]]:
    for name, module in sorted(hub.own_index().items()):
        package, _, _ = module.rpartition(".")
        for node in hub.parse(package_folder(package) / "hubconf.py").body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                yield name, _first_line(node)


def _tasks() -> Iterator[tuple[str, str]]:
    for name in tasks():
        yield name, _first_line(hub.parse(package_folder(TASKS) / name / "expert.py"))


def _first_line(node: ast.Module | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _list(title: str, rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([f"{title}:", *(f"  {name:<{width}}  {line}" for name, line in rows), ""])


def _wrapped(title: str, names: Iterable[str]) -> str:
    text = textwrap.fill(
        " ".join(sorted(names)), width=98, initial_indent="  ", subsequent_indent="  ",
        break_on_hyphens=False,
    )  # fmt: skip
    return f"{title}:\n{text}\n"
