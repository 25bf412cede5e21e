"""`harness-bench study`: models x tasks x seeds as one command; parsing and printing alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, override

import typer
from typer.core import TyperGroup

from harness_bench.cli.options import Json, Texts, arg, dumped, opt, out_folder, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from harness_bench.study.look import Look
    from harness_bench.study.opened import Study

_RUN = "run"
Engine = Literal["local", "slurm", "pbs", "lsf", "sge", "htcondor"]


class FileFirst(TyperGroup):
    """A group whose first word may be a file: `study FILE` is `study run FILE`."""

    @override
    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        verbs = {*self.commands, *ctx.help_option_names}
        file = bool(args) and args[0] not in verbs
        if file and args[0].isalpha() and not Path(args[0]).exists():
            file = False  # a verb, mistyped: click names the near ones
        return super().parse_args(ctx, [_RUN, *args] if file else args)


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


@study_app.command(_RUN)
def run(
    file: Annotated[Path, arg("TOML of the study (docs/study.md).")],
    out: Annotated[Path | None, out_folder("Folder of the study; default: runs/<name>.")] = None,
    *,
    dry_run: Annotated[
        bool, opt("Print the jobs, what they cost and what is absent; run nothing.", "--dry-run")
    ] = False,
    only: Annotated[
        Texts, opt("Only jobs of this name, kind, model or task, with all they need; * fits all.")
    ] = None,
    jobs: Annotated[int | None, opt("Jobs at a time.", min=1)] = None,
    engine: Annotated[Engine | None, opt("Where jobs run, instead of the TOML's [engine].")] = None,
    minutes: Annotated[
        float | None, opt("Begin no job later than this; show what is finished.", min=0)
    ] = None,
    data_root: Annotated[
        Path | None, opt("Folder that holds the corpora, instead of the TOML's.")
    ] = None,
    seed: Annotated[int | None, opt("Added to all seeds, instead of the TOML's.", min=0)] = None,
    as_json: Annotated[bool, opt("Print the dry run as JSON for programs.", "--json")] = False,
) -> None:
    """Run each model on each task and build the board; `study FILE` is the same.

    What is finished from equal inputs is kept, what was cut off goes on, what fails stops nothing
    else. The exit status is 1 if anything is missing at the end.

    Examples:
      harness-bench study run egs/demo/study.toml
      harness-bench study egs/paper/study.toml --dry-run
      harness-bench study my_study.toml --only ser --only "pretrain harness_*" --jobs 4
      harness-bench study my_study.toml --engine slurm --out /shared/runs/mine
    """
    if not dry_run:
        if as_json:
            refuse("--json", "it goes with --dry-run; `study status --json` tells of a run")
        run_study(
            file, out, jobs=jobs, data_root=data_root, seed=seed, minutes=minutes, engine=engine,
            only=only or (),
        )  # fmt: skip
    from rich.console import Console

    from harness_bench.study.drive import engine_of, rehearse
    from harness_bench.study.dry_run import render
    from harness_bench.study.opened import open_study

    study = open_study(file, out, data_root=data_root, seed=seed)
    found = rehearse(study, engine_of(study, engine, jobs), only or ())
    if as_json:
        typer.echo(dumped(found.as_json()))
    else:
        render(found, Console())


def run_study(
    file: Path | None, out: Path | None, *, jobs: int | None, data_root: Path | None,
    seed: int | None, minutes: float | None, engine: Engine | None = None,
    only: Sequence[str] = (),
) -> NoReturn:  # fmt: skip
    """Open and drive a study, None for the demo, show its end, and leave with its status."""
    from harness_bench.study.opened import open_study

    study = open_study(file, out, data_root=data_root, seed=seed)
    _drive(study, jobs=jobs, minutes=minutes, engine=engine, only=only)


def _drive(
    study: Study, *, jobs: int | None, minutes: float | None, engine: Engine | None,
    only: Sequence[str] = (),
) -> NoReturn:  # fmt: skip
    from rich.console import Console

    from harness_bench.study.drive import drive, engine_of

    look = drive(
        study, console=Console(stderr=True), engine=engine_of(study, engine, jobs), only=only,
        minutes=minutes,
    )  # fmt: skip
    show_end(look)
    raise typer.Exit(0 if look.whole else 1)


def run_all(
    model: Annotated[
        str,
        arg("Checkpoint folder, named model, OWNER/NAME[@REVISION], or an upstream without one."),
    ],
    study: Annotated[Path, arg("Folder of a study: its tasks, and the board to join.")],
    *,
    name: Annotated[str, opt("Row of the board; default: by the model.")] = "",
    upstream: Annotated[str, opt("What opens the checkpoint; default: harness_local.")] = "",
    pretraining_data: Annotated[str, opt("Declaration, in words.")] = "",
    only: Annotated[Texts, opt("Only these of the study's tasks.")] = None,
    jobs: Annotated[int | None, opt("Jobs at a time.", min=1)] = None,
    engine: Annotated[Engine | None, opt("Where jobs run, instead of the study's.")] = None,
) -> None:
    """Run one more model on every task of a study, and put it on the study's board.

    What the study has finished is kept; later runs of its own file keep the model.

    Examples:
      harness-bench run-all models/mine runs/demo
      harness-bench run-all facebook/hubert-base-ls960 runs/paper --only ser --only did
      harness-bench run-all mfcc runs/demo
    """
    from harness_bench.study.run_all import joined

    found = joined(
        study, model, name=name, upstream=upstream, pretraining_data=pretraining_data,
        tasks=only or (),
    )  # fmt: skip
    _drive(found, jobs=jobs, minutes=None, engine=engine)


def show_end(look: Look) -> None:
    """Print what a study took, its board, and what is missing."""
    from rich.console import Console

    from harness_bench.study.times import draw, read_times, summary, table

    console = Console()
    title, found = read_times(look.out)
    if look.ran:
        console.print(table(found))
        try:
            picture = f"{draw(found, title, look.out)[0]}"
        except OSError as error:  # a full disk: what is missing is told all the same
            picture = f"no picture ({error})"
        console.print(f"{summary(found)}: {picture}", soft_wrap=True)
    if (board := look.out / "leaderboard" / "index.html").is_file():
        from harness_bench.leaderboard.tables import render_terminal
        from harness_bench.study.kinds.board import board_of

        if (table_of := board_of(look.out)) is not None:
            console.print(render_terminal(table_of))
        console.print(f"Leaderboard: {board}", soft_wrap=True)
    _print_missing(console, look)


@study_app.command()
def status(
    folder: Folder = None,
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

    console = Console()
    watch = Watch(folder or last_study(), console)
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
def times(folder: Folder = None, *, as_json: Json = False) -> None:
    """Show what the jobs of a study took, and draw which worker did what when (Gantt).

    Examples:
      harness-bench study times
      harness-bench study times runs/paper --json
    """
    from rich.console import Console

    from harness_bench.study.times import as_json as for_programs
    from harness_bench.study.times import draw, read_times, summary, table
    from harness_bench.study.watch import last_study

    folder = folder or last_study()
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
