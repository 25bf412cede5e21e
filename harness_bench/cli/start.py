"""The verbs to begin with: `demo` and `doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness_bench.cli.help import Verbs
from harness_bench.cli.options import Json, given, in_file, opt, out_folder
from harness_bench.cli.study import run_study

verbs = Verbs("Start")


@verbs.command()
def demo(
    data: Annotated[
        Path | None, in_file("TOML of a study on your own data; default: synthetic speech.")
    ] = None,
    out: Annotated[Path | None, out_folder("Run folder; default: runs/<name>.")] = None,
    jobs: Annotated[
        int | None, opt("Single-threaded jobs at a time; default: one per CPU core.", min=1)
    ] = None,
    data_root: Annotated[
        Path | None,
        opt(
            "Folder that contains the data; default: the TOML's data_root.",
            callback=given("folder"),
        ),
    ] = None,
    seed: Annotated[
        int | None,
        opt("Offset added to every seed of models and heads; default: the TOML's.", min=0),
    ] = None,
    minutes: Annotated[
        float | None,
        opt("Start no job after this many minutes; then show what is finished.", min=0),
    ] = None,
) -> None:
    """Run every stage on synthetic speech, corpus to leaderboard.

    Examples:
      harness-bench demo
      harness-bench demo --data egs/demo/real_arabic.toml
      harness-bench demo --seed 1 --out runs/demo_seed1
    """
    run_study(data, out, jobs=jobs, data_root=data_root, seed=seed, minutes=minutes)


@verbs.command()
def doctor(*, as_json: Json = False) -> None:
    """Report versions, devices, and what is missing here.

    Libraries that are not installed are listed with what needs them and how to install them. The
    exit status is 1 if something that is installed does not work.

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
