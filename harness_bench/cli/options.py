"""How verbs declare arguments and options, and those that several of them share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable


def arg(text: str) -> Any:
    """Declare an argument by what help says of it."""
    return typer.Argument(help=text)


def opt(text: str, *flags: str, **rules: Any) -> Any:
    """Declare an option by what help says of it, its flags (default: its name) and its bounds."""
    return typer.Option(*flags, help=text, **rules)


Texts = list[str] | None  # of an option that may stand several times
Paths = list[Path] | None
Json = Annotated[bool, opt("Print JSON for programs.", "--json")]
Out = Annotated[Path, arg("Where to write.")]


def dumped(found: object) -> str:
    """Write JSON for people, too: indented, Arabic as it is."""
    return json.dumps(found, ensure_ascii=False, indent=2)


def refuse(option: str, message: str) -> NoReturn:
    """Refuse the value of an option."""
    raise typer.BadParameter(message, param_hint=option)


def left_out(problems: Iterable[object]) -> None:
    """Name what was left out, where a pipe does not take it for results."""
    for problem in problems:
        typer.echo(f"left out: {problem}", err=True)
