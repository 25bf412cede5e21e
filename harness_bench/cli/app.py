"""The `harness-bench` command: one verb per stage; parsing and printing, no work.

Nothing heavy is imported before a verb runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness_bench.cli.corpora import CORPORA_VERBS
from harness_bench.cli.models import predict, probe, probe_exports, transcribe
from harness_bench.cli.options import Json, Out, Paths, Texts, arg, opt, out_folder, refuse
from harness_bench.cli.score import board_app, records_app, score_app
from harness_bench.cli.study import run_all, run_study, study_app
from harness_bench.cli.train import TRAINING_VERBS
from harness_bench.core.sanitize import escaped
from harness_bench.core.version import __version__

STOPPED = 130  # what typer makes of a KeyboardInterrupt

app = typer.Typer(
    name="harness-bench",
    help=(
        "Arabic self-supervised speech models: pretrain, distil, benchmark, compare.\n\n"
        "Start with `harness-bench demo`; then the same steps on your own data: prepare, family "
        "(or labels and pretrain), export, score, leaderboard. `study` is all of them for many "
        "models and tasks, `run-all` one more model in a study."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(score_app, name="score")
app.add_typer(records_app, name="results")
app.add_typer(board_app, name="leaderboard")
app.add_typer(study_app, name="study")


@app.callback(invoke_without_command=True)
def root(*, version: Annotated[bool, opt("Print the version.", "--version")] = False) -> None:
    """Parse the options that stand before the verb."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    data: Annotated[
        Path | None, opt("TOML of a study on your data; default: synthetic speech.")
    ] = None,
    out: Annotated[Path | None, out_folder("Run folder; default: runs/<name>.")] = None,
    jobs: Annotated[int | None, opt("Single-threaded jobs to run in parallel.", min=1)] = None,
    data_root: Annotated[
        Path | None, opt("Folder that holds the data, instead of the TOML's.")
    ] = None,
    seed: Annotated[
        int | None, opt("Added to all seeds of models and heads, instead of the TOML's.", min=0)
    ] = None,
    minutes: Annotated[
        float | None, opt("Begin no job later than this; show what is finished.", min=0)
    ] = None,
) -> None:
    """Run the main job: corpus, pretraining, heads, ASR, scores, leaderboard.

    Examples:
      harness-bench demo
      harness-bench demo --data egs/demo/real_arabic.toml
      harness-bench demo --seed 1 --out runs/demo_seed1
      harness-bench demo --data egs/evidence/gpu.toml --jobs 10 --minutes 5.5
    """
    run_study(data, out, jobs=jobs, data_root=data_root, seed=seed, minutes=minutes)


@app.command()
def doctor(*, as_json: Json = False) -> None:
    """Report versions and devices, what is missing and how to install it.

    Example:
      harness-bench doctor
    """
    from harness_bench.cli.doctor import diagnose

    findings = diagnose()
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], indent=2))
    for finding in findings if not as_json else []:
        typer.echo(f"{finding.verdict:<8} {finding.name:<16} {finding.detail}")
    raise typer.Exit(1 if any(finding.verdict == "broken" for finding in findings) else 0)


@app.command()
def models(*, as_json: Json = False) -> None:
    """List the paper's presets with exact parameter counts beside the printed ones.

    Examples:
      harness-bench models
      harness-bench models --json
    """
    from harness_bench.pretrain.plan import preset_table, render_presets

    table = preset_table()
    typer.echo(json.dumps(table, indent=2) if as_json else render_presets(table))


@app.command()
def prepare(
    corpus: Annotated[str, arg("Layout of the data: tsv, folder, ...")],
    folder: Annotated[
        str, arg("Where the data are; for hf also OWNER/NAME[@REVISION] or a preset.")
    ],
    out: Out,
    *,
    option: Annotated[Texts, opt("The corpus's own option, as name=value.")] = None,
    require: Annotated[Texts, opt("Leave out utterances that lack this field.")] = None,
    exclude: Annotated[Paths, opt("Leave out the utterance ids that this file lists.")] = None,
    max_skipped: Annotated[float, opt("Fail if a larger share is left out.")] = 0.05,
    jobs: Annotated[int, opt("Files checked at a time; 0: all cores.")] = 0,
    audio: Annotated[
        Literal["decode", "header"],
        opt("decode reads all audio; header trusts the files' headers."),
    ] = "decode",
) -> None:
    """Check a corpus on disk and write cuts, a report and the list of what was skipped.

    Examples:
      harness-bench prepare tsv data/my_corpus cuts/my_corpus
      harness-bench prepare tsv data/cv_ar cuts/cv_ar --option manifest=asr.tsv --require text
      harness-bench prepare hf casablanca cuts/casablanca --option config=Egypt,Jordan
    """
    from harness_bench.corpora.prepare import prepare as run

    report = run(
        corpus, folder, out, options=dict(map(_name_and_value, option or [])),
        require=require or [], exclude=[str(file.absolute()) for file in exclude or []],
        max_skipped=max_skipped, jobs=jobs, audio=audio,
    )  # fmt: skip
    typer.echo(escaped(report.summary()))


def _name_and_value(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        refuse("--option", f"{text!r} is not name=value")
    return name, value


for verb in (run_all, *CORPORA_VERBS, *TRAINING_VERBS, probe, probe_exports, predict, transcribe):
    app.command()(verb)


@app.command()
def augment_preview(
    config: Annotated[Path, arg("TOML with a table [pretrain.augment], or a preset's name.")],
    audio: Annotated[Path, arg("Audio file, or folder made by `prepare`.")],
    out: Out,
    *,
    seed: Annotated[int, opt("Seed of all random choices.", min=0)] = 0,
    count: Annotated[int, opt("Utterances to take from a folder.", min=1)] = 3,
    everything: Annotated[bool, opt("Turn on what the config leaves off.", "--all")] = False,
) -> None:
    """Write audio and spectrograms before and after each augmentation.

    Examples:
      harness-bench augment-preview my_iteration.toml cuts/qasr runs/preview
      harness-bench augment-preview harness_l_it1 speech.wav runs/preview --all
    """
    from harness_bench.pretrain.augment import preview

    settings = preview.read_augment(config)
    chosen = preview.with_everything(settings) if everything else settings
    for picture in preview.preview(chosen, audio, out, seed=seed, count=count):
        typer.echo(f"{picture} and the wave files in {picture.with_suffix('')}")


def _keep_examples(group: typer.Typer) -> None:
    """Mark the examples in every help, so that they are not wrapped like prose."""
    for command in group.registered_commands:
        if command.callback is not None:
            # Click leaves a paragraph alone that begins with a line of one backspace.
            command.callback.__doc__ = re.sub(
                r"\n( *)(Examples?:)", "\n\\1\x08\n\\1\\2", command.callback.__doc__ or ""
            )
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _keep_examples(inner.typer_instance)


_keep_examples(app)


def main() -> None:
    """Run the command; a user's mistake is one message, not a traceback."""
    try:
        app()
    except (ValueError, RuntimeError, OSError) as error:
        typer.echo(f"harness-bench: {escaped(str(error))}", err=True)
        sys.exit(2)
    except SystemExit as over:
        if over.code == STOPPED:
            # SLURM ends all ranks once one has gone; the status is to say that nothing failed.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            typer.echo("harness-bench: stopped; run the same command again to go on.", err=True)
        raise
