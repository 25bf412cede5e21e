"""The verbs of pretraining: presets, labels, iterations, families, learning curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness_bench.cli.help import Verbs
from harness_bench.cli.options import (
    Json,
    Out,
    arg,
    check_cuts,
    cuts_given,
    given,
    iteration_given,
    model_given,
    new_folder,
    opt,
    out_file,
    out_folder,
)

verbs = Verbs("Pretraining")

Cuts = Annotated[
    Path, arg("Folder written by `harness-bench prepare` or `shard`.", callback=cuts_given)
]
IterationFile = Annotated[
    Path, arg("TOML of one iteration, or a preset's name.", callback=iteration_given)
]
FamilyFile = Annotated[
    Path, arg("TOML of the family; docs/config.md lists its keys.", callback=given())
]
FamilyCuts = Annotated[
    Path | None, arg("Folder written by `prepare` or `shard`; default: the family's [data].")
]
Teacher = Annotated[
    Path | None,
    opt(
        "Teacher of the iteration: checkpoint, named model, or OWNER/NAME[@REVISION]; needed where "
        "labels come from hidden states or weights from a teacher.",
        callback=model_given(),
    ),
]
Split = Annotated[str, opt("Split of CUTS to read.", panel="Input")]
Restart = Annotated[
    bool,
    opt(
        "Delete a run in OUT that has another config or other inputs, and start again.",
        "--restart",
        panel="Training",
    ),
]
Adapt = Annotated[
    bool,
    opt(
        "Resume a run in OUT although lr, warm-up, clip_norm or max_update changed.",
        "--adapt",
        panel="Training",
    ),
]
Accelerator = Annotated[str, opt("Device to compute on: auto, cpu or cuda.", panel="Hardware")]
Devices = Annotated[
    int | None,
    opt(
        "Ranks on this machine; default: all GPUs, or 1 on CPU. Leave out under torchrun or SLURM.",
        panel="Hardware",
    ),
]


@verbs.command()
def models(*, as_json: Json = False) -> None:
    """List the paper's presets with their parameter counts.

    Shows exact counts beside the counts that the paper prints.

    Examples:
      harness-bench models
      harness-bench models --json
    """
    from harness_bench.pretrain.plan import preset_table, render_presets

    table = preset_table()
    typer.echo(json.dumps(table, indent=2) if as_json else render_presets(table))


@verbs.command()
def augment_preview(
    config: Annotated[
        Path,
        arg(
            "TOML with a table [pretrain.augment], or the name of a preset.",
            callback=iteration_given,
        ),
    ],
    audio: Annotated[
        Path,
        arg("Audio file, or folder written by `prepare`.", callback=given("file or folder")),
    ],
    out: Out,
    *,
    seed: Annotated[int, opt("Seed of all random draws.", min=0)] = 0,
    count: Annotated[int, opt("Utterances to draw from a folder.", min=1)] = 3,
    everything: Annotated[
        bool, opt("Also apply augmentations that the config turns off.", "--all")
    ] = False,
) -> None:
    """Write audio and spectrograms of each augmentation.

    Each utterance is written before and after every augmentation of the config.

    Examples:
      harness-bench augment-preview my_iteration.toml cuts/qasr runs/preview
      harness-bench augment-preview harness_l_it1 speech.wav runs/preview --all
    """
    from harness_bench.pretrain.augment import preview

    settings = preview.read_augment(config)
    chosen = preview.with_everything(settings) if everything else settings
    for picture in preview.preview(chosen, audio, out, seed=seed, count=count):
        typer.echo(f"{picture} and the wave files in {picture.with_suffix('')}")


@verbs.command()
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
    """Label audio with k-means, one label per 20 ms frame.

    Extracts MFCC or hidden states of the teacher, fits k-means, and writes labels as uint16.

    Examples:
      harness-bench labels harness_l_it1 cuts/qasr labels/it1
      harness-bench labels harness_st shar/qasr labels/st --teacher runs/it2/checkpoint
    """
    from harness_bench.pretrain import family as families

    made = families.label(
        config, cuts, out, teacher=teacher, split=split, accelerator=accelerator, devices=devices
    )
    typer.echo(f"{len(made)} utterances labelled: {out}")


@verbs.command()
def label_quality(
    label_folder: Annotated[
        Path,
        arg(
            "Folder written by `harness-bench labels`.",
            callback=given(
                "folder", "`harness-bench labels CONFIG CUTS OUT` writes such a folder."
            ),
        ),
    ],
    cuts: Cuts,
    *,
    units: Annotated[
        str | None,
        opt(
            "Units to compare with: text, alignment, a tier of it such as word, or a field of the "
            "cuts such as label; default: alignment, else text, where the cuts have them."
        ),
    ] = None,
    split: Split = "train",
    limit: Annotated[
        int | None, opt("Utterances to measure, drawn at random; default: all.", min=1)
    ] = None,
    out: Annotated[
        Path | None,
        out_folder("Folder for quality.json and quality.png; default: LABEL_FOLDER."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure and plot the purity and usage of k-means labels.

    Purity compares the labels with known units: phones, words, characters or another field.

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


@verbs.command()
def pretrain(
    config: IterationFile,
    cuts: Cuts,
    label_folder: Annotated[
        Path,
        arg('Folder written by `harness-bench labels`; not read where labels.source = "none".'),
    ],
    out: Out,
    *,
    teacher: Teacher = None,
    split: Split = "train",
    restart: Restart = False,
    adapt: Adapt = False,
    accelerator: Accelerator = "auto",
    devices: Devices = None,
) -> None:
    """Pretrain one iteration and export its checkpoint.

    The same command resumes an interrupted run.

    Example:
      harness-bench pretrain harness_l_it1 cuts/qasr labels/it1 runs/it1
    """
    from harness_bench.pretrain import family as families

    folder = families.train(
        config, cuts, label_folder, out, teacher=teacher, split=split, restart=restart,
        adapt=adapt, accelerator=accelerator, devices=devices,
    )  # fmt: skip
    typer.echo(f"Checkpoint: {folder}")


@verbs.command()
def family(
    config: FamilyFile,
    cuts: FamilyCuts = None,
    out: Annotated[
        Path | None, arg("Folder to write; default: runs/<name>.", callback=new_folder)
    ] = None,
    *,
    split: Split = "train",
    into: Annotated[
        Path | None,
        out_folder("The same as OUT, for use without CUTS.", "--out", panel="Output"),
    ] = None,
    only: Annotated[
        str | None, opt("Train only this iteration; default: all.", panel="Training")
    ] = None,
    labels_only: Annotated[
        bool, opt("Compute labels, and train nothing.", "--labels-only", panel="Training")
    ] = False,
    dry_run: Annotated[
        bool,
        opt(
            "Print GPU-hours and disk of every iteration; train nothing.", "--dry-run", panel="Plan"
        ),
    ] = False,
    hours: Annotated[
        float | None,
        opt("With --dry-run: hours of audio; default: what [data] declares.", panel="Plan"),
    ] = None,
    as_json: Json = False,
    restart: Restart = False,
    adapt: Adapt = False,
    seed: Annotated[
        int, opt("Offset added to every seed of the family.", min=0, panel="Training")
    ] = 0,
    accelerator: Accelerator = "auto",
    devices: Devices = None,
) -> None:
    """Label, pretrain and export every model of a family.

    Runs iteration by iteration. The same command keeps finished stages and resumes an interrupted
    one.

    Examples:
      harness-bench family my_family.toml cuts/qasr runs/family
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
    check_cuts(cuts, "CUTS")
    made = train_family(
        reseeded(found, seed), cuts, out or into, split=split, only=only, restart=restart,
        adapt=adapt, labels_only=labels_only, accelerator=accelerator, devices=devices,
    )  # fmt: skip
    typer.echo(made.times.summary())
    for name, folder in made.checkpoints.items():
        typer.echo(f"{name}: {folder}")


@verbs.command()
def figure2(
    config: FamilyFile,
    cuts: FamilyCuts = None,
    out: Annotated[
        Path | None, arg("Folder to write; default: runs/<name>_figure2.", callback=new_folder)
    ] = None,
    *,
    student: Annotated[
        str | None,
        opt("Iteration to compare; default: the last one with a teacher and without PCA."),
    ] = None,
    pca_dim: Annotated[
        int | None,
        opt("PCA dimensions; default: the family's, or half the teacher's width.", min=1),
    ] = None,
    split: Split = "train",
    restart: Restart = False,
    accelerator: Accelerator = "auto",
    devices: Devices = None,
) -> None:
    """Train a student with and without PCA labels (Figure 2).

    Trains from two initialisations each, and draws Figure 2 of the paper.

    Examples:
      harness-bench figure2 egs/harness/pretrain1/conf/figure2_tiny.toml cuts/cv_ar runs/figure2
      harness-bench figure2 my_family.toml cuts/qasr runs/family --student harness_st
    """
    check_cuts(cuts, "CUTS")
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


@verbs.command()
def curves(
    runs: Annotated[
        list[Path],
        arg(
            "Folders of pretraining runs or iterations, or folders of `probe`.",
            callback=given("folder"),
        ),
    ],
    out: Annotated[Path, out_file("Plot to write: .png, .svg or .pdf.")],
    *,
    field: Annotated[str, opt("Field of the training log to plot.")] = "loss_masked",
    title: Annotated[str | None, opt("Title of the plot; default: Pretraining or Heads.")] = None,
) -> None:
    """Plot the learning curves of several runs in one figure.

    Training curves are solid, dev curves dashed. Results of `probe-exports` have a panel per task.
    For folders of `probe`, the figure shows the learning curves of the heads.

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
