"""The verb `audit` of the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness_bench.cli_results import Json


def audit(
    sets: Annotated[
        list[str],
        typer.Argument(help="[NAME=]PATH[:SPLIT][@IDS]: prepared or Shar folder, cuts, id list."),
    ],
    *,
    report: Annotated[Path | None, typer.Option(help="Markdown page to write.")] = None,
    write_lists: Annotated[
        Path | None, typer.Option(help="Folder for leaked.SET.txt: the ids of what leaks.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Kind that is told and no leak, such as speaker.")
    ] = None,
    long_text: Annotated[
        int, typer.Option(help="Words from which an equal text is a leak.", min=1)
    ] = 12,
    listen: Annotated[bool, typer.Option(help="Read all audio and compare how it sounds.")] = True,
    jobs: Annotated[int, typer.Option(help="Files read at a time; 0: all cores.", min=0)] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(envvar="HARNESS_FINGERPRINT_CACHE", help="Folder to keep fingerprints in."),
    ] = None,
    cache_mb: Annotated[
        int,
        typer.Option(envvar="HARNESS_FINGERPRINT_CACHE_MB", help="MiB it may take.", min=1),
    ] = 20_480,
    as_json: Json = False,
) -> None:
    """Find what train, dev, test and pretraining sets share: speakers, recordings, audio, texts.

    The exit status is 1 if anything leaks.

    Examples:
      harness-bench audit cuts/adi5
      harness-bench audit shar/pretraining cuts/mgb2:dev cuts/mgb2:test --report leakage.md
      harness-bench audit cuts/train_set cuts/mgb2:test --write-lists leaked --cache cache
    """
    from harness_bench.audit.fingerprints import Fingerprints  # noqa: PLC0415
    from harness_bench.audit.lists import write_lists as write  # noqa: PLC0415
    from harness_bench.audit.run import audit as run  # noqa: PLC0415
    from harness_bench.files import write_text  # noqa: PLC0415

    known = Fingerprints(cache, cache_mb)
    found = run(
        sets, listen=listen, long_text=long_text, allow=allow or [], jobs=jobs, fingerprints=known
    )
    known.tell()
    if report is not None:
        write_text(report, found.markdown())
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
    else:
        typer.echo(found.text())
    if write_lists is not None:  # last: what lists cannot hold must not cost the report
        write(found, write_lists)
    raise typer.Exit(1 if found.leaks else 0)
