"""The verbs `score` and `leaderboard` of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

score_app = typer.Typer(no_args_is_help=True, help="Score predictions: `cls` or `asr`.")
board_app = typer.Typer(no_args_is_help=True, help="Build the leaderboard from result files.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Out = Annotated[Path, typer.Argument(help="Where to write.")]


@score_app.command("cls")
def score_cls(
    predictions: Annotated[Path, typer.Option(help="JSON lines of ClassPrediction.")],
    *,
    as_json: Json = False,
) -> None:
    """Accuracy, macro-F1, unweighted average recall, with 95 % intervals.

    Example:
      harness-bench score cls --predictions runs/demo/probes/did/fbank/run/predictions.test.jsonl
    """
    from harness_bench.scoring.report import class_report  # noqa: PLC0415

    typer.echo(class_report(predictions, as_json=as_json))


@score_app.command("asr")
def score_asr(
    predictions: Annotated[Path, typer.Option(help="JSON lines of TextPrediction.")],
    *,
    profile: Annotated[str, typer.Option(help="Text profile, or `all`.")] = "mgb2",
    as_json: Json = False,
) -> None:
    """WER and CER with 95 % intervals, under one text profile or all.

    Example:
      harness-bench score asr --predictions predictions.test.jsonl --profile all
    """
    from harness_bench.scoring.report import text_report  # noqa: PLC0415

    typer.echo(text_report(predictions, profile=profile, as_json=as_json))


@board_app.command("build")
def leaderboard_build(
    results: Annotated[Path, typer.Argument(help="Folder of result files.")],
    out: Out,
    *,
    title: Annotated[str, typer.Option(help="The page's heading.")] = "Leaderboard",
    reported: Annotated[bool, typer.Option(help="Add the paper's figures.")] = True,
    split: Annotated[str, typer.Option(help="Which split, or `all`.")] = "test",
) -> None:
    """Write tables (Markdown, CSV, LaTeX), plots and a static page.

    Example:
      harness-bench leaderboard build runs/demo/results runs/demo/leaderboard
    """
    from harness_bench.leaderboard.build import build  # noqa: PLC0415

    chosen = None if split == "all" else split
    files = build(results, out, title=title, include_reported=reported, split=chosen)
    for name, reason in files.problems.items():
        typer.echo(f"left out: {name}: {reason}", err=True)
    typer.echo(f"Leaderboard: {files.html}")
    raise typer.Exit(1 if files.problems else 0)
