"""`harness-bench study`: models x tasks x seeds as one command; parsing and printing alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, override

import typer
from typer.core import TyperGroup

from harness_bench.cli.options import Json, arg, dumped, opt

if TYPE_CHECKING:
    from rich.console import Console

    from harness_bench.study.look import Look

_RUN = "run"


class FileFirst(TyperGroup):
    """A group whose first word may be a file: `study FILE` is `study run FILE`."""

    @override
    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        verbs = {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, [_RUN, *args] if args and args[0] not in verbs else args)


study_app = typer.Typer(
    cls=FileFirst,
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Run models x tasks x seeds as one command, and watch it. `study FILE` is `study run "
        "FILE`.\n\n"
        "\b\nExamples:\n"
        "  harness-bench study egs/paper/study.toml --dry-run\n"
        "  harness-bench study my_study.toml --only ser --jobs 4\n"
        "  harness-bench study status runs/my_study --follow"
    ),
)
Folder = Annotated[
    Path | None, arg("Folder of a study; default: the one below runs/ that was at work last.")
]


@study_app.command()
def status(
    out: Folder = None,
    *,
    follow: Annotated[bool, opt("Show it until its driver ends.", "--follow", "-f")] = False,
    as_json: Json = False,
) -> None:
    """Show where a study is, from any shell and any machine that sees its folder.

    After a kill, too: what was running then is told as cut off.

    Examples:
      harness-bench study status
      harness-bench study status runs/paper --follow
      harness-bench study status runs/paper --json
    """
    from rich.console import Console

    from harness_bench.study.watch import Watch, last_study

    folder, console = out or last_study(), Console()
    watch = Watch(folder, console)
    if as_json:
        typer.echo(dumped(watch.look().as_json()))
        return
    if follow:
        watch.follow()
    look = watch.look()
    console.print(look.picture(console.width))
    if not look.study.driven:
        _print_missing(console, look)


@study_app.command()
def times(out: Folder = None, *, as_json: Json = False) -> None:
    """Show what the jobs of a study took, and draw which worker did what when (Gantt).

    Examples:
      harness-bench study times
      harness-bench study times runs/paper --json
    """
    from rich.console import Console

    from harness_bench.study.times import as_json as for_programs
    from harness_bench.study.times import draw, read_times, summary, table
    from harness_bench.study.watch import last_study

    folder = out or last_study()
    title, found = read_times(folder)
    if as_json:
        typer.echo(dumped(for_programs(found)))
        return
    console = Console()
    console.print(table(found))
    console.print(summary(found))
    for path in draw(found, title, folder):
        console.print(f"Picture: {path}", soft_wrap=True)


def _print_missing(console: Console, look: Look) -> None:
    """Say what is missing and how to go on."""
    from harness_bench.study.watch import missing

    lines = missing(look)
    for line in lines:
        console.print(line, soft_wrap=True)
    if lines and look.study.sessions:
        console.print(f"To go on: {look.study.sessions[-1].command}", soft_wrap=True, markup=False)
