"""Fingerprints of audio: kept on disk between audits, and compared between sets.

The largest set streams past the others, which alone stand in memory: about 160 landmarks of 12
bytes for each second of theirs, 7 MB an hour, 16 MB while they are sorted, and 5 MB then.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness_bench.audio.io import load_waveform
from harness_bench.core.code_digest import modules_digest
from harness_bench.core.files import stamp
from harness_bench.core.log import bar, say
from harness_bench.cuts.fields import digest_of
from harness_bench.leakage.compare import Hit
from harness_bench.leakage.index import SPEEDS, Builder, Index, Match, grid
from harness_bench.leakage.landmarks import Fingerprint, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lhotse import AudioSource
    from lhotse.cut import Cut
    from numpy.typing import NDArray

    from harness_bench.core.cache_entry import EntryStore
    from harness_bench.cuts.table import Table
    from harness_bench.leakage.audit_sets import AuditSet

CACHE_MB = 20_480  # 16,000 hours of speech
TITLE = "Fingerprint cache"
# What decides a fingerprint beside the audio.
_MODULES, _PACKAGES = ("harness_bench.leakage.landmarks",), ("harness_bench.audio",)
_LIBRARIES = ("numpy", "scipy", "lhotse", "soundfile", "av", "soxr")
_KEY_BYTES = 16
_BATCH = 64  # utterances handed to the workers at a time; of shards, with their audio


class Fingerprints:
    """Computes fingerprints, or finds them on disk; safe for threads and for several processes.

    An entry is named by the digest of the decoded samples where the cut has one, by the size and
    the time of its file, by its place in it, and by the code that computes fingerprints. Audio
    inside shards is named by its bytes. So an entry is never that of other audio: a file that was
    written anew, and code that was changed, are heard again.

    None for the folder keeps none; one that is a file is a `ValueError`.
    """

    def __init__(self, folder: Path | None = None, max_mb: int = CACHE_MB) -> None:
        self.folder, self.found, self.computed = folder, 0, 0
        self._code, self._lock = "", Lock()
        self._disk: EntryStore | None = None
        if folder is not None:
            from harness_bench.core.cache_entry import EntryStore  # noqa: PLC0415 - imports torch

            full = "are full of this run's own; see --cache-mb"
            self._disk = EntryStore(folder, max_mb, title=TITLE, when_full=full)
            self._code = modules_digest(_MODULES, _LIBRARIES, _PACKAGES)

    def of(self, cut: Cut) -> tuple[Fingerprint, str]:
        """Return the fingerprint of a cut, and why its audio could not be read, else "".

        What could not be read has the fingerprint of silence, and is not kept.
        """
        key = _key(cut, self._code) if self._disk else None
        if self._disk is not None and key is not None:
            with self._lock:
                kept = self._disk.read(key)
                self.found += kept is not None
            if kept is not None:
                times, bins = kept[1:].numpy().reshape(2, -1)
                return Fingerprint(times, bins, int(kept[0])), ""
        try:
            samples = load_waveform(cut)
        except (ValueError, OSError) as error:
            return fingerprint(np.zeros(0, dtype=np.float32)), str(error).splitlines()[0]
        sound = fingerprint(samples)
        with self._lock:
            self.computed += 1
            if self._disk is not None and key is not None:
                import torch  # noqa: PLC0415 - heavy

                # One row of int32: its length, the times of its peaks, their bins.
                head = np.array([sound.length], dtype=np.int32)
                row = np.concatenate([head, sound.times, sound.bins])
                self._disk.write(key, torch.from_numpy(row))
        return sound, ""

    def tell(self) -> None:
        """Say how many were found on disk."""
        if self.folder is not None:
            say(
                f"{TITLE} {self.folder}: {self.found:,} fingerprints found there, "
                f"{self.computed:,} computed."
            )


def _key(cut: Cut, code: str) -> bytes | None:
    """Return what names a cut's fingerprint; None where its audio cannot be told from other."""
    recording = getattr(cut, "recording", None)
    if recording is None or recording.transforms:
        return None
    state = hashlib.blake2b(digest_size=_KEY_BYTES)
    place = (code, cut.start, cut.duration, cut.channel, recording.sampling_rate)
    state.update(repr(place).encode())
    digest = digest_of(cut)
    for source in recording.sources:
        if (name := _content(source, digest)) is None:
            return None
        state.update(b"%d:%b" % (len(name), name))
    return state.digest()


def _content(source: AudioSource, digest: str | None) -> bytes | None:
    """Return what tells a source's audio from other; None where nothing cheap does.

    The digest alone would do if files never changed after `prepare`: their size and time tell.
    """
    channels = repr(list(source.channels)).encode()
    if source.type == "memory":
        return channels + bytes(source.source)
    if source.type != "file":
        return None
    path = Path(str(source.source))
    try:
        size, time = stamp(path)
    except OSError:  # gone: whoever reads it tells so
        return None
    what = digest or str(path.absolute())
    return channels + f"{what} {size} {time}".encode()


class Unread(NamedTuple):
    """An utterance whose audio could not be read, so that its sound was not compared."""

    set: str
    id: str
    reason: str


class Heard(NamedTuple):
    """What fingerprints told."""

    hits: dict[tuple[int, int], list[Hit]]  # of each two sets, the one that comes first first
    unread: list[Unread]


def hear(
    sets: Sequence[AuditSet],
    tables: Sequence[Table],  # of the same sets
    jobs: int = 0,  # files read at a time; 0 takes all cores
    fingerprints: Fingerprints | None = None,
    speeds: tuple[float, float] | None = SPEEDS,  # of copies that are looked for; None: unchanged
) -> Heard:
    """Find the same sound between any two sets; bare lists of ids have none."""
    fingerprints = fingerprints or Fingerprints()
    tried = None if speeds is None else grid(*speeds)
    sounding = {number: each.cuts for number, each in enumerate(sets) if each.cuts}
    order = sorted(sounding, key=lambda number: tables[number].hours)
    heard, known = Heard({}, []), dict[int, Index]()
    for number in order:
        table, builder = tables[number], Builder()
        looked = _looked_up(sounding[number](), [*known.values()], jobs, fingerprints, tried)
        shown = bar(looked, title=f"listening to {table.name}", total=len(table))
        for place, (sound, matches, reason) in enumerate(shown):
            if reason:
                heard.unread.append(Unread(table.name, table.id(place), reason))
            for other, found in zip(known, matches, strict=True):
                hits = heard.hits.setdefault((min(number, other), max(number, other)), [])
                hits += [_hit(place, match, swapped=number > other) for match in found]
            if number != order[-1]:  # which need not stand in memory
                builder.add(sound.landmarks())
        if number != order[-1]:
            known[number] = builder.build()
    return heard


def _hit(place: int, match: Match, *, swapped: bool) -> Hit:
    if swapped:
        return Hit(match.row, place, match.votes, match.offset, match.seconds, match.speed)
    return Hit(place, match.row, match.votes, -match.offset, match.seconds, 1 / match.speed)


def _looked_up(
    cuts: Iterable[Cut],
    indexes: list[Index],
    jobs: int,
    fingerprints: Fingerprints,
    speeds: NDArray[np.float64] | None,
) -> Iterator[tuple[Fingerprint, list[list[Match]], str]]:
    """Yield each cut's fingerprint, its matches in each index, and why it could not be read."""

    def look(cut: Cut) -> tuple[Fingerprint, list[list[Match]], str]:
        sound, reason = fingerprints.of(cut)
        return sound, [index.matches(sound, speeds) for index in indexes], reason

    # Threads suffice: decoding, transforms, filters and sorting release the interpreter lock.
    with ThreadPoolExecutor(jobs or os.cpu_count()) as workers:
        for batch in batched(cuts, _BATCH):
            yield from workers.map(look, batch)
