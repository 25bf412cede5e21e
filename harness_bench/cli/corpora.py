"""The verbs for corpora: prepare them, check prepared ones, draw subsets, write shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from harness_bench.cli.help import Verbs
from harness_bench.cli.options import (
    Json,
    Out,
    Paths,
    Texts,
    arg,
    cuts_given,
    dumped,
    in_file,
    opt,
    out_file,
    out_folder,
    refuse,
)
from harness_bench.core.sanitize import escaped

verbs = Verbs("Data")

Folders = Annotated[
    list[Path], arg("Folders written by `prepare` or `shard`.", callback=cuts_given)
]


@verbs.command()
def corpora(
    names: Annotated[Texts, arg("Corpora to describe in detail; default: list all.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the corpora that `prepare` reads.

    With NAMES: the files that each expects on disk, its options, licence and published figures.

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


@verbs.command()
def prepare(
    corpus: Annotated[str, arg("Name of the corpus layout; `harness-bench corpora` lists all.")],
    folder: Annotated[
        str, arg("Folder of the data; for hf also OWNER/NAME[@REVISION] or a preset's name.")
    ],
    out: Out,
    *,
    option: Annotated[
        Texts, opt("Option of this corpus layout, as name=value; may be repeated.")
    ] = None,
    require: Annotated[
        Texts, opt("Skip utterances without this field, such as text; may be repeated.")
    ] = None,
    exclude: Annotated[
        Paths, in_file("File of utterance ids to skip, one per line; may be repeated.")
    ] = None,
    max_skipped: Annotated[
        float, opt("Fail if more than this share of the utterances is skipped, 0 to 1.")
    ] = 0.05,
    jobs: Annotated[int, opt("Files to check in parallel; 0: one per CPU core.")] = 0,
    audio: Annotated[
        Literal["decode", "header"],
        opt("decode: read all audio; header: trust the file headers, which is faster."),
    ] = "decode",
) -> None:
    """Check a corpus on disk and write it as lhotse cuts.

    Writes cuts.SPLIT.jsonl.gz, report.json, and skipped.tsv with the reason for each utterance.

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


@verbs.command()
def corpora_doctor(
    folders: Folders,
    *,
    out: Annotated[
        Path | None,
        out_folder("Folder for the report, with one FOLDER only; default: FOLDER/doctor."),
    ] = None,
    audio: Annotated[
        str, opt("Audio to decode: all, none, or the number of utterances per split.")
    ] = "all",
    known: Annotated[
        Path | None,
        in_file("TOML of expected figures; default: the published ones of the corpus."),
    ] = None,
    table1: Annotated[
        bool, opt("Compare hours with Table 1 of the paper, and do nothing else.", "--table1")
    ] = False,
    min_seconds: Annotated[float, opt("List utterances shorter than this, in seconds.")] = 0.5,
    max_seconds: Annotated[float, opt("List utterances longer than this, in seconds.")] = 60.0,
    jobs: Annotated[int, opt("Files to decode in parallel; 0: one per CPU core.")] = 0,
    as_json: Json = False,
) -> None:
    """Compare prepared corpora with published figures.

    Also checks the audio, and writes doctor.md, doctor.json, findings.tsv and plots. The exit
    status is 1 if a figure differs, or if audio is missing, broken, silent or was changed after
    `prepare`. Clipping, unusual lengths and unusual sampling rates are only noted. With --table1,
    the exit status is 1 if hours differ by more than 2 %.

    Examples:
      harness-bench corpora-doctor cuts/adi5
      harness-bench corpora-doctor cuts/qasr --audio 1000
      harness-bench corpora-doctor --table1 cuts/qasr cuts/mgb2 cuts/mgb3 cuts/ksu cuts/adi5
    """
    if table1:
        _table_1(folders, as_json=as_json)
    if out is not None and len(folders) > 1:
        refuse("--out", "it takes one folder; leave it out for several")
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


@verbs.command()
def audit(
    sets: Annotated[
        list[str],
        arg(
            "[NAME=]PATH[:SPLIT][@IDS]; PATH is a prepared folder, a Shar folder, a cuts file or "
            "a list of ids."
        ),
    ],
    *,
    report: Annotated[Path | None, out_file("Markdown report to write.")] = None,
    write_lists: Annotated[
        Path | None, out_folder("Folder for leaked.SET.txt, one list of leaking ids per set.")
    ] = None,
    allow: Annotated[
        Texts, opt("Report this kind of leak, such as speaker, but do not fail; may be repeated.")
    ] = None,
    long_text: Annotated[
        int, opt("Length from which an equal text is a leak, in words.", min=1)
    ] = 12,
    listen: Annotated[bool, opt("Read all audio and compare acoustic fingerprints.")] = True,
    speeds: Annotated[
        str, opt("Range of speed factors at which copies are found: LOW-HIGH, or none.")
    ] = "0.9-1.1",
    jobs: Annotated[int, opt("Files to read in parallel; 0: one per CPU core.", min=0)] = 0,
    cache: Annotated[
        Path | None,
        out_folder("Folder in which fingerprints are cached.", envvar="HARNESS_FINGERPRINT_CACHE"),
    ] = None,
    cache_mb: Annotated[
        int,
        opt(
            "Largest size of the cache folder, in MiB.",
            envvar="HARNESS_FINGERPRINT_CACHE_MB",
            min=1,
        ),
    ] = 20_480,
    as_json: Json = False,
) -> None:
    """Find speakers, recordings, audio or texts that sets share.

    Compares train, dev, test and pretraining sets with each other. The exit status is 1 if anything
    leaks.

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


@verbs.command()
def subset(
    folders: Folders,
    out: Out,
    *,
    hours: Annotated[
        Texts, opt("Hours to draw: 300; or NAME=HOURS, repeated, for several disjoint subsets.")
    ] = None,
    share: Annotated[str | None, opt("Share of all hours to draw, such as 30%.")] = None,
    by: Annotated[
        str | None, opt("Field, such as speaker or cluster, whose values no two subsets share.")
    ] = None,
    language: Annotated[
        Texts, opt("Ratio of the hours by language: LANGUAGE=WEIGHT, repeated.")
    ] = None,
    split: Annotated[str, opt("Split to draw from.")] = "train",
    seed: Annotated[int, opt("Seed of the draw.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Draw a number of hours from prepared cuts at random.

    Exact to one utterance; the rule, seed and digest are written beside the cuts. Equal cuts and
    seed give equal subsets, and a larger subset of the same seed contains every smaller one.

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


@verbs.command()
def shard(
    cuts: Annotated[Path, arg("Folder written by `harness-bench prepare`.", callback=cuts_given)],
    out: Out,
    *,
    split: Annotated[str, opt("Split to read.")] = "train",
    shard_cuts: Annotated[int, opt("Utterances per shard.", min=1)] = 1000,
    seed: Annotated[int, opt("Seed of the random order of utterances.")] = 0,
) -> None:
    """Write a split as lhotse Shar, for thousands of hours.

    Shar stores audio and cuts in large tar files, which are read in sequence.

    Example:
      harness-bench shard cuts/qasr shar/qasr
    """
    from harness_bench.cuts.shar import write_shards
    from harness_bench.cuts.store import read_cuts

    made = write_shards(read_cuts(cuts, split), out, shard_cuts=shard_cuts, seed=seed)
    hours = sum(sum(each.hours.values()) for each in made)
    typer.echo(f"{len(made)} shards, {hours:.2f} h: {out}")


def _name_and_value(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        refuse("--option", f"{text!r} is not name=value")
    return name, value


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
        refuse("--share", f"{text!r} is not a share such as 30%")
    if percent < 1 and "%" not in text:  # 0.3 may be meant as 30 % or as 0.3 %
        sure = f"{100 * percent:g}% or {text.strip()}%"
        refuse("--share", f"{text!r} is below 1 without a sign: write {sure}")
    return percent
