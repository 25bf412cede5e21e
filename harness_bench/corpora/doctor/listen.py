"""Listen to the audio of prepared cuts: is it still there, whole, the same, and not clipped?"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import batched
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.audio.frames import SAMPLE_RATE
from harness_bench.audio.io import load_samples
from harness_bench.core.config import STRICT
from harness_bench.core.log import bar
from harness_bench.corpora.base import Reason, Skipped, Utterance
from harness_bench.corpora.check import Checked, Limits, check, check_samples
from harness_bench.cuts.fields import digest_of, source_of
from harness_bench.cuts.shar import AUDIO, CUTS, read_shards
from harness_bench.cuts.store import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lhotse.cut import Cut

    from harness_bench.cuts.fields import Row
    from harness_bench.cuts.shar import Shard

FINDINGS = "findings.tsv"  # all of them, beside the report
CLIPPED, CHANGED, RATE = "clipped", "audio has changed", "wrong rate"
ROUNDED = "other samples than were prepared"
# Kinds that are no fault of the audio, only worth knowing.
NOTES = frozenset({CLIPPED, RATE, ROUNDED, str(Reason.TOO_SHORT), str(Reason.TOO_LONG)})
_BATCH = 1024  # cuts handed to the workers at a time
_SHAR_BATCH = 64  # likewise, each with its audio
_ROUNDING = "shards hold 16 bits: so it is with MP3, Opus and float audio"
_SHOWN = 10  # of each kind, in the report
# A cut that is read may have any length: shortness and length are told without leaving it out.
_ANY_LENGTH = Limits(min_duration=0.025, max_duration=1e9)


@dataclass(frozen=True, config=STRICT)
class Listening:
    """How a corpus is listened to."""

    # Cuts that are decoded; of a number so many of each split, drawn by the digest of their ids.
    audio: Literal["all", "none"] | int = "all"
    min_seconds: float = Field(default=0.5, gt=0)  # shorter cuts are listed
    max_seconds: float = Field(default=60.0, gt=0)  # and longer ones
    # Share of samples, in runs of three and more at full scale, from which a cut is clipped.
    clipped_percent: float = Field(default=0.01, ge=0, le=100)
    jobs: int = Field(default=0, ge=0)  # files decoded at the same time; 0 takes all cores

    def __post_init__(self) -> None:
        """Check the bounds against each other."""
        if self.min_seconds >= self.max_seconds:
            raise ValueError(
                f"min_seconds = {self.min_seconds} must be below max_seconds = {self.max_seconds}"
            )
        if isinstance(self.audio, int) and self.audio < 1:
            raise ValueError(f"audio = {self.audio} must be all, none or a number above 0")


class AudioFinding(NamedTuple):
    """Something about one cut's audio."""

    id: str
    split: str
    kind: str
    detail: str
    audio: str


class Findings:
    """Findings as they come: counted, the first of each kind kept, all written to a table."""

    def __init__(self, table: IO[str]) -> None:
        self.table = table
        self.counts: Counter[str] = Counter()
        self.first: dict[str, list[AudioFinding]] = {}
        self.heard = 0
        table.write("\t".join(AudioFinding._fields) + "\n")

    def add(self, finding: AudioFinding) -> None:
        """Take in one finding."""
        self.counts[finding.kind] += 1
        examples = self.first.setdefault(finding.kind, [])
        if len(examples) < _SHOWN:
            examples.append(finding)
        self.table.write("\t".join(" ".join(cell.split()) for cell in finding) + "\n")

    @property
    def faults(self) -> int:
        """How many findings are faults, and no notes."""
        return sum(count for kind, count in self.counts.items() if kind not in NOTES)


def look(row: Row, split: str, config: Listening, rate: int | None) -> Iterator[AudioFinding]:
    """Find what a cut's description tells of its audio.

    `rate` is the corpus's sampling rate in Hz; None takes any from 16 kHz on.
    """
    seconds, own = float(row["duration"]), int(row["recording"]["sampling_rate"])
    audio = str(row["recording"]["sources"][0].get("source", ""))
    if seconds < config.min_seconds:
        detail = f"{seconds:.3f} s < {config.min_seconds:g} s"
        yield AudioFinding(row["id"], split, Reason.TOO_SHORT, detail, audio)
    if seconds > config.max_seconds:
        detail = f"{seconds:.2f} s > {config.max_seconds:g} s"
        yield AudioFinding(row["id"], split, Reason.TOO_LONG, detail, audio)
    if own != rate if rate else own < SAMPLE_RATE:
        wanted = f"the corpus's {rate} Hz" if rate else f"{SAMPLE_RATE} Hz or more"
        yield AudioFinding(row["id"], split, RATE, f"{own} Hz, not {wanted}", audio)


def listen(
    rows: Iterable[Row],
    split: str,
    config: Listening,
    findings: Findings,
    *,
    total: int,  # number of rows
    shards: Sequence[Shard] = (),  # where the cuts lie with their audio, if they do
) -> None:
    """Decode cuts with several threads and take in what is found, in the order of the cuts.

    A shard that is torn is a fault, and the others go on; shards of which no cut was drawn are not
    read.
    """
    if config.audio == "none":
        return
    chosen: frozenset[str] | None = None
    if isinstance(config.audio, int):
        rows = heapq.nsmallest(config.audio, rows, key=_chance)
        chosen, total = frozenset(row["id"] for row in rows), len(rows)
    if shards:
        parts = (_of_shard(shard, chosen, split, findings) for shard in shards)
        batches = (batch for part in parts for batch in batched(part, _SHAR_BATCH))
        heard = _in_threads(partial(_heard_in_shard, split, config), batches, config.jobs)
    else:
        heard = _in_threads(partial(_heard, split, config), batched(rows, _BATCH), config.jobs)
    for found in bar(heard, title=f"listening to {split}", total=total, unit="utt"):
        findings.heard += 1
        for finding in found:
            findings.add(finding)


def _in_threads[T](
    job: Callable[[T], list[AudioFinding]], batches: Iterable[tuple[T, ...]], jobs: int
) -> Iterator[list[AudioFinding]]:
    with ThreadPoolExecutor(jobs or os.cpu_count()) as workers:
        for batch in batches:
            yield from workers.map(job, batch)


def _of_shard(
    shard: Shard, chosen: frozenset[str] | None, split: str, findings: Findings
) -> Iterator[tuple[Cut, str]]:
    """Read the cuts of a shard that are to be heard, each with its place."""
    rows, place = read_rows(shard.field(CUTS)), str(shard.field(AUDIO))
    if chosen is not None and not any(row["id"] in chosen for row in rows):
        return
    try:
        for cut in read_shards([shard]):
            if chosen is None or cut.id in chosen:
                yield cut, place
    except ValueError as error:
        name = f"shard {shard.number:06d}"
        findings.add(AudioFinding(name, split, Reason.UNREADABLE, str(error), place))


def _heard_in_shard(split: str, config: Listening, item: tuple[Cut, str]) -> list[AudioFinding]:
    """Decode one cut that carries its audio; return what is wrong with it."""
    cut, place = item
    try:
        samples = load_samples(cut)
    except ValueError as error:
        detail = str(error).splitlines()[0]
        return [AudioFinding(str(cut.id), split, Reason.UNREADABLE, detail, place)]
    utterance = Utterance(id=str(cut.id), audio=Path(place), stated_duration=cut.duration)
    result = check_samples(utterance, _ANY_LENGTH, samples.T, cut.sampling_rate)
    return [
        each._replace(kind=ROUNDED, detail=_ROUNDING) if each.kind == CHANGED else each
        for each in _judged(result, digest_of(cut), split, config, place)
    ]


def _heard(split: str, config: Listening, row: Row) -> list[AudioFinding]:
    about = row["recording"]["sources"][0]
    audio = str(about.get("source", ""))
    if (source := source_of(row)) is None:
        detail = f"audio of type {about.get('type')!r} is not read"
        return [AudioFinding(row["id"], split, Reason.UNREADABLE, detail, audio)]
    seconds = float(row["duration"])
    start = float(row.get("start", 0.0))
    utterance = Utterance(row["id"], Path(source), split, start, seconds, stated_duration=seconds)
    result = check(utterance, _ANY_LENGTH)
    return list(_judged(result, digest_of(row), split, config, audio))


def _judged(
    result: Checked | Skipped, digest: str | None, split: str, config: Listening, audio: str
) -> Iterator[AudioFinding]:
    """Yield what is worth telling of a cut that was decoded."""
    if isinstance(result, Skipped):
        yield AudioFinding(result.id, split, result.reason, result.detail, audio)
        return
    uid = result.utterance.id
    if digest and digest != result.digest:
        detail = "not the samples that were prepared: another file, or another decoder's rounding"
        yield AudioFinding(uid, split, CHANGED, detail, audio)
    share = 100 * result.clipped / result.samples
    if result.clipped and share >= config.clipped_percent:
        detail = f"{result.clipped} samples at full scale, {share:.2f} %"
        yield AudioFinding(uid, split, CLIPPED, detail, audio)


def _chance(row: Row) -> bytes:
    return hashlib.blake2b(row["id"].encode(), digest_size=16).digest()
