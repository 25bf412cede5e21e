"""The verbs `study` and `run-all`: models x tasks x seeds; parsing and printing alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, override

import typer

from harness_bench.cli.help import VerbGroup, Verbs
from harness_bench.cli.options import (
    STUDY_WAY_OUT,
    Json,
    Texts,
    arg,
    dumped,
    given,
    opt,
    out_folder,
    refuse,
    study_given,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from harness_bench.study.look import Look
    from harness_bench.study.opened import Study

_RUN = "run"
Engine = Literal["local", "slurm", "pbs", "lsf", "sge", "htcondor"]


class FileFirst(VerbGroup):
    """A group whose first word may be a file: `study FILE` is `study run FILE`."""

    @override
    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        verbs = {*self.commands, *ctx.help_option_names}
        file = bool(args) and args[0] not in verbs
        if file and args[0].isalpha() and not Path(args[0]).exists():
            file = False  # a verb, mistyped: click names the near ones
        return super().parse_args(ctx, [_RUN, *args] if file else args)


verbs = Verbs("Studies")
study_app = Verbs(
    cls=FileFirst,
    help="Run many models on many tasks, and watch the run.\n\n`study FILE` is `study run FILE`.",
)
verbs.group("study", study_app)
_alone = Verbs("Studies")  # listed behind the group
verbs.add_typer(_alone)
Folder = Annotated[
    Path | None,
    arg("Folder of a study; default: the study below runs/ that ran last.", callback=study_given),
]


@study_app.command(_RUN)
def run(
    file: Annotated[
        Path, arg("TOML of the study; docs/study.md lists its keys.", callback=given())
    ],
    out: Annotated[Path | None, out_folder("Folder of the study; default: runs/<name>.")] = None,
    *,
    dry_run: Annotated[
        bool, opt("Print jobs, costs and missing corpora or checkpoints; run nothing.", "--dry-run")
    ] = False,
    only: Annotated[
        Texts,
        opt(
            "Run only jobs whose name, kind, model or task matches this pattern (* matches "
            "anything), and the jobs they depend on. May be repeated."
        ),
    ] = None,
    jobs: Annotated[
        int | None, opt("Jobs to run at a time; default: [engine] of the TOML.", min=1)
    ] = None,
    engine: Annotated[
        Engine | None, opt("Where the jobs run; default: [engine] of the TOML, else local.")
    ] = None,
    minutes: Annotated[
        float | None, opt("Start no job after this many minutes; show what is finished.", min=0)
    ] = None,
    data_root: Annotated[
        Path | None, opt("Folder that contains the corpora; default: the TOML's data_root.")
    ] = None,
    seed: Annotated[
        int | None, opt("Offset added to every seed; default: the TOML's.", min=0)
    ] = None,
    as_json: Annotated[bool, opt("With --dry-run: print JSON instead of text.", "--json")] = False,
) -> None:
    """Run every model on every task and build the leaderboard.

    `study FILE` is the same. Finished jobs with unchanged inputs are kept, interrupted jobs resume,
    and a failed job stops only the jobs that depend on it. The exit status is 1 if a result is
    missing at the end.

    Examples:
      harness-bench study run egs/paper/study.toml --dry-run
      harness-bench study my_study.toml --only ser --only "pretrain harness_*" --jobs 4
      harness-bench study my_study.toml --engine slurm --out /shared/runs/mine
    """
    if not dry_run:
        if as_json:
            refuse("--json", "it needs --dry-run; `study status --json` reports on a running study")
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

    console = Console(stderr=True)
    look = drive(
        study, console=console, engine=engine_of(study, engine, jobs), only=only, minutes=minutes
    )
    show_end(look)
    raise typer.Exit(0 if look.whole else 1)


@_alone.command()
def run_all(
    model: Annotated[
        str,
        arg(
            "Checkpoint folder, named model, OWNER/NAME[@REVISION], or an upstream that needs no "
            "checkpoint, such as fbank."
        ),
    ],
    study: Annotated[
        Path,
        arg(
            "Folder of a study, or its TOML; the model joins its tasks and its leaderboard.",
            callback=given("file or folder", STUDY_WAY_OUT),
        ),
    ],
    *,
    name: Annotated[str, opt("Name of the leaderboard row; default: from MODEL.")] = "",
    upstream: Annotated[
        str, opt("Upstream that loads the checkpoint; default: harness_local.")
    ] = "",
    pretraining_data: Annotated[str, opt("Free text: what the model was pretrained on.")] = "",
    only: Annotated[Texts, opt("Run only this task of the study; may be repeated.")] = None,
    jobs: Annotated[int | None, opt("Jobs to run at a time; default: the study's.", min=1)] = None,
    engine: Annotated[Engine | None, opt("Where the jobs run; default: the study's.")] = None,
) -> None:
    """Run one more model on every task of a study.

    The model joins the study's leaderboard. Finished results are kept, and later runs of the
    study's own file keep the model.

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
    elif look.whole:
        console.print(f"All {len(look.statuses)} jobs had finished before; none was run.")
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
    follow: Annotated[
        bool, opt("Refresh the table until the study ends.", "--follow", "-f")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the state of every job of a study.

    Works from any shell and any machine that can read the study's folder, also after the study was
    killed: jobs that were running then are shown as interrupted.

    Examples:
      harness-bench study status
      harness-bench study status runs/paper --follow
      harness-bench study status runs/paper --json
    """
    from rich.console import Console

    from harness_bench.study.watch import Watch, last_study, wait_for_plan

    console, folder = Console(), folder or last_study()
    if follow:
        wait_for_plan(folder)
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
def times(folder: Folder = None, *, as_json: Json = False) -> None:
    """Show the time of every job, and draw a Gantt chart of workers.

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
        console.print(f"To resume: {look.study.sessions[-1].command}", soft_wrap=True, markup=False)
