"""The verbs for checkpoints: export them, check and measure them, upload them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness_bench.cli.help import Verbs
from harness_bench.cli.options import (
    Json,
    Out,
    Texts,
    arg,
    cuts_given,
    given,
    in_file,
    model_given,
    opt,
    out_folder,
    refuse,
    results_given,
)

verbs = Verbs("Models")


@verbs.command()
def export(
    run: Annotated[
        Path,
        arg(
            "Pretraining run, fairseq .pt file, OWNER/NAME[@REVISION], or with --random a preset. "
            "With --to: checkpoint, folder of `probe`, or ASR model."
        ),
    ],
    out: Out,
    *,
    random: Annotated[
        bool, opt("Export an untrained model of a preset's shape.", "--random")
    ] = False,
    seed: Annotated[int, opt("With --random: seed of the weights.")] = 0,
    dtype: Annotated[
        Literal["float32", "float16"],
        opt("Precision of the weights; float16 is for frozen use and omits the pretraining head."),
    ] = "float32",
    card: Annotated[
        Path | None, in_file("TOML with licences and figures for the model card (README.md).")
    ] = None,
    results: Annotated[
        Path | None,
        out_folder(
            "Folder of results: those of the same weights, by digest, go into the model card. With "
            "--to: folder with the parent's result, to which the graph's result on --cuts is "
            "added; default: the probe's."
        ),
    ] = None,
    to: Annotated[
        Literal["onnx", "onnx-int8", "torchscript"] | None,
        opt("Export an ONNX graph, which runs without torch, or a TorchScript graph."),
    ] = None,
    cuts: Annotated[
        Path | None,
        opt("With --to: prepared cuts on which the graph is scored.", callback=cuts_given),
    ] = None,
    split: Annotated[str, opt("With --to: split of --cuts.")] = "test",
    upstream_checkpoint: Annotated[
        Path | None,
        opt(
            "With --to: checkpoint of the upstream of a head or ASR model, if it was moved.",
            callback=model_given(),
        ),
    ] = None,
) -> None:
    """Export a run as a checkpoint folder, or as a graph.

    s3prl and ESPnet open the checkpoint folder; its README lists further toolkits. With --to, OUT
    is a graph that contains the upstream (of an ASR model: encoder and CTC), checked against its
    parent, with size and speed of both.

    Examples:
      harness-bench export runs/it1 models/harness_l_it1
      harness-bench export runs/family/mini/run models/mini --dtype float16 --card card.toml
      harness-bench export facebook/hubert-base-ls960@main models/hubert_base
      harness-bench export runs/did models/did_int8 --to onnx-int8 --cuts cuts/adi5
    """
    if not random:
        from harness_bench.models.hub import check_known

        check_known(run, "RUN", pathless=to is not None)
    if to is not None:
        if random or dtype != "float32" or card is not None:
            refuse("--to", "it cannot be combined with --random, --dtype or --card; export that "
                   "model first, then the exported folder with --to")  # fmt: skip
        from harness_bench.deploy.run import export as to_graph

        typer.echo(
            to_graph(
                run,
                out,
                to,
                cuts=cuts,
                split=split,
                results=results,
                upstream_checkpoint=upstream_checkpoint,
            )
        )
        typer.echo(f"\nGraph: {out}")
        return
    if cuts is not None or upstream_checkpoint is not None:
        refuse("--to", "it is required with --cuts and --upstream-checkpoint")
    from harness_bench.pretrain import family as families

    families.export(run, out, random=random, seed=seed, dtype=dtype, card=card, results=results)
    typer.echo(f"Checkpoint: {out}")


@verbs.command()
def check_model(
    model: Annotated[str, arg("Checkpoint, named model, or OWNER/NAME[@REVISION].")],
    audio: Annotated[
        Path | None, arg("Audio file to check it on; default: generated audio.", callback=given())
    ] = None,
    *,
    costs: Annotated[bool, opt("Also measure speed and memory.", "--costs/--no-costs")] = True,
    as_json: Json = False,
) -> None:
    """Check that a checkpoint works as an upstream.

    Checks frame counts, features in a batch against features alone, determinism, input level, NaN
    and costs. The exit status is 1 where a check fails.

    Examples:
      harness-bench check-model models/harness_st
      harness-bench check-model facebook/hubert-base-ls960@main speech.wav
      harness-bench check-model models/harness_st --json > check.json
    """
    from harness_bench.models import hub

    # A program gets the check that failed.
    known = model if as_json else hub.locate(model, "MODEL", pathless=True)
    from harness_bench.core.tables import terminal_width
    from harness_bench.models import check
    from harness_bench.results.efficiency import cost_checks

    found = check.check_model(known, audio)
    if costs and check.passed(found):
        found += cost_checks(hub.locate(known, pathless=True))
    if as_json:
        typer.echo(json.dumps(check.report(model, found), indent=2))
    else:
        typer.echo(check.render(found, terminal_width()))
    raise typer.Exit(0 if check.passed(found) else 1)


@verbs.command()
def efficiency(
    folders: Annotated[
        list[Path],
        arg(
            "Checkpoints, named models, or OWNER/NAME[@REVISION].",
            callback=model_given(pathless=True),
        ),
    ],
    *,
    teacher: Annotated[
        Path | None, opt("Checkpoint of the teacher to compare with.", callback=model_given())
    ] = None,
    results: Annotated[
        Path | None,
        opt("With --teacher: folder of results, for retention.", callback=results_given),
    ] = None,
    into: Annotated[
        Path | None,
        out_folder(
            "Folder of results of these models, to which the costs are added.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure parameters, operations, speed and memory.

    With --teacher, also compression and the share of the teacher's scores that is retained.

    Examples:
      harness-bench efficiency models/harness_st --teacher models/harness_l --results runs/results
      harness-bench efficiency models/harness_st models/harness_s --into runs/results
      harness-bench efficiency models/harness_st --teacher facebook/hubert-large-ll60k
    """
    from harness_bench.core.tables import terminal_width
    from harness_bench.results.efficiency import compare_costs, render, write_into

    rows = compare_costs(folders, teacher, results)
    if as_json:
        typer.echo(json.dumps([vars(row) for row in rows], indent=2))
    else:
        typer.echo(render(rows, terminal_width()))
    for line in write_into(rows, into) if into else ():
        typer.echo(line, err=as_json)


@verbs.command()
def push(
    folder: Annotated[
        Path,
        arg(
            "Folder of `harness-bench export`, or in transformers' format.",
            callback=given("folder", "`harness-bench export` writes such a folder."),
        ),
    ],
    repo: Annotated[str, arg("Repository OWNER/NAME on the Hugging Face Hub.")],
    *,
    dry_run: Annotated[
        bool, opt("Show the files and the model card; upload nothing.", "--dry-run")
    ] = False,
    results: Annotated[
        Path | None,
        opt(
            "Folder of results; those of the same weights go into the model card.",
            callback=results_given,
        ),
    ] = None,
    licence: Annotated[str, opt("SPDX licence of the weights; default: the card's.")] = "",
    language: Annotated[Texts, opt("ISO 639-1 language code; may be repeated.")] = None,
    public: Annotated[
        bool, opt("Make a new repository public; default: private.", "--public")
    ] = False,
    costs: Annotated[
        bool, opt("Measure speed and memory for the card.", "--costs/--no-costs")
    ] = True,
) -> None:
    """Upload a checkpoint to the Hugging Face Hub.

    Writes a model card and uploads the files of the checkpoint in one commit; other files of the
    folder are not uploaded. A new repository is private unless --public is given.

    Examples:
      harness-bench push models/harness_st lab/harness-st --dry-run --results runs/results
      harness-bench push models/harness_st lab/harness-st --results runs/results
        --licence cc-by-4.0 --language ar
    """
    from harness_bench.deploy import push as pushing

    parcel = pushing.pack_up(
        folder, repo, results=results, licence=licence, languages=language or (), costs=costs
    )
    typer.echo(parcel)
    if dry_run:
        typer.echo(f"\n{parcel.card}")
        return
    typer.echo(f"Pushed: {pushing.push(parcel, public=public)}")
