"""Turn a corpus on disk into checked cuts: every audio file is opened, every loss is explained."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, override

from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass

from harness_bench import corpora
from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.core import config as configs
from harness_bench.core.files import read_ids, read_settings, write_json, write_text
from harness_bench.core.log import bar, say
from harness_bench.core.own_files import FILES, own_files, replacing
from harness_bench.core.sanitize import visible
from harness_bench.core.workdir import PROVENANCE, write_provenance
from harness_bench.corpora.base import AUDIO, USUAL_SPLITS, Reason, Skipped, Utterance
from harness_bench.corpora.check import Checked, Limits, check, check_header
from harness_bench.corpora.formats.raw_files import refuse_archive
from harness_bench.corpora.splits import (
    ID_FILES,
    SPLIT_FILE,
    files_of_splits,
    list_files,
    write_split,
)
from harness_bench.corpora.writer import REFERENCES, PreparedSplits
from harness_bench.cuts.store import CUTS_FILES, REPORT, SKIPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from harness_bench.corpora.base import Corpus, Opened
    from harness_bench.cuts.table import SplitReport
    from harness_bench.leakage.compare import Pair

_ALWAYS = (REPORT, SKIPPED, PROVENANCE)
_WRITTEN = (CUTS_FILES, ID_FILES, SPLIT_FILE, f"{REFERENCES}/*.txt", *_ALWAYS)
_BATCH = 2048  # utterances handed to the workers at a time
_NOT_IN_IDS = re.compile(r"[\s/\x00-\x1f\x7f]")
_SHOWN = 5  # offenders named in an error
_SKIPPED_COLUMNS = ("id", "reason", "detail", "audio", "where")


@config_dataclass(frozen=True, config=configs.STRICT)
class PrepareConfig:
    """Settings of `prepare`.

    Attributes:
        max_skipped: largest share of utterances that may be skipped, 0 to 1; more is an error.
            Utterances skipped by the corpus's own rule or by `exclude` do not count.
        limits: requirements on the audio; None: the corpus's own, or else the defaults.
        require: fields every utterance must have: text, speaker, gender, language or any other
            field of the corpus, such as label.
        exclude: files of utterance ids to skip, one per line, such as the leaks that
            `harness-bench audit` lists.
        options: options of the corpus layout, by name.
        jobs: audio files checked in parallel; 0: one per CPU core.
        audio: decode: read every sample; header: trust the file headers, which takes minutes
            instead of hours, but finds neither silence nor damage nor duplicate audio.
    """

    max_skipped: float = Field(default=0.05, ge=0, le=1)
    limits: Limits | None = None
    require: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    jobs: int = Field(default=0, ge=0)
    audio: Literal["decode", "header"] = "decode"


@dataclass(frozen=True)
class EndsEarly:
    """A recording that ends before some of its segments do, as after a download cut off."""

    audio: str
    segments: int  # left out
    seconds: float  # of these segments
    detail: str  # of the first of them

    @override
    def __str__(self) -> str:
        return (
            f"{self.audio} ends early: {self.segments} of its segments left out, "
            f"{self.seconds:.1f} s ({self.detail})"
        )


def _length(hours: float) -> str:
    """Return a length in hours, or in minutes where two decimals of an hour say little."""
    return f"{hours:.2f} h" if hours >= 0.1 else f"{60 * hours:.1f} min"  # noqa: PLR2004


@dataclass(frozen=True)
class PrepareReport:
    """One run of `prepare` in figures; the same run on the same data gives the same report."""

    corpus: str
    root: str
    complete: bool  # False: too much was skipped and no cuts were written
    found: int
    kept: int
    skipped: dict[str, int]  # reason -> utterances
    skipped_list: tuple[Skipped, ...]
    max_skipped: float
    resampled: dict[str, int]  # original rate in Hz -> utterances
    mixed_down: int  # utterances with several channels
    ends_early: tuple[EndsEarly, ...]  # recordings, by path
    splits: dict[str, SplitReport]
    speaker_disjoint: bool | None  # None: no speakers known, or one split
    leakage: tuple[Pair, ...]

    @property
    def share_skipped(self) -> float:
        """Share of the utterances found that were left out, 0 to 1."""
        left_out = sum(item.counts for item in self.skipped_list)
        return left_out / self.found if self.found else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        figures = asdict(replace(self, leakage=()))
        leakage = [pair.to_dict() for pair in self.leakage]
        return {**figures, "leakage": leakage, "share_skipped": round(self.share_skipped, 6)}

    def write(self, folder: Path) -> None:
        """Write report.json and skipped.tsv into `folder`."""
        rows = [_SKIPPED_COLUMNS]
        rows += [tuple(getattr(item, name) for name in rows[0]) for item in self.skipped_list]
        lines = ("\t".join(map(visible, row)) for row in rows)
        write_text(folder / SKIPPED, "\n".join(lines) + "\n")
        write_json(folder / REPORT, self.to_dict())

    def summary(self) -> str:
        """Say in a few lines what was kept, skipped and changed."""
        lines = [f"{self.corpus}: kept {self.kept} of {self.found} utterances"]
        lines += [
            f"  {name}: {split.utterances} utterances, {_length(split.hours)}, "
            f"{split.speakers} speakers"
            for name, split in self.splits.items()
        ]
        lines += [f"  skipped, {reason}: {count}" for reason, count in self.skipped.items()]
        lines += [f"  resampled from {rate} Hz: {count}" for rate, count in self.resampled.items()]
        if self.mixed_down:
            lines.append(f"  channels averaged: {self.mixed_down}")
        lines += [f"  {recording}" for recording in self.ends_early[:_SHOWN]]
        if (more := len(self.ends_early) - _SHOWN) > 0:
            lines.append(f"  and {more} more recordings that end early")
        lines += [f"  {pair}" for pair in self.leakage if pair.findings]
        return "\n".join(lines)


def prepare(
    name: str,
    root: str | Path,
    out: str | Path,
    config: PrepareConfig | None = None,
    **settings: Any,
) -> PrepareReport:
    """Check a corpus on disk and write its cuts, report, skipped list and provenance.

    The same data give byte-identical cuts. Audio is not copied: cuts contain absolute paths.

    Args:
        name: corpus layout, one of `corpora.available()`.
        root: its folder; for the layout hf also OWNER/NAME[@REVISION], or a preset.
        out: folder to write, created if missing; cuts of an earlier run in it are replaced.
        config: settings, see `PrepareConfig`.
        settings: fields of `PrepareConfig`, which override `config`: require=["text"], jobs=4.

    Raises:
        ValueError: an unknown corpus or option, a missing list to exclude, another layout, or
            more than `max_skipped` skipped. In the last case report.json and skipped.tsv are
            still written, but no cuts.
    """
    config = config or PrepareConfig()
    if settings:
        whole = configs.resolved(config) | settings
        config = configs.build(PrepareConfig, whole, source="prepare")
    kind = corpora.get(name)
    options = configs.typed(kind, config.options)
    corpus = configs.build(kind, options, source=f"options of corpus {name}")
    out = Path(out)
    earlier = own_files(out, _WRITTEN, lambda: _of_older(out))
    corpus, folder, called, settled = _opened(corpus, root, out)
    limits = config.limits or getattr(corpus, "limits", Limits())
    config = replace(config, limits=limits, options={**config.options, **settled})
    rule = getattr(corpus, "split_rule", None)
    source = corpus.utterances(folder)
    found = list(source) if rule else source
    with PreparedSplits(out, corpus.splits) as kept:
        skipped = []
        for item in _check_all(_select(found, corpus.splits, config), config, f"checking {name}"):
            if isinstance(item, Skipped):
                skipped.append(item)
            else:
                kept.add(item)
        report = _report(name, called, kept, skipped, config)
        cuts = kept.filled() if report.complete else []
        ids = _ids(found) if rule else {}
        files = [*_ALWAYS, *list_files(ids), *(name for split in cuts for name in split.files())]
        with replacing(out, earlier, files):
            report.write(out)
            for split in cuts:
                split.write(out)
            if rule:
                write_split(out, rule, ids)
            write_provenance(
                out,
                config=configs.resolved(config),
                seed=None,
                inputs={"utterances": kept.digest()},
                extra={FILES: sorted(files)},
            )
    if not report.complete:
        raise ValueError(_too_many(report, out))
    return report


def _of_older(out: Path) -> list[str]:
    """Return patterns of what versions before, which noted no list of files, wrote there."""
    about = read_settings(out / REPORT)
    names = [*(about.get("splits") or {}), *USUAL_SPLITS] if "corpus" in about else []
    return [*_ALWAYS, SPLIT_FILE, *files_of_splits(names, f"{REFERENCES}/*.*.txt")]


def _opened(
    corpus: Corpus, root: str | Path, out: Path
) -> tuple[Corpus, Path, str, dict[str, str]]:
    """Return a corpus with its folder, what the report calls that, and options it settled."""
    opener: Callable[[str, Path], Opened] | None = getattr(corpus, "opened", None)
    if opener is None:
        refuse_archive(Path(root).absolute())
        folder = Path(root).absolute()
        return corpus, folder, str(folder), {}
    found = opener(str(root), out / AUDIO)
    return found, found.root, found.called, found.options


def _select(
    found: Iterable[Utterance | Skipped], splits: tuple[str, ...], config: PrepareConfig
) -> Iterator[Utterance | Skipped]:
    """Leave out what needs no audio to be judged: listed and repeated ids, splits, fields."""
    seen: dict[str, str] = {}
    excluded = {uid: file for file in config.exclude for uid in read_ids(Path(file))}
    unmet = {*excluded}
    for item in found:
        unmet.discard(item.id)
        if isinstance(item, Skipped):
            yield item
            continue
        if item.id in excluded:
            yield item.skipped(Reason.EXCLUDED, f"by {excluded[item.id]}")
        else:
            yield _judge(item, seen, splits, config) or item
        seen.setdefault(item.id, item.where)
    if unmet:
        # Usual for a list of many corpora, yet also what a list in another spelling looks like.
        say(f"{len(unmet)} ids of the lists to exclude match nothing, first {min(unmet)!r}")


def _judge(
    item: Utterance, seen: dict[str, str], splits: tuple[str, ...], config: PrepareConfig
) -> Skipped | None:
    """Return why an utterance is left out by its description alone; None keeps it."""
    if not item.id or _NOT_IN_IDS.search(item.id):
        return item.skipped(Reason.BAD_ROW, "the id is empty or has a space or a slash in it")
    if item.id in seen:
        detail = f"already used by {seen[item.id]}; this is {item.where}"
        return item.skipped(Reason.DUPLICATE_ID, detail)
    if item.split not in splits:
        detail = f"{item.split!r} is none of {', '.join(splits)}"
        return item.skipped(Reason.BAD_SPLIT, detail)
    if absent := [field for field in config.require if not item.field(field)]:
        return item.skipped(Reason.MISSING_FIELD, ", ".join(absent))
    return None


def _check_all(
    items: Iterable[Utterance | Skipped], config: PrepareConfig, title: str
) -> Iterator[Checked | Skipped]:
    """Check the audio of all utterances with several threads, keeping their order."""
    limits = config.limits or Limits()
    judge = check if config.audio == "decode" else check_header

    def job(item: Utterance | Skipped) -> Checked | Skipped:
        return item if isinstance(item, Skipped) else judge(item, limits)

    if config.audio == "header":  # A file's header serves all its utterances: no time to share.
        yield from bar(map(job, items), title=title, unit="utt")
        return
    # Threads suffice: decoding and hashing release the interpreter lock.
    with ThreadPoolExecutor(config.jobs or os.cpu_count()) as workers:
        results = (result for batch in batched(items, _BATCH) for result in workers.map(job, batch))
        yield from bar(results, title=title, unit="utt")


def _report(
    name: str, root: str, kept: PreparedSplits, skipped: list[Skipped], config: PrepareConfig
) -> PrepareReport:
    found, pairs = len(kept) + sum(item.counts for item in skipped), kept.leakage()
    tables = [split.table for split in kept.filled()]
    speakers_known = len(tables) > 1 and all(table.hashes("speaker").all() for table in tables)
    shared = any("speaker" in pair.kinds for pair in pairs)
    faults = sum(item.fault for item in skipped)
    rates = sorted(kept.rates.items())
    return PrepareReport(
        corpus=name,
        root=root,
        complete=len(kept) > 0 and faults <= config.max_skipped * found,
        found=found,
        kept=len(kept),
        skipped=dict(sorted(Counter(str(item.reason) for item in skipped).items())),
        skipped_list=tuple(skipped),
        max_skipped=config.max_skipped,
        resampled={str(rate): count for rate, count in rates if rate != SAMPLE_RATE},
        mixed_down=kept.mixed_down,
        ends_early=_ends_early(skipped),
        splits={table.name: table.describe() for table in tables},
        speaker_disjoint=not shared if speakers_known else None,
        leakage=pairs,
    )


def _ends_early(skipped: list[Skipped]) -> tuple[EndsEarly, ...]:
    """Name each recording that segments reach beyond once, with what it costs."""
    lost: dict[str, list[Skipped]] = defaultdict(list)
    for item in skipped:
        if item.reason == Reason.OUTSIDE:
            lost[item.audio].append(item)
    return tuple(
        EndsEarly(audio, len(items), round(sum(item.seconds for item in items), 3), items[0].detail)
        for audio, items in sorted(lost.items())
    )


def _ids(found: Iterable[Utterance | Skipped]) -> dict[str, set[str]]:
    """Return split -> ids of what the rule gives for the files there are, whatever their audio."""
    ids: dict[str, set[str]] = defaultdict(set)
    for item in found:
        if isinstance(item, Utterance):
            ids[item.split].add(item.id)
    return ids


def _too_many(report: PrepareReport, out: Path) -> str:
    reasons = ", ".join(f"{reason}: {count}" for reason, count in report.skipped.items())
    faults = [item for item in report.skipped_list if item.fault]
    shown = [
        f"  {visible(item.id)}: {item.reason} ({visible(item.detail)})" for item in faults[:_SHOWN]
    ]
    place = f"{report.corpus} at {report.root}"
    if not report.found:
        return f"{place}: it names no utterance. Is it the right folder, and its table filled?"
    head = (
        f"{place}: {len(faults)} of {report.found} utterances had to be left out ({reasons}); "
        + (f"at most {report.max_skipped:.0%} may be." if report.kept else "none is left.")
    )
    head += " The first:" if shown else ""
    shown += [f"  {recording}" for recording in report.ends_early[:_SHOWN]]
    tail = f"All are listed in {out / SKIPPED}. Mend them, or allow more with --max-skipped."
    return "\n".join([head, *shown, tail])
