"""How verbs declare arguments and options, and those that several of them share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Kind = Literal["file", "folder", "file or folder"]


def arg(text: str, **rules: Any) -> Any:
    """Declare an argument by what help says of it, and its bounds."""
    return typer.Argument(help=text, **rules)


def opt(text: str, *flags: str, panel: str | None = None, **rules: Any) -> Any:
    """Declare an option by what help says of it, its flags (default: its name) and its bounds.

    A verb of many options shows them under their `panel`, such as "Output".
    """
    return typer.Option(*flags, help=text, rich_help_panel=panel, **rules)


def new_folder(ctx: typer.Context, param: typer.CallbackParam, value: Path | None) -> Path | None:
    """Refuse, before the verb runs, a folder that cannot be written; a typer callback."""
    return _writable(ctx, param, value, file=False)


def new_file(ctx: typer.Context, param: typer.CallbackParam, value: Path | None) -> Path | None:
    """Refuse, before the verb runs, a file that cannot be written; a typer callback."""
    return _writable(ctx, param, value, file=True)


def _writable(
    ctx: typer.Context, param: typer.CallbackParam, value: Path | None, *, file: bool
) -> Path | None:
    if value is not None and not ctx.resilient_parsing:
        from harness_bench.core.files import check_writable

        check_writable(value, _called(param), file=file)
    return value


def _called(param: typer.CallbackParam) -> str:
    last = param.opts[-1]  # the name alone of an argument
    return last if last.startswith("-") else last.upper()


def given(kind: Kind = "file", way_out: str = "") -> Callable[..., Any]:
    """Return a typer callback that refuses, before the verb runs, an input that does not exist.

    `way_out` is a sentence that says what writes such an input.
    """

    def check(path: Path, called: str) -> None:
        from harness_bench.core.files import check_given

        check_given(path, called, kind, way_out)

    return _each(check)


def model_given(way_out: str = "") -> Callable[..., Any]:
    """Return a typer callback that refuses what is no model: no path, no name, none of the Hub.

    `way_out` is a sentence that says what to give; default: a checkpoint.
    """

    def check(path: Path, called: str) -> None:
        from harness_bench.models.hub import check_known

        check_known(path, called, way_out)

    return _each(check)


def _each(check: Callable[[Path, str], None]) -> Callable[..., Any]:
    """Return a typer callback that checks a value, or each of several."""

    def checked(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
        values = value if isinstance(value, list | tuple) else [value]
        for one in () if ctx.resilient_parsing else values:
            if one is not None:
                check(one, _called(param))
        return value

    return checked


def some_given(ctx: typer.Context, param: typer.CallbackParam, value: list[Path]) -> list[Path]:
    """Refuse inputs of which none exists; of several, the verb tells which it leaves out."""
    if not ctx.resilient_parsing and not any(path.exists() for path in value):
        from harness_bench.core.files import check_given

        check_given(value[0], _called(param), "file or folder")
    return value


def _iteration(path: Path, called: str) -> None:
    from harness_bench.pretrain.config import check_iteration

    check_iteration(path, called)


def in_file(text: str, *flags: str, **rules: Any) -> Any:
    """Declare an option that names a file to read."""
    return opt(text, *flags, callback=given("file"), **rules)


def out_folder(text: str, *flags: str, **rules: Any) -> Any:
    """Declare an option that names a folder to write into."""
    return opt(text, *flags, callback=new_folder, **rules)


def out_file(text: str, *flags: str, **rules: Any) -> Any:
    """Declare an option that names a file to write."""
    return opt(text, *flags, callback=new_file, **rules)


Texts = list[str] | None  # of an option that may stand several times
Paths = list[Path] | None
Json = Annotated[bool, opt("Print JSON instead of text.", "--json", panel="Output")]
Out = Annotated[Path, arg("Folder to write.", callback=new_folder)]
cuts_given = given("folder", "`harness-bench prepare CORPUS FROM TO` writes such a folder.")
results_given = given(
    "folder", "`harness-bench probe` and `score asr --results` write result files."
)
iteration_given = _each(_iteration)
study_given = given(
    "folder", "`harness-bench study` and `demo` write such a folder some seconds after their start."
)


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
