"""The verbs `results` of the command line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness_bench.cli.score import Json

if TYPE_CHECKING:
    from collections.abc import Iterable

records_app = typer.Typer(
    no_args_is_help=True, help="Result files: `validate`, `add`, `list`, `diff`, `schema`."
)


@records_app.command("schema")
def results_schema() -> None:
    """Print the JSON Schema of a result file, for other tools that write or check one.

    Example:
      harness-bench results schema > result.schema.json
    """
    from harness_bench.results.record import schema_text

    typer.echo(schema_text(), nl=False)


@records_app.command("validate")
def results_validate(
    paths: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
    *,
    as_json: Json = False,
) -> None:
    """Check result files; print every problem with file and field.

    The exit status is 1 if any file is bad.

    Example:
      harness-bench results validate runs/demo/results new.json
    """
    from harness_bench.results.manage import check

    count, problems = check(paths)
    if as_json:
        found = {"files": count, "problems": [asdict(problem) for problem in problems]}
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        for problem in problems:
            typer.echo(str(problem))
        bad = len({problem.file for problem in problems})
        typer.echo(f"{count} files checked, {len(problems)} problems in {bad} of them")
    raise typer.Exit(1 if problems else 0)


@records_app.command("add")
def results_add(
    file: Annotated[Path, typer.Argument(help="The result file.")],
    folder: Annotated[Path, typer.Argument(help="Folder of results to add it to.")],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a different result of the same identity.")
    ] = False,
) -> None:
    """Check a result and copy it, with its predictions, into a folder of results.

    Example:
      harness-bench results add new.json runs/demo/results
    """
    from harness_bench.results.manage import add

    path, written = add(file, folder, replace=replace)
    typer.echo(f"added: {path}" if written else f"already there: {path}")


@records_app.command("list")
def results_list(
    folder: Annotated[Path, typer.Argument(help="Folder of results.")],
    *,
    task: Annotated[str | None, typer.Option(help="Only this task's.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model's.")] = None,
    as_json: Json = False,
) -> None:
    """List results with their main figures, intervals, and whether measured or reported.

    Files that are no valid results are named on stderr; then the exit status is 1.

    Example:
      harness-bench results list runs/demo/results --task asr
    """
    from harness_bench.results.manage import list_results, render

    rows, problems = list_results(folder, task=task, model=model)
    typer.echo(json.dumps(rows, ensure_ascii=False, indent=2) if as_json else render(rows))
    _left_out(problems)
    raise typer.Exit(1 if problems else 0)


@records_app.command("diff")
def results_diff(
    first: Annotated[Path, typer.Argument(help="Folder of results, or one file.")],
    second: Annotated[Path, typer.Argument(help="The same kind of thing.")],
    *,
    as_json: Json = False,
) -> None:
    """Report which results changed, appeared or vanished; times and machines are not compared.

    The exit status is 1 if anything differs or a file is left out.

    Example:
      harness-bench results diff runs/before/results runs/after/results
    """
    from harness_bench.results.manage import diff

    differences, problems = diff(first, second)
    if as_json:
        found = [asdict(difference) for difference in differences]
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        for difference in differences:
            typer.echo(str(difference))
    _left_out(problems)
    raise typer.Exit(1 if differences or problems else 0)


def _left_out(problems: Iterable[object]) -> None:
    """Name the files that were left out, where a pipe does not take them for results."""
    for problem in problems:
        typer.echo(f"left out: {problem}", err=True)
