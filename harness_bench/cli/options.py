"""How verbs declare arguments and options, and those that several of them share."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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


def model_given(way_out: str = "", *, pathless: bool = False) -> Callable[..., Any]:
    """Return a typer callback that refuses what is no model; see `models.hub.check_known`."""

    def check(path: Path, called: str) -> None:
        from harness_bench.models.hub import check_known

        check_known(path, called, way_out, pathless=pathless)

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


def check_some(paths: Sequence[Path], called: str) -> None:
    """Refuse inputs of which none exists; where one does, the verb tells of those it leaves out."""
    from harness_bench.core.files import check_given

    with suppress(OSError):  # a name too long, or a folder that may not be read: the verb tells
        if any(path.exists() for path in paths):
            return
        if len(paths) > 1:
            shown = ", ".join(map(str, paths[:_SHOWN])) + ", ..." * (len(paths) > _SHOWN)
            raise ValueError(f"{called}: none of the {len(paths)} exists: {shown}")
        check_given(paths[0], called, "file or folder")


def check_cuts(path: Path | None, called: str) -> None:
    """Refuse a folder of cuts that does not exist."""
    if path is not None:
        from harness_bench.core.files import check_given

        way_out = "`harness-bench prepare CORPUS FROM TO` writes such a folder."
        check_given(path, called, "folder", way_out)


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


_SHOWN = 5  # paths that a message lists
Texts = list[str] | None  # of an option that may stand several times
Paths = list[Path] | None
Json = Annotated[bool, opt("Print JSON instead of text.", "--json", panel="Output")]
Out = Annotated[Path, arg("Folder to write.", callback=new_folder)]
cuts_given = _each(check_cuts)
results_given = given(
    "folder", "`harness-bench probe` and `score asr --results` write result files."
)
iteration_given = _each(_iteration)
STUDY_WAY_OUT = (
    "`harness-bench study` and `demo` write a study's folder some seconds after their start."
)
study_given = given("folder", STUDY_WAY_OUT)


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
