"""The verbs `results` and `leaderboard`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from harness_bench.cli.help import Verbs
from harness_bench.cli.options import (
    Json,
    Out,
    arg,
    dumped,
    given,
    left_out,
    new_folder,
    opt,
    out_folder,
    results_given,
)

verbs = Verbs("Results")
records_app = Verbs(help="List, add, validate or compare result files.")

board_app = Verbs(help="Build, serve or publish the leaderboard page.")

verbs.group("results", records_app)
verbs.group("leaderboard", board_app)

Results = Annotated[Path, arg("Folder of result files.", callback=results_given)]
Title = Annotated[str, opt("Heading of the page.")]
Reported = Annotated[bool, opt("Also show the figures reported in the paper.")]
Split = Annotated[str, opt("Split to show: test, dev, ..., or all.")]
HideLeaking = Annotated[
    bool,
    opt("Hide models that were trained on the test data from tables and ranks.", "--hide-leaking"),
]


@records_app.command("list")
def results_list(
    folder: Annotated[Path, arg("Folder of result files.", callback=results_given)],
    *,
    task: Annotated[str | None, opt("Only results of this task, such as asr.")] = None,
    model: Annotated[str | None, opt("Only results of this model.")] = None,
    as_json: Json = False,
) -> None:
    """List results with their main score and interval.

    Also says whether a score was measured or reported. Invalid files are listed on stderr, and the
    exit status is then 1.

    Example:
      harness-bench results list runs/demo/results --task asr
    """
    from harness_bench.results.manage import list_results, render

    rows, problems = list_results(folder, task=task, model=model)
    typer.echo(dumped(rows) if as_json else render(rows))
    left_out(problems)
    raise typer.Exit(1 if problems else 0)


@records_app.command("add")
def results_add(
    file: Annotated[Path, arg("Result file to add.", callback=given())],
    folder: Annotated[Path, arg("Folder of result files to add it to.", callback=new_folder)],
    *,
    replace: Annotated[
        bool,
        opt("Overwrite a different result of the same model, task, corpus and split.", "--replace"),
    ] = False,
) -> None:
    """Check a result and copy it into a folder of results.

    Its predictions are copied with it.

    Example:
      harness-bench results add new.json runs/demo/results
    """
    from harness_bench.results.manage import add

    path, written = add(file, folder, replace=replace)
    typer.echo(f"added: {path}" if written else f"already there: {path}")


@records_app.command("validate")
def results_validate(
    paths: Annotated[list[Path], arg("Result files, or folders of them.")],
    *,
    as_json: Json = False,
) -> None:
    """Check result files against the schema.

    Prints every problem with file and field. The exit status is 1 if any file is invalid.

    Example:
      harness-bench results validate runs/demo/results new.json
    """
    from harness_bench.results.manage import check

    count, problems = check(paths)
    if as_json:
        found = [asdict(problem) for problem in problems]
        typer.echo(dumped({"files": count, "problems": found}))
    else:
        for problem in problems:
            typer.echo(str(problem))
        bad = len({problem.file for problem in problems})
        typer.echo(f"{count} files checked, {len(problems)} problems in {bad} of them")
    raise typer.Exit(1 if problems else 0)


@records_app.command("diff")
def results_diff(
    first: Annotated[
        Path, arg("Folder of result files, or one file: before.", callback=given("file or folder"))
    ],
    second: Annotated[
        Path, arg("Folder or file to compare it with: after.", callback=given("file or folder"))
    ],
    *,
    as_json: Json = False,
) -> None:
    """Compare two folders of results.

    Lists changed, added and removed results; times and machines are not compared. The exit status
    is 1 if anything differs or a file is invalid.

    Example:
      harness-bench results diff runs/before/results runs/after/results
    """
    from harness_bench.results.manage import diff

    differences, problems = diff(first, second)
    if as_json:
        typer.echo(dumped([asdict(difference) for difference in differences]))
    for difference in () if as_json else differences:
        typer.echo(str(difference))
    left_out(problems)
    raise typer.Exit(1 if differences or problems else 0)


@records_app.command("schema")
def results_schema() -> None:
    """Print the JSON Schema of a result file.

    Other tools can write or check result files by it.

    Example:
      harness-bench results schema > result.schema.json
    """
    from harness_bench.results.record import schema_text

    typer.echo(schema_text(), nl=False)


@board_app.command("build")
def leaderboard_build(
    results: Results,
    out: Out,
    *,
    title: Title = "Leaderboard",
    reported: Reported = True,
    split: Split = "test",
    hide_leaking: HideLeaking = False,
) -> None:
    """Write tables, plots and a static page of results.

    Tables are written as Markdown, CSV and LaTeX.

    Example:
      harness-bench leaderboard build runs/demo/results runs/demo/leaderboard
    """
    from harness_bench.leaderboard.build import build

    files = build(
        results, out, **_shown(title, split, reported=reported, hide_leaking=hide_leaking)
    )
    left_out(map(": ".join, files.problems.items()))
    if files.board.not_shown:
        typer.echo(f"{files.board.not_shown} Choose another with --split, or --split all.")
    typer.echo(f"Leaderboard: {files.html}")
    raise typer.Exit(1 if files.problems else 0)


@board_app.command("serve")
def leaderboard_serve(
    results: Results,
    *,
    out: Annotated[
        Path | None, out_folder("Folder to build in; default: a temporary folder.")
    ] = None,
    port: Annotated[int, opt("TCP port; 0: any free one.", min=0, max=65535)] = 8000,
    host: Annotated[
        str, opt("Address to listen on; 0.0.0.0 makes the page visible to other machines.")
    ] = "127.0.0.1",
    open_browser: Annotated[bool, opt("Open the page in the browser.", "--open")] = False,
    title: Title = "Leaderboard",
    reported: Reported = True,
    split: Split = "test",
    hide_leaking: HideLeaking = False,
) -> None:
    """Build the leaderboard and serve it to a browser.

    Reloading the page shows new and changed result files.

    Example:
      harness-bench leaderboard serve runs/demo/results --open
    """
    from harness_bench.leaderboard.build import build
    from harness_bench.leaderboard.serve import serve

    make = partial(build, **_shown(title, split, reported=reported, hide_leaking=hide_leaking))
    serve(results, out, make, typer.echo, host=host, port=port, open_browser=open_browser)


@board_app.command("space")
def leaderboard_space(
    results: Results,
    out: Out,
    *,
    sdk: Annotated[
        Literal["static", "gradio"],
        opt("static: the built page; gradio: an app that builds the page when it starts."),
    ] = "static",
    title: Title = "Leaderboard",
    reported: Reported = True,
    split: Split = "test",
    hide_leaking: HideLeaking = False,
    predictions: Annotated[
        bool, opt("With gradio: also copy predictions (transcripts and labels).")
    ] = True,
) -> None:
    """Write a folder to push as a Hugging Face Space.

    Nothing is uploaded.

    Example:
      harness-bench leaderboard space runs/demo/results space --title "Our lab's models"
    """
    from harness_bench.leaderboard.space import make_space

    options = _shown(title, split, reported=reported, hide_leaking=hide_leaking)
    problems = make_space(results, out, sdk=sdk, predictions=predictions, **options)
    left_out(map(": ".join, problems.items()))
    typer.echo(f"Space: {out}")
    raise typer.Exit(1 if problems else 0)


def _shown(title: str, split: str, *, reported: bool, hide_leaking: bool) -> dict[str, Any]:
    chosen = None if split == "all" else split
    return {
        "title": title, "include_reported": reported, "split": chosen, "hide_leaking": hide_leaking,
    }  # fmt: skip
