"""The verbs that make models: label, pretrain, run a family, export; parsing and printing alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness_bench.cli.options import (
    Json,
    Out,
    Texts,
    arg,
    new_folder,
    opt,
    out_file,
    out_folder,
    refuse,
)

Cuts = Annotated[Path, arg("Folder made by `harness-bench prepare` or `shard`.")]
LabelFolder = Annotated[Path, arg("Folder made by `harness-bench labels`.")]
IterationFile = Annotated[Path, arg("TOML of one iteration, or a preset's name.")]
FamilyFile = Annotated[Path, arg("TOML of the family.")]
FamilyCuts = Annotated[Path | None, arg("Prepared or sharded folder; default: its [data].")]
Teacher = Annotated[Path | None, opt("Checkpoint, named model, or OWNER/NAME[@REVISION].")]
Split = Annotated[str, opt("Split to read.")]
Restart = Annotated[bool, opt("Replace other runs in OUT.")]
Adapt = Annotated[
    bool, opt("Go on with a run of another lr, warm-up, clip_norm or max_update.", "--adapt")
]
Accelerator = Annotated[str, opt("auto, cpu or cuda.")]
Devices = Annotated[int | None, opt("Ranks on this machine.")]


def shard(
    cuts: Annotated[Path, arg("Folder made by `harness-bench prepare`.")],
    out: Out,
    *,
    split: Split = "train",
    shard_cuts: Annotated[int, opt("Utterances per shard.", min=1)] = 1000,
    seed: Annotated[int, opt("Seed of the random order.")] = 0,
) -> None:
    """Write a split as lhotse Shar: audio in large files, for thousands of hours.

    Example:
      harness-bench shard cuts/qasr shar/qasr
    """
    from harness_bench.cuts.shar import write_shards
    from harness_bench.cuts.store import read_cuts

    made = write_shards(read_cuts(cuts, split), out, shard_cuts=shard_cuts, seed=seed)
    hours = sum(sum(each.hours.values()) for each in made)
    typer.echo(f"{len(made)} shards, {hours:.2f} h: {out}")


def labels(
    config: IterationFile,
    cuts: Cuts,
    out: Out,
    *,
    teacher: Teacher = None,
    split: Split = "train",
    accelerator: Accelerator = "auto",
    devices: Devices = None,
) -> None:
    """Label audio for pretraining: features, k-means, one uint16 per 20 ms.

    Examples:
      harness-bench labels harness_l_it1 cuts/qasr labels/it1
      harness-bench labels harness_st shar/qasr labels/st --teacher runs/it2/checkpoint
    """
    from harness_bench.pretrain import family as families

    made = families.label(
        config, cuts, out, teacher=teacher, split=split, accelerator=accelerator, devices=devices
    )
    typer.echo(f"{len(made)} utterances labelled: {out}")


def label_quality(
    label_folder: LabelFolder,
    cuts: Cuts,
    *,
    units: Annotated[
        str | None,
        opt(
            "What to measure against: text, alignment, a level of it such as word, or a field "
            "such as label. Default: alignment, else text, where the cuts have them."
        ),
    ] = None,
    split: Split = "train",
    limit: Annotated[int | None, opt("Measure this many random utterances.", min=1)] = None,
    out: Annotated[
        Path | None,
        out_folder("Where quality.json and .png go; default: with the labels."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how clusters are used and how pure they are against known units; plot it.

    Examples:
      harness-bench label-quality labels/it2 cuts/qasr
      harness-bench label-quality labels/it2 cuts/asc40 --units label --json
    """
    from harness_bench.pretrain.data.sources import open_folder
    from harness_bench.pretrain.labels import quality

    folder = out or label_folder
    report = quality.label_quality(
        label_folder, open_folder(cuts, split), folder, units=units, limit=limit
    )
    typer.echo(json.dumps(report, indent=2) if as_json else quality.render_quality(report))
    typer.echo(f"Plot: {folder / quality.PLOT_FILE}", err=as_json)


def pretrain(
    config: IterationFile,
    cuts: Cuts,
    label_folder: LabelFolder,
    out: Out,
    *,
    teacher: Teacher = None,
    split: Split = "train",
    restart: Restart = False,
    adapt: Adapt = False,
    accelerator: Accelerator = "auto",
    devices: Devices = None,
) -> None:
    """Train one iteration and export it; an interrupted run resumes.

    Example:
      harness-bench pretrain harness_l_it1 cuts/qasr labels/it1 runs/it1
    """
    from harness_bench.pretrain import family as families

    folder = families.train(
        config, cuts, label_folder, out, teacher=teacher, split=split, restart=restart,
        adapt=adapt, accelerator=accelerator, devices=devices,
    )  # fmt: skip
    typer.echo(f"Checkpoint: {folder}")


def family(
    config: FamilyFile,
    cuts: FamilyCuts = None,
    out: Annotated[Path | None, arg("Default: runs/<name>.", callback=new_folder)] = None,
    *,
    split: Split = "train",
    into: Annotated[
        Path | None, out_folder("OUT, where CUTS is left to the family's [data].", "--out")
    ] = None,
    only: Annotated[str | None, opt("Make only this iteration.")] = None,
    labels_only: Annotated[bool, opt("Make labels, and train nothing.", "--labels-only")] = False,
    dry_run: Annotated[bool, opt("Print the plan, for --devices ranks.", "--dry-run")] = False,
    hours: Annotated[float | None, opt("Hours of audio, for the plan.")] = None,
    as_json: Json = False,
    restart: Restart = False,
    adapt: Adapt = False,
    seed: Annotated[int, opt("Added to all seeds: the same family by other chances.", min=0)] = 0,
    accelerator: Accelerator = "auto",
    devices: Devices = None,
) -> None:
    """Make a whole family of models: labels, pretraining, export, iteration by iteration.

    Examples:
      harness-bench family egs/harness/pretrain1/conf/family_tiny.toml
      harness-bench family my_family.toml cuts/qasr runs/family
      harness-bench family my_family_with_data.toml --out runs/family
      harness-bench family egs/harness/pretrain1/conf/family.toml --dry-run
      torchrun --nproc-per-node 8 -m harness_bench.cli family my_family.toml shar/qasr runs/family
    """
    from harness_bench.pretrain.config import load_family, reseeded
    from harness_bench.pretrain.family import check_starts, train_family
    from harness_bench.pretrain.plan import plan, render_plan

    found = load_family(config)
    if dry_run:
        check_starts(found)
        rows = plan(found, hours, devices)
        typer.echo(json.dumps(rows, indent=2) if as_json else render_plan(rows))
        return
    made = train_family(
        reseeded(found, seed), cuts, out or into, split=split, only=only, restart=restart,
        adapt=adapt, labels_only=labels_only, accelerator=accelerator, devices=devices,
    )  # fmt: skip
    typer.echo(made.times.summary())
    for name, folder in made.checkpoints.items():
        typer.echo(f"{name}: {folder}")


def export(
    run: Annotated[
        Path, arg("Run, fairseq's .pt file, OWNER/NAME[@REVISION], or with --random a preset.")
    ],
    out: Out,
    *,
    random: Annotated[bool, opt("An untrained model of a preset's shape.")] = False,
    seed: Annotated[int, opt("Seed of the untrained weights.")] = 0,
    dtype: Annotated[
        Literal["float32", "float16"],
        opt("float16: half the size, for frozen use; without the pretraining head."),
    ] = "float32",
    card: Annotated[
        Path | None, opt("TOML with licences and figures, for a folder to give away.")
    ] = None,
    results: Annotated[
        Path | None,
        out_folder(
            "Results folder: those of these weights, by digest, go into the README. With --to: "
            "the parent's, beside whose result on the cuts the graph's goes; default: a probe's."
        ),
    ] = None,
    to: Annotated[
        Literal["onnx", "onnx-int8", "torchscript"] | None,
        opt("A graph that runs without torch, or without this project; checked and measured."),
    ] = None,
    cuts: Annotated[Path | None, opt("With --to: prepared cuts to measure it on.")] = None,
    split: Annotated[str, opt("Split of the cuts.")] = "test",
    upstream_checkpoint: Annotated[
        Path | None, opt("With --to: the upstream of a head or an ASR model, if it was moved.")
    ] = None,
) -> None:
    """Write a run's model as a folder that s3prl and ESPnet open; its README says what else does.

    With --to, RUN is a checkpoint, a folder of `probe` or an ASR model, and OUT a graph of it with
    its upstream in it (of ASR: CTC), with differences, size and speed beside the parent's.

    Examples:
      harness-bench export runs/it1 models/harness_l_it1
      harness-bench export runs/it1 models/harness_l_it1_half --dtype float16
      harness-bench export runs/family/mini/run models/mini --dtype float16 --card card.toml
      harness-bench export hubert_base_ls960.pt models/hubert_base
      harness-bench export harness_st models/random_st --random
      harness-bench export facebook/hubert-base-ls960@main models/hubert_base
      harness-bench export harness_mini models/mini_int8 --to onnx-int8
      harness-bench export runs/did models/did_int8 --to onnx-int8 --cuts cuts/adi5
      harness-bench export model.zip models/asr_int8 --to onnx-int8 --cuts cuts/mgb3
    """
    if to is not None:
        if random or dtype != "float32" or card is not None:
            refuse("--to", "it takes neither --random, --dtype nor --card; export that model "
                   "first, then the folder with --to")  # fmt: skip
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
        refuse("--to", "it is missing: --cuts and --upstream-checkpoint are of graphs alone")
    from harness_bench.pretrain import family as families

    families.export(run, out, random=random, seed=seed, dtype=dtype, card=card, results=results)
    typer.echo(f"Checkpoint: {out}")


def figure2(
    config: FamilyFile,
    cuts: FamilyCuts = None,
    out: Annotated[Path | None, arg("Default: runs/<name>_figure2.", callback=new_folder)] = None,
    *,
    student: Annotated[
        str | None, opt("Default: the last one with a teacher and without PCA.")
    ] = None,
    pca_dim: Annotated[
        int | None, opt("Default: as in the family, or half the teacher's.", min=1)
    ] = None,
    split: Split = "train",
    restart: Restart = False,
    accelerator: Accelerator = "auto",
    devices: Devices = None,
) -> None:
    """Train a student with and without PCA labels, from two starts; draw the paper's Figure 2.

    Examples:
      harness-bench figure2 egs/harness/pretrain1/conf/figure2_tiny.toml cuts/cv_ar runs/figure2
      harness-bench figure2 my_family.toml cuts/qasr runs/family --student harness_st
    """
    from harness_bench.core.stage_times import StageTimes
    from harness_bench.pretrain import figure2 as figures
    from harness_bench.pretrain.config import load_family

    found = figures.compare(load_family(config), student=student, pca_dim=pca_dim)
    folder, times = out or Path("runs") / found.family.name, StageTimes()
    report = figures.make_figure(
        found, cuts, folder, times=times, split=split, restart=restart, accelerator=accelerator,
        devices=devices,
    )  # fmt: skip
    typer.echo(times.summary())
    typer.echo(figures.render(report, folder))


def curves(
    runs: Annotated[list[Path], arg("Folders of runs or iterations; or of `probe`.")],
    out: Annotated[Path, out_file("Picture to write: .png, .svg or .pdf.")],
    *,
    field: Annotated[str, opt("Field of the training log.")] = "loss_masked",
    title: Annotated[str | None, opt("Title of the plot.")] = None,
) -> None:
    """Draw the curves of any runs together: training, and dev dashed where a run validates.

    What `probe-exports` found has a panel for each task. Folders of `probe` show how heads learned.

    Examples:
      harness-bench curves runs/family/harness_s runs/family/harness_st --out curves.png
      harness-bench curves runs/did runs/ser --out heads.png
    """
    from harness_bench.pretrain.curves import plot_runs
    from harness_bench.probing.curves import draw_heads, is_grid

    if all(map(is_grid, runs)):
        draw_heads(runs, out, title or "Heads")
    else:
        plot_runs(runs, out, title=title or "Pretraining", field=field)
    typer.echo(f"Curves: {out}")


def efficiency(
    folders: Annotated[list[Path], arg("Checkpoints, named models, or OWNER/NAME[@REVISION].")],
    *,
    teacher: Annotated[Path | None, opt("Checkpoint to compare with.")] = None,
    results: Annotated[Path | None, opt("Results folder, for retention.")] = None,
    into: Annotated[
        Path | None,
        out_folder(
            "Results folder: write the costs into its results.", exists=True, file_okay=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure what models cost: size, operations, real-time factor, memory; against a teacher too.

    Examples:
      harness-bench efficiency models/harness_st --teacher models/harness_l --results runs/results
      harness-bench efficiency models/harness_st models/harness_s --into runs/results
      harness-bench efficiency models/harness_st --teacher facebook/hubert-large-ll60k
    """
    from harness_bench.results.efficiency import compare_costs, render, write_into

    rows = compare_costs(folders, teacher, results)
    typer.echo(json.dumps([vars(row) for row in rows], indent=2) if as_json else render(rows))
    for line in write_into(rows, into) if into else ():
        typer.echo(line, err=as_json)


def push(
    folder: Annotated[Path, arg("Folder of `harness-bench export`, or of transformers.")],
    repo: Annotated[str, arg("OWNER/NAME on the Hugging Face Hub.")],
    *,
    dry_run: Annotated[bool, opt("Show files and card; send nothing.", "--dry-run")] = False,
    results: Annotated[
        Path | None, opt("Results folder: those of these weights, by digest, go into the card.")
    ] = None,
    licence: Annotated[str, opt("Of the weights (SPDX); default: the card's.")] = "",
    language: Annotated[Texts, opt("ISO 639-1; again for more.")] = None,
    public: Annotated[bool, opt("Make a new repository for all to see.", "--public")] = False,
    costs: Annotated[bool, opt("Measure speed and memory.", "--costs/--no-costs")] = True,
) -> None:
    """Give a checkpoint away on the Hugging Face Hub, with a card of the facts.

    What belongs to the checkpoint goes out, in one commit; the rest of the folder stays here. A
    new repository is private unless --public.

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


def check_model(
    model: Annotated[str, arg("A checkpoint, a named model, or OWNER/NAME[@REVISION].")],
    audio: Annotated[Path | None, arg("What to check it on; default: made-up audio.")] = None,
    *,
    costs: Annotated[bool, opt("Measure speed and memory too.", "--costs/--no-costs")] = True,
    as_json: Json = False,
) -> None:
    """Check a checkpoint as an upstream: frames, batches, chance, level, NaN, costs.

    The exit status is 1 where a check fails.

    Examples:
      harness-bench check-model models/harness_st
      harness-bench check-model facebook/hubert-base-ls960@main speech.wav
      harness-bench check-model models/harness_st --json > check.json
    """
    from harness_bench.models import check, hub
    from harness_bench.results.efficiency import cost_checks

    path = hub.locate(model)
    found = check.check_model(path, audio)
    if costs and check.passed(found):
        found += cost_checks(path)
    told = json.dumps(check.report(model, found), indent=2) if as_json else check.render(found)
    typer.echo(told)
    raise typer.Exit(0 if check.passed(found) else 1)


# In the order of `harness-bench --help`.
TRAINING_VERBS = (
    shard, labels, label_quality, pretrain, family, figure2, curves, export, push, efficiency,
    check_model,
)  # fmt: skip
