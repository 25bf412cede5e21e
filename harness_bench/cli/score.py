"""The verb `score`: classes, texts, and several systems side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from harness_bench.cli.help import Verbs
from harness_bench.cli.options import (
    Json,
    Paths,
    Texts,
    arg,
    given,
    in_file,
    opt,
    out_file,
    out_folder,
)

verbs = Verbs("Evaluation")
score_app = Verbs(help="Score predictions: classes or texts; compare systems.")
verbs.group("score", score_app)

Ids = Annotated[
    str,
    opt(
        "strict: all files must have the same ids; common: score the ids that all have.",
        panel="Scoring",
    ),
]
Cluster = Annotated[
    str | None,
    opt("Unit that intervals resample, such as speaker; written as --group is.", panel="Scoring"),
]
References = Annotated[
    Paths, in_file("File of references; repeat for each annotator.", panel="Input")
]
Encoding = Annotated[
    Texts,
    opt(
        "Encoding: auto, utf8 or buckwalter; one for all files, or one for hypotheses, then one "
        "per --ref.",
        panel="Input",
    ),
]
Format = Annotated[
    Texts,
    opt(
        "Format: auto, text, stm, ctm, jsonl or trn; one for all files, or one for hypotheses, "
        "then one per --ref.",
        "--format",
        panel="Input",
    ),
]


@score_app.command("cls")
def score_cls(
    predictions: Annotated[
        Path | None, in_file("Predictions in JSON lines, as `probe` writes them.")
    ] = None,
    *,
    pred: Annotated[
        Path | None,
        in_file("Predictions: lines `id label`, or JSON lines with id, pred and probs."),
    ] = None,
    cuts: Annotated[
        Path | None,
        opt(
            "With --pred: prepared cuts with the true labels.",
            callback=given("file or folder", "`harness-bench prepare` writes cuts."),
        ),
    ] = None,
    field: Annotated[
        str | None, opt("With --cuts: field with the true label; default: the one that fits.")
    ] = None,
    tsv: Annotated[
        Path | None, in_file("Tab-separated file with the columns id, truth and prediction.")
    ] = None,
    ids: Ids = "strict",
    plot: Annotated[
        Path | None, out_file("Plot of the confusion matrix to write: .png, .svg or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score class predictions: accuracy, macro-F1 and recall.

    Recall is the unweighted average over classes. Every score has a 95 % interval.

    Examples:
      harness-bench score cls --predictions runs/demo/probes/did/fbank/run/predictions.test.jsonl
      harness-bench score cls --pred pred.txt --cuts cuts/adi5/cuts.test.jsonl.gz --field dialect
      harness-bench score cls --tsv answers.tsv --plot confusion.png
    """
    from harness_bench.scoring.report import class_report

    if sum(map(bool, (predictions, pred or cuts or field, tsv))) != 1:
        raise typer.BadParameter("give one of --predictions, --tsv, or --pred with --cuts")
    if ids != "strict" and not pred:
        raise typer.BadParameter("--ids needs --pred and --cuts")
    if not (predictions or tsv or (pred and cuts)):
        raise typer.BadParameter("--pred needs --cuts, and --cuts needs --pred")
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
        Path | None,
        in_file("Predictions in JSON lines, a NeMo manifest, or counts.", panel="Input"),
    ] = None,
    *,
    hyp: Annotated[
        Path | None, in_file("File of hypotheses, instead of --predictions.", panel="Input")
    ] = None,
    ref: References = None,
    profile: Annotated[
        str, opt("Text normalisation: a profile, several joined by +, or all.", panel="Scoring")
    ] = "mgb2",
    ids: Ids = "strict",
    group: Annotated[
        Texts,
        opt(
            "Also score each group: FIELD, NAME=FILE (id and value), NAME:N (first N parts of the "
            "id) or code-switched; may be repeated.",
            panel="Scoring",
        ),
    ] = None,
    cluster: Cluster = None,
    encoding: Encoding = None,
    kind: Format = None,
    unscorable: Annotated[
        str,
        opt(
            "Rule for references that are not scored: none, open-asr or only-tags.",
            panel="Scoring",
        ),
    ] = "none",
    align: Annotated[
        Path | None, out_file("Word alignments to write: .html or .txt.", panel="Output")
    ] = None,
    counts: Annotated[
        Path | None,
        out_file("Edit counts of each utterance to write, without transcripts.", panel="Output"),
    ] = None,
    results: Annotated[
        Path | None,
        out_folder(
            "Folder for a result file with its predictions, for the leaderboard; needs --model and "
            "--corpus.",
            panel="Output",
        ),
    ] = None,
    model: Annotated[str | None, opt("Name of the leaderboard row.", panel="Result")] = None,
    corpus: Annotated[str | None, opt("Name of the corpus.", panel="Result")] = None,
    split: Annotated[str, opt("Split of the corpus.", panel="Result")] = "test",
    synthetic: Annotated[
        bool, opt("Mark the corpus as synthetic speech.", "--synthetic", panel="Result")
    ] = False,
    pretraining_data: Annotated[
        str, opt("Free text: what the recogniser was trained on.", panel="Result")
    ] = "",
    as_json: Json = False,
) -> None:
    """Score transcripts: WER and CER, with 95 % intervals.

    With several references, also AV-WER and MR-WER.

    Examples:
      harness-bench score asr --hyp hyp.ctm --ref ref.stm --align errors.html
      harness-bench score asr --hyp hyp --ref Ali --ref Omar --profile mgb3 --ids common
      harness-bench score asr --predictions predictions.test.jsonl --profile all
      harness-bench score asr --hyp ours.txt --ref ref.txt --results results --model ours
        --corpus mgb2
    """
    if results is None and (model or corpus):
        raise typer.BadParameter("--model and --corpus go with --results FOLDER")
    if results is not None and not (model and corpus):
        raise typer.BadParameter("--results needs --model and --corpus, which name the result")
    if predictions:
        if any((hyp, ref, group, cluster, encoding, kind, align, results, ids != "strict")):
            raise typer.BadParameter(
                "--predictions goes only with --profile, --unscorable, --counts and --json"
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
    from harness_bench.results.record import Result
    from harness_bench.scoring.report import asr_report
    from harness_bench.scoring.texts.score import Grouping, TranscriptFiles

    formats, encodings = tuple(kind or ["auto"]), tuple(encoding or ["auto"])
    files = TranscriptFiles(
        hypothesis=hyp, references=tuple(ref), formats=formats, encodings=encodings, ids=ids,
        unscorable=unscorable,
    )  # fmt: skip
    parts = Grouping(groups=tuple(group or []), cluster=cluster)
    publish_as = None
    if results and model and corpus:
        template = partial(
            Result, model=model, model_kind="other", task="asr", corpus=corpus, split=split,
            synthetic=synthetic, pretraining_data=pretraining_data, hardware="",
        )  # fmt: skip
        publish_as = template, results
    typer.echo(
        asr_report(
            files, profile=profile, grouping=parts, view=align, counts=counts,
            publish_as=publish_as, as_json=as_json,
        )
    )  # fmt: skip


@score_app.command("compare")
def score_compare(
    files: Annotated[
        list[Path],
        arg(
            "Predictions, or hypotheses with --ref, of the same utterances; one file per system.",
            callback=given(),
        ),
    ],
    *,
    ref: References = None,
    name: Annotated[
        Texts, opt("Name of a system; repeat in the order of FILES; default: from the paths.")
    ] = None,
    metric: Annotated[
        str | None,
        opt(
            "Metric to compare; default: accuracy for classes, wer for texts, mr_wer for several "
            "references."
        ),
    ] = None,
    profile: Annotated[str | None, opt("Text normalisation profile; default: mgb2.")] = None,
    ids: Ids = "strict",
    cluster: Cluster = None,
    encoding: Encoding = None,
    kind: Format = None,
    as_json: Json = False,
) -> None:
    """Compare two or more systems by paired tests.

    Prints ranks, differences, 95 % intervals and corrected p-values.

    Examples:
      harness-bench score compare base.ctm ours.ctm --ref ref.stm
      harness-bench score compare A.jsonl B.jsonl --metric wer --profile mgb2
      harness-bench score compare base.jsonl s.jsonl xs.jsonl --name base --name S --name XS --json
    """
    from harness_bench.scoring.report import compare_report
    from harness_bench.scoring.score import Against

    against = None
    if ref:
        against = Against(
            tuple(ref), profile, ids=ids, cluster=cluster,
            formats=tuple(kind or ["auto"]), encodings=tuple(encoding or ["auto"]),
        )  # fmt: skip
    elif any((cluster, encoding, kind, ids != "strict")):
        raise typer.BadParameter("--ids, --cluster, --encoding and --format go with --ref")
    typer.echo(
        compare_report(
            files, names=name or (), metric=metric, profile=profile, against=against,
            as_json=as_json,
        )
    )  # fmt: skip
