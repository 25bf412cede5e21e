"""The verbs `score`, `results` and `leaderboard`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from harness_bench.cli.options import (
    Json,
    Out,
    Paths,
    Texts,
    arg,
    dumped,
    left_out,
    new_folder,
    opt,
    out_file,
    out_folder,
)

score_app = typer.Typer(no_args_is_help=True, help="Score predictions, and compare systems.")
records_app = typer.Typer(
    no_args_is_help=True, help="Result files: `validate`, `add`, `list`, `diff`, `schema`."
)
board_app = typer.Typer(no_args_is_help=True, help="Build, show or host the leaderboard.")

Ids = Annotated[str, opt("strict, or common: score the ids that all files have.")]
Results = Annotated[Path, arg("Folder of result files.")]
Title = Annotated[str, opt("The page's heading.")]
Reported = Annotated[bool, opt("Add the paper's figures.")]
Split = Annotated[str, opt("Split to show, or `all`.")]
HideLeaking = Annotated[
    bool, opt("Leave out of tables and ranks what was trained on its test data.", "--hide-leaking")
]


@score_app.command("cls")
def score_cls(
    predictions: Annotated[Path | None, opt("JSON lines of ClassPrediction.")] = None,
    *,
    pred: Annotated[Path | None, opt("Lines `id label`, or JSON with id, pred, probs.")] = None,
    cuts: Annotated[Path | None, opt("The truth: prepared cuts.")] = None,
    field: Annotated[
        str | None, opt("Field of the cuts with the true label; default: the one that fits.")
    ] = None,
    tsv: Annotated[Path | None, opt("Columns id, truth, prediction.")] = None,
    ids: Ids = "strict",
    plot: Annotated[Path | None, out_file("Picture of the confusion matrix.")] = None,
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
    predictions: Annotated[
        Path | None, opt("TextPrediction, a manifest, or shared counts.")
    ] = None,
    *,
    hyp: Annotated[Path | None, opt("Hypotheses, instead of predictions.")] = None,
    ref: Annotated[Paths, opt("References; once per annotator.")] = None,
    profile: Annotated[str, opt("Text profile, several joined by +, or `all`.")] = "mgb2",
    ids: Ids = "strict",
    group: Annotated[
        Texts, opt("Rows per group: FIELD, NAME=FILE, NAME:N or code-switched.")
    ] = None,
    cluster: Annotated[str | None, opt("Unit of intervals and tests, written as --group.")] = None,
    encoding: Annotated[Texts, opt("auto, utf8 or buckwalter; once, or once per file.")] = None,
    kind: Annotated[
        Texts, opt("auto, text, stm, ctm, jsonl or trn; once or per file.", "--format")
    ] = None,
    unscorable: Annotated[
        str, opt("Leave out references by a rule: none, open-asr or only-tags.")
    ] = "none",
    align: Annotated[Path | None, out_file("Alignments: OUT.html or OUT.txt.")] = None,
    counts: Annotated[
        Path | None, out_file("Counts of each utterance, to share without transcripts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score texts: WER, CER and, for several references, AV-WER and MR-WER, with 95 % intervals.

    Examples:
      harness-bench score asr --hyp hyp.ctm --ref ref.stm --align errors.html
      harness-bench score asr --hyp hyp --ref Ali --ref Omar --profile mgb3 --ids common
      harness-bench score asr --predictions predictions.test.jsonl --profile all
      harness-bench score asr --predictions nemo_manifest.json --profile unicode-clean+oual-2026
      harness-bench score asr --predictions MODEL.jsonl --profile all --counts MODEL.counts.jsonl
    """
    if predictions:
        if any((hyp, ref, group, cluster, encoding, kind, align, ids != "strict")):
            raise typer.BadParameter(
                "--predictions goes with --profile, --unscorable, --counts and --json alone"
            )
        from harness_bench.scoring.report import text_report

        typer.echo(
            text_report(
                predictions, profile=profile, unscorable=unscorable, counts=counts, as_json=as_json
            )
        )
        return
    if not hyp or not ref:
        raise typer.BadParameter("give --hyp and --ref, or --predictions")
    from harness_bench.scoring.report import asr_report
    from harness_bench.scoring.texts.score import Grouping, TranscriptFiles

    formats, encodings = tuple(kind or ["auto"]), tuple(encoding or ["auto"])
    files = TranscriptFiles(
        hypothesis=hyp, references=tuple(ref), formats=formats, encodings=encodings, ids=ids,
        unscorable=unscorable,
    )  # fmt: skip
    parts = Grouping(groups=tuple(group or []), cluster=cluster)
    typer.echo(
        asr_report(
            files, profile=profile, grouping=parts, view=align, counts=counts, as_json=as_json
        )
    )


@score_app.command("compare")
def score_compare(
    files: Annotated[list[Path], arg("Predictions of the same utterances, a file per system.")],
    *,
    name: Annotated[Texts, opt("Name of each system, in order; default: from the paths.")] = None,
    metric: Annotated[str | None, opt("Default: accuracy of classes, wer of texts.")] = None,
    profile: Annotated[str | None, opt("Text profile; default: mgb2.")] = None,
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
    paths: Annotated[list[Path], arg("Result files, or folders of them.")],
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
        found = [asdict(problem) for problem in problems]
        typer.echo(dumped({"files": count, "problems": found}))
    else:
        for problem in problems:
            typer.echo(str(problem))
        bad = len({problem.file for problem in problems})
        typer.echo(f"{count} files checked, {len(problems)} problems in {bad} of them")
    raise typer.Exit(1 if problems else 0)


@records_app.command("add")
def results_add(
    file: Annotated[Path, arg("The result file.")],
    folder: Annotated[Path, arg("Folder of results to add it to.", callback=new_folder)],
    *,
    replace: Annotated[
        bool, opt("Overwrite a different result of the same identity.", "--replace")
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
    folder: Annotated[Path, arg("Folder of results.")],
    *,
    task: Annotated[str | None, opt("Only this task's.")] = None,
    model: Annotated[str | None, opt("Only this model's.")] = None,
    as_json: Json = False,
) -> None:
    """List results with their main figures, intervals, and whether measured or reported.

    Files that are no valid results are named on stderr; then the exit status is 1.

    Example:
      harness-bench results list runs/demo/results --task asr
    """
    from harness_bench.results.manage import list_results, render

    rows, problems = list_results(folder, task=task, model=model)
    typer.echo(dumped(rows) if as_json else render(rows))
    left_out(problems)
    raise typer.Exit(1 if problems else 0)


@records_app.command("diff")
def results_diff(
    first: Annotated[Path, arg("Folder of results, or one file.")],
    second: Annotated[Path, arg("The same kind of thing.")],
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
        typer.echo(dumped([asdict(difference) for difference in differences]))
    for difference in () if as_json else differences:
        typer.echo(str(difference))
    left_out(problems)
    raise typer.Exit(1 if differences or problems else 0)


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
    """Write tables (Markdown, CSV, LaTeX), plots and a static page.

    Example:
      harness-bench leaderboard build runs/demo/results runs/demo/leaderboard
    """
    from harness_bench.leaderboard.build import build

    files = build(
        results, out, **_shown(title, split, reported=reported, hide_leaking=hide_leaking)
    )
    left_out(map(": ".join, files.problems.items()))
    typer.echo(f"Leaderboard: {files.html}")
    raise typer.Exit(1 if files.problems else 0)


@board_app.command("serve")
def leaderboard_serve(
    results: Results,
    *,
    out: Annotated[Path | None, out_folder("Where to build; default: a temporary folder.")] = None,
    port: Annotated[int, opt("0: any free one.", min=0, max=65535)] = 8000,
    host: Annotated[str, opt("0.0.0.0 shows it to other machines.")] = "127.0.0.1",
    open_browser: Annotated[bool, opt("Open the browser.", "--open")] = False,
    title: Title = "Leaderboard",
    reported: Reported = True,
    split: Split = "test",
    hide_leaking: HideLeaking = False,
) -> None:
    """Build the leaderboard and show it in the browser; a reload follows the result files.

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
        Literal["static", "gradio"], opt("The built page, or an app that builds it when it starts.")
    ] = "static",
    title: Title = "Leaderboard",
    reported: Reported = True,
    split: Split = "test",
    hide_leaking: HideLeaking = False,
    predictions: Annotated[
        bool, opt("gradio: copy predictions (transcripts and labels) too.")
    ] = True,
) -> None:
    """Write a folder ready to push as a Hugging Face Space; nothing is uploaded.

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
