"""The verbs of the command line for corpora: list them, examine prepared ones, draw lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harness_bench.cli.options import (
    Json,
    Out,
    Texts,
    arg,
    dumped,
    opt,
    out_file,
    out_folder,
    refuse,
)


def audit(
    sets: Annotated[
        list[str], arg("[NAME=]PATH[:SPLIT][@IDS]: prepared or Shar folder, cuts, id list.")
    ],
    *,
    report: Annotated[Path | None, out_file("Markdown page to write.")] = None,
    write_lists: Annotated[
        Path | None, out_folder("Folder for leaked.SET.txt, the ids that leak.")
    ] = None,
    allow: Annotated[Texts, opt("Report but do not fail on this kind, such as speaker.")] = None,
    long_text: Annotated[int, opt("Shortest equal text that is a leak, in words.", min=1)] = 12,
    listen: Annotated[bool, opt("Read all audio and compare fingerprints.")] = True,
    speeds: Annotated[str, opt("Speeds of copies to listen for: LOW-HIGH, or none.")] = "0.9-1.1",
    jobs: Annotated[int, opt("Files read at a time; 0: all cores.", min=0)] = 0,
    cache: Annotated[
        Path | None,
        out_folder("Folder to keep fingerprints in.", envvar="HARNESS_FINGERPRINT_CACHE"),
    ] = None,
    cache_mb: Annotated[
        int, opt("Size limit of that folder in MiB.", envvar="HARNESS_FINGERPRINT_CACHE_MB", min=1)
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
    from harness_bench.core.files import write_text
    from harness_bench.leakage.audit import audit as run
    from harness_bench.leakage.audit import write_lists as write
    from harness_bench.leakage.fingerprints import Fingerprints
    from harness_bench.leakage.index import speed_range

    known = Fingerprints(cache, cache_mb)
    found = run(
        sets,
        listen=listen,
        long_text=long_text,
        allow=allow or [],
        jobs=jobs,
        cache=known,
        speeds=speed_range(speeds),
    )
    known.tell()
    if report is not None:
        write_text(report, found.markdown())
    typer.echo(dumped(found.to_dict()) if as_json else found.text())
    if write_lists is not None:  # last: what lists cannot hold must not cost the report
        write(found, write_lists)
    raise typer.Exit(1 if found.leaks else 0)


Folders = Annotated[list[Path], arg("Folders made by `prepare` or `shard`.")]


def corpora(
    names: Annotated[Texts, arg("Only these; default: all.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the corpora that `prepare` knows and what each expects on disk; NAMES shows details.

    Examples:
      harness-bench corpora
      harness-bench corpora adi5 qasr
    """
    from dataclasses import asdict

    from harness_bench.corpora.doctor import catalogue

    entries = catalogue.catalogue(names or ())
    typer.echo(
        dumped([asdict(entry) for entry in entries])
        if as_json
        else catalogue.render(entries, full=bool(names))
    )


def corpora_doctor(
    folders: Folders,
    *,
    out: Annotated[
        Path | None,
        out_folder("Where to write, of one folder; default: its `doctor`."),
    ] = None,
    audio: Annotated[
        str, opt("Audio to decode: all, none, or a number of utterances per split.")
    ] = "all",
    known: Annotated[
        Path | None, opt("TOML of expected figures instead of the corpus's own.")
    ] = None,
    table1: Annotated[bool, opt("Compare with the paper's Table 1.", "--table1")] = False,
    min_seconds: Annotated[float, opt("List shorter utterances.")] = 0.5,
    max_seconds: Annotated[float, opt("List longer utterances.")] = 60.0,
    jobs: Annotated[int, opt("Files decoded at a time; 0: all cores.")] = 0,
    as_json: Json = False,
) -> None:
    """Compare prepared corpora with published figures, and check their audio.

    Writes doctor.md, doctor.json, findings.tsv and plots. The exit status is 1 if a figure
    differs or audio is missing, broken, silent or not what was prepared; clipping, unusual lengths
    and rates are notes. With --table1 it is 1 if hours are more than 2 % off.

    Examples:
      harness-bench corpora-doctor cuts/adi5
      harness-bench corpora-doctor cuts/qasr --audio 1000
      harness-bench corpora-doctor --table1 cuts/qasr cuts/mgb2 cuts/mgb3 cuts/ksu cuts/adi5
    """
    if table1:
        _table_1(folders, as_json=as_json)
    if out is not None and len(folders) > 1:
        refuse("--out", "goes with one folder")
    from harness_bench.corpora.doctor.examine import FOLDER, examine
    from harness_bench.corpora.doctor.listen import Listening
    from harness_bench.corpora.doctor.report import summary

    bounds = {"min_seconds": min_seconds, "max_seconds": max_seconds}
    chosen: Any = int(audio) if audio.isdecimal() else audio  # the config refuses what is no choice
    config = Listening(audio=chosen, jobs=jobs, **bounds)
    rows, sound = [], True
    for folder in folders:
        found = examine(folder, out, config, known)
        sound = sound and found.sound
        rows.append(found.to_dict())
        if not as_json:
            typer.echo(f"{folder}\n{summary(found)}\nReport: {out or folder / FOLDER}/doctor.md")
    if as_json:
        typer.echo(dumped(rows))
    raise typer.Exit(0 if sound else 1)


def subset(
    folders: Folders,
    out: Out,
    *,
    hours: Annotated[Texts, opt("300, or train=300 and again dev=6 for two pieces.")] = None,
    share: Annotated[str | None, opt("Share of all hours, such as 30%.")] = None,
    by: Annotated[
        str | None, opt("Keep together: pieces share no cluster, speaker or other field.")
    ] = None,
    language: Annotated[Texts, opt("ar=2 and again en=1: the parts of the hours.")] = None,
    split: Annotated[str, opt("Split to draw from.")] = "train",
    seed: Annotated[int, opt("Seed of the draw.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Draw hours of cuts, exact to one utterance; write them with the rule, seed and digest.

    Whoever has the same cuts gets the same list. Of one seed, more hours hold all of fewer.

    Examples:
      harness-bench subset cuts/qasr cuts/qasr_300h --hours 300 --seed 1
      harness-bench subset cuts/qasr cuts/pieces --hours train=300 --hours dev=6 --by cluster
      harness-bench subset cuts/cv_ar cuts/libri cuts/both --language ar=1 --language en=1
    """
    amounts = dict(_amount(text, split, "--hours") for text in hours or [])
    weights = dict(_amount(text, "", "--language") for text in language or [])
    from harness_bench.core.config import build
    from harness_bench.corpora.subset import Wanted
    from harness_bench.corpora.subset import subset as run

    values: dict[str, Any] = {
        "split": split, "hours": amounts, "share": _percent(share), "by": by,
        "languages": weights, "seed": seed,
    }  # fmt: skip
    drawn = run(folders, out, build(Wanted, values, source="subset"))
    typer.echo(json.dumps(drawn.to_dict(), indent=2) if as_json else drawn.summary())


def _table_1(folders: list[Path], *, as_json: bool) -> None:
    from dataclasses import asdict

    from harness_bench.corpora.doctor.examine import reproduce

    table = reproduce(folders)
    typer.echo(json.dumps(asdict(table), indent=2) if as_json else table.render())
    raise typer.Exit(0 if table.sound else 1)


def _amount(text: str, name: str, option: str) -> tuple[str, float]:
    """Read NAME=NUMBER, or a number alone where there is a name for it."""
    before, found, after = text.rpartition("=")
    before = before if found else name
    try:
        number = float(after)
    except ValueError:
        number = None
    if number is None or not before:
        refuse(option, f"{text!r} is not {'a number or ' if name else ''}NAME=NUMBER")
    return before, number


def _percent(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        refuse("--share", f"{text!r} is no share such as 30%")
    if percent < 1 and "%" not in text:  # 0.3 may be meant as 30 % or as 0.3 %
        sure = f"{100 * percent:g}% or {text.strip()}%"
        refuse("--share", f"{text!r} is below 1 without a sign: write {sure}")
    return percent


CORPORA_VERBS = (corpora, corpora_doctor, subset, audit)
