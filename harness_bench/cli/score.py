"""The verbs `score` and `leaderboard` of the command line."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

score_app = typer.Typer(no_args_is_help=True, help="Score predictions, and compare systems.")
board_app = typer.Typer(no_args_is_help=True, help="Build, show or host the leaderboard.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Ids = Annotated[str, typer.Option(help="strict, or common: score the ids that all files have.")]
Out = Annotated[Path, typer.Argument(help="Where to write.")]
Results = Annotated[Path, typer.Argument(help="Folder of result files.")]
Title = Annotated[str, typer.Option(help="The page's heading.")]
Reported = Annotated[bool, typer.Option(help="Add the paper's figures.")]
Split = Annotated[str, typer.Option(help="Split to show, or `all`.")]


@score_app.command("cls")
def score_cls(
    predictions: Annotated[Path | None, typer.Option(help="JSON lines of ClassPrediction.")] = None,
    *,
    pred: Annotated[
        Path | None, typer.Option(help="Lines `id label`, or JSON with id, pred, probs.")
    ] = None,
    cuts: Annotated[Path | None, typer.Option(help="The truth: prepared cuts.")] = None,
    field: Annotated[
        str | None,
        typer.Option(help="Field of the cuts with the true label; default: the one that fits."),
    ] = None,
    tsv: Annotated[Path | None, typer.Option(help="Columns id, truth, prediction.")] = None,
    ids: Ids = "strict",
    plot: Annotated[Path | None, typer.Option(help="Picture of the confusion matrix.")] = None,
    as_json: Json = False,
) -> None:
    """Score classes: accuracy, macro-F1, unweighted average recall, with 95 % intervals.

    Examples:
      harness-bench score cls --predictions runs/demo/probes/did/fbank/run/predictions.test.jsonl
      harness-bench score cls --pred pred.txt --cuts cuts/adi5/cuts.test.jsonl.gz --field dialect
      harness-bench score cls --tsv answers.tsv --plot confusion.png
    """
    from harness_bench.scoring.report import class_report

    if sum(map(bool, (predictions, pred or cuts or field, tsv))) != 1:
        raise typer.BadParameter("give one of --predictions, --tsv, or --pred with --cuts")
    if ids != "strict" and not pred:
        raise typer.BadParameter("--ids goes with --pred and --cuts alone")
    if not (predictions or tsv or (pred and cuts)):
        raise typer.BadParameter("--pred and --cuts go together")
    both = (pred, cuts) if pred and cuts else None
    typer.echo(
        class_report(
            predictions=predictions, tsv=tsv, pred_and_cuts=both, field=field, ids=ids,
            as_json=as_json, plot=plot,
        )
    )  # fmt: skip


@score_app.command("asr")
def score_asr(
    predictions: Annotated[Path | None, typer.Option(help="JSON lines of TextPrediction.")] = None,
    *,
    hyp: Annotated[Path | None, typer.Option(help="Hypotheses, instead of predictions.")] = None,
    ref: Annotated[list[Path] | None, typer.Option(help="References; once per annotator.")] = None,
    profile: Annotated[str, typer.Option(help="Text profile, or `all`.")] = "mgb2",
    ids: Ids = "strict",
    group: Annotated[
        list[str] | None,
        typer.Option(help="Rows per group: FIELD, NAME=FILE, NAME:N or code-switched."),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Unit to resample for intervals, written as --group.")
    ] = None,
    encoding: Annotated[
        list[str] | None, typer.Option(help="utf8 or buckwalter; once, or once per file.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--format", help="auto, text, stm, ctm, jsonl or trn; once or per file."),
    ] = None,
    align: Annotated[Path | None, typer.Option(help="Alignments: OUT.html or OUT.txt.")] = None,
    as_json: Json = False,
) -> None:
    """Score texts: WER, CER and, for several references, AV-WER and MR-WER, with 95 % intervals.

    Examples:
      harness-bench score asr --hyp hyp.ctm --ref ref.stm --align errors.html
      harness-bench score asr --hyp hyp --ref Ali --ref Omar --profile mgb3 --ids common
      harness-bench score asr --predictions predictions.test.jsonl --profile all
    """
    if predictions:
        _alone("--predictions", hyp, ref, group, cluster, encoding, kind, align, ids != "strict")
        from harness_bench.scoring.report import text_report

        typer.echo(text_report(predictions, profile=profile, as_json=as_json))
        return
    if not hyp or not ref:
        raise typer.BadParameter("give --hyp and --ref, or --predictions")
    from harness_bench.scoring.report import asr_report
    from harness_bench.scoring.texts.score import Grouping, TranscriptFiles

    files = TranscriptFiles(
        hypothesis=hyp,
        references=tuple(ref),
        formats=tuple(kind or ["auto"]),
        encodings=tuple(encoding or ["utf8"]),
        ids=ids,
    )
    parts = Grouping(groups=tuple(group or []), cluster=cluster)
    typer.echo(asr_report(files, profile=profile, grouping=parts, view=align, as_json=as_json))


@score_app.command("compare")
def score_compare(
    files: Annotated[
        list[Path], typer.Argument(help="Predictions of the same utterances, a file per system.")
    ],
    *,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name of each system, in order; default: from the paths."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Default: accuracy of classes, wer of texts.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Text profile; default: mgb2.")] = None,
    as_json: Json = False,
) -> None:
    """Paired comparison of two or more systems: ranks, differences, intervals, p-values.

    Examples:
      harness-bench score compare A.jsonl B.jsonl --metric wer --profile mgb2
      harness-bench score compare base.jsonl s.jsonl xs.jsonl --name base --name S --name XS --json
    """
    from harness_bench.scoring.report import compare_report

    typer.echo(
        compare_report(files, names=name or (), metric=metric, profile=profile, as_json=as_json)
    )


def _alone(option: str, *others: object) -> None:
    """Refuse options that would be overlooked."""
    if any(others):
        raise typer.BadParameter(f"{option} goes with --profile and --json alone")


@board_app.command("build")
def leaderboard_build(
    results: Results,
    out: Out,
    *,
    title: Title = "Leaderboard",
    reported: Reported = True,
    split: Split = "test",
) -> None:
    """Write tables (Markdown, CSV, LaTeX), plots and a static page.

    Example:
      harness-bench leaderboard build runs/demo/results runs/demo/leaderboard
    """
    from harness_bench.leaderboard.build import build

    files = build(results, out, title=title, include_reported=reported, split=_chosen(split))
    _tell_problems(files.problems)
    typer.echo(f"Leaderboard: {files.html}")
    raise typer.Exit(1 if files.problems else 0)


@board_app.command("serve")
def leaderboard_serve(
    results: Results,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Where to build; default: a temporary folder.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="0.0.0.0 shows it to other machines.")] = "127.0.0.1",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the browser.")] = False,
    title: Title = "Leaderboard",
    reported: Reported = True,
    split: Split = "test",
) -> None:
    """Build the leaderboard and show it in the browser; a reload follows the result files.

    Example:
      harness-bench leaderboard serve runs/demo/results --open
    """
    from harness_bench.leaderboard.build import build
    from harness_bench.leaderboard.serve import serve

    make = partial(build, title=title, include_reported=reported, split=_chosen(split))
    serve(results, out, make, typer.echo, host=host, port=port, open_browser=open_browser)


@board_app.command("space")
def leaderboard_space(
    results: Results,
    out: Out,
    *,
    sdk: Annotated[
        Literal["static", "gradio"],
        typer.Option(help="The built page, or an app that builds it when it starts."),
    ] = "static",
    title: Title = "Leaderboard",
    reported: Reported = True,
    split: Split = "test",
    predictions: Annotated[
        bool, typer.Option(help="gradio: copy predictions (transcripts and labels) too.")
    ] = True,
) -> None:
    """Write a folder ready to push as a Hugging Face Space; nothing is uploaded.

    Example:
      harness-bench leaderboard space runs/demo/results space --title "Our lab's models"
    """
    from harness_bench.leaderboard.space import make_space

    problems = make_space(
        results, out, sdk=sdk, title=title, include_reported=reported, split=_chosen(split),
        predictions=predictions,
    )  # fmt: skip
    _tell_problems(problems)
    typer.echo(f"Space: {out}")
    raise typer.Exit(1 if problems else 0)


def _chosen(split: str) -> str | None:
    """Return the split to show, None for all."""
    return None if split == "all" else split


def _tell_problems(problems: dict[str, str]) -> None:
    """Name the result files that are left out."""
    for name, reason in problems.items():
        typer.echo(f"left out: {name}: {reason}", err=True)
