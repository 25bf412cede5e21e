"""lhotse Shar: thousands of hours in few files, labels as one more field.

A sharded folder holds `cuts.NNNNNN.jsonl.gz` and `recording.NNNNNN.tar`, and an `index.json` of
ours with what would else need a pass over all cuts. Labels stand in a folder of their own as
`labels.NNNNNN.tar`; the audio is never written again.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, override

import numpy as np

from harness_bench.audio.lhotse import install
from harness_bench.core.files import digest_strings, read_json, write_json
from harness_bench.core.log import bar, say
from harness_bench.core.own_files import UNFINISHED, refusal, refuse_files
from harness_bench.cuts.fields import digest_of, identity, language_of, spoken
from harness_bench.cuts.store import cuts_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lhotse import Recording
    from lhotse.cut import Cut
    from lhotse.shar.writers.audio import AudioTarWriter
    from numpy.typing import NDArray

INDEX = "index.json"
CUTS, AUDIO, LABELS = "cuts", "recording", "labels"
_ROW = {"number": int, "utterances": int, "hours": dict, "digest": str}  # of the index
SHARD_PATTERN = f"{CUTS}.{'[0-9]' * 6}.jsonl.gz"
_FILES = (SHARD_PATTERN, f"{AUDIO}.{'[0-9]' * 6}.tar")
SHARD_CUTS = 1000
_MEMBERS = 2  # of an archive for each cut: its audio and what is said of it
# What lhotse's reader and the libraries below it raise on broken files.
_BROKEN = (tarfile.TarError, zlib.error, OSError, EOFError, AssertionError, RuntimeError,
           ValueError, TypeError, KeyError, AttributeError, IndexError)  # fmt: skip
# What lhotse's reader puts into every cut's `custom`: paths that no manifest can hold.
_READERS = ("shard_origin", "shar_epoch")


@dataclass(frozen=True)
class Shard:
    """One shard and what its cuts amount to."""

    folder: Path
    number: int
    utterances: int
    hours: Mapping[str, float]  # by language
    digest: str  # of its utterances
    language: str | None = None  # of cuts that do not say
    source: str | None = None  # of a family's [data]

    @property
    def place(self) -> tuple[Path, int]:
        """What tells it from every other shard."""
        return self.folder, self.number

    def field(self, name: str) -> Path:
        """Return the file of one field."""
        suffix = "jsonl.gz" if name == CUTS else "tar"
        return self.folder / f"{name}.{self.number:06d}.{suffix}"


def labels_path(folder: Path, part: int) -> Path:
    """Return where the labels of a part stand."""
    return folder / f"{LABELS}.{part:06d}.tar"


def read_shards(
    shards: Iterable[Shard], labels: tuple[Path, Mapping[tuple[Path, int], int]] | None = None
) -> Iterator[Cut]:
    """Read shards one after the other: cuts with their audio, and labels where a folder is given.

    A file that is torn, or does not hold what the shard's cuts say, is a ValueError that names it.
    `labels`: their folder, and the part that each shard's `place` is there.
    """
    for shard in shards:
        fields = {CUTS: [shard.field(CUTS)], AUDIO: [shard.field(AUDIO)]}
        if labels is not None:
            folder, parts = labels
            fields[LABELS] = [labels_path(folder, parts[shard.place])]
        count = 0
        for count, cut in enumerate(_read(fields), start=1):  # noqa: B007 - counted, then compared
            yield spoken(cut, shard.language)
        # lhotse ends with the shortest of the files, and says nothing.
        if count != shard.utterances:
            expected = f"where {shard.utterances} are expected"
            raise _torn(fields, f"holds {count} utterances {expected}")


def read_metadata(shards: Iterable[Shard]) -> Iterator[Cut]:
    """Read the cuts of shards without their audio."""
    for shard in shards:
        yield from _read({CUTS: [shard.field(CUTS)]})


def _read(fields: Mapping[str, list[Path]]) -> Iterator[Cut]:
    """Read one shard's files side by side; whatever a broken one gives is a `ValueError`."""
    from lhotse.shar.readers.lazy import LazySharIterator  # noqa: PLC0415 - slow to import

    try:
        for cut in LazySharIterator(fields=dict(fields)):
            # As it was written, without what the reader adds.
            kept = {key: value for key, value in (cut.custom or {}).items() if key not in _READERS}
            cut.custom = kept or None
            yield cut
    except _BROKEN as error:
        raise _torn(fields, f"cannot be read ({error})") from error


def _torn(fields: Mapping[str, list[Path]], why: str) -> ValueError:
    """Name all files: lhotse's reader does not tell which is the broken one."""
    named = " or ".join(str(path) for paths in fields.values() for path in paths)
    # Labels that are there are not made again.
    labels = " If it is the labels, make them in another folder." if LABELS in fields else ""
    return ValueError(f"{named} {why}. Shard the corpus again.{labels}")


class ShardReader:
    """Reads single utterances of a shard, its archives open; errors as those of `read_shards`.

    With `ahead` archives are read as a whole, in their order, which most disks are fast at.
    """

    def __init__(self, shard: Shard, labels: Path | None = None, *, ahead: bool = True) -> None:
        """`labels`: the archive of the shard's labels."""
        self.shard, self.ahead = shard, ahead
        self.paths = {AUDIO: shard.field(AUDIO)} | ({} if labels is None else {LABELS: labels})
        self.fields = {CUTS: [shard.field(CUTS)], **{k: [path] for k, path in self.paths.items()}}
        self.files: dict[str, BinaryIO] = {}
        self.members: dict[str, list[tuple[str, int, int]]] = {}
        self.broken: ValueError | None = None

    def read(self, cut: Cut, place: int) -> Cut:
        """Return the shard's cut number `place` with its audio, and labels, in memory."""
        from lhotse.serialization import (  # noqa: PLC0415 - slow to import
            decode_json_line,
            deserialize_item,
        )
        from lhotse.shar.utils import fill_shar_placeholder  # noqa: PLC0415
        from lhotse.utils import fastcopy  # noqa: PLC0415

        self._open()
        try:
            whole = fastcopy(cut)
            for field in self.paths:
                (name, data), (_, about) = self._member(field, 2 * place, 2 * place + 1)
                if name.rpartition(".")[0] != str(cut.id):
                    raise ValueError(f"there is {name!r} in place of {cut.id!r}")
                manifest = deserialize_item(decode_json_line(about.decode("utf-8")))
                fill_shar_placeholder(manifest=manifest, data=data, tarpath=name)
                setattr(whole, field, manifest)
        except _BROKEN as error:
            raise _torn(self.fields, f"cannot be read ({error})") from error
        return whole

    def _member(self, field: str, *places: int) -> list[tuple[str, bytes]]:
        found = []
        for place in places:
            name, start, size = self.members[field][place]
            data = os.pread(self.files[field].fileno(), size, start)
            if len(data) != size:
                raise EOFError(f"{name} is cut off")
            found.append((name, data))
        return found

    def _open(self) -> None:
        """Open all archives; what is broken is so for every utterance, and read once."""
        if self.broken is not None:
            raise self.broken
        try:
            for field, path in self.paths.items():
                if field not in self.members:
                    self.members[field] = self._list(field, path)
        except _BROKEN as error:
            self.broken = _torn(self.fields, f"cannot be read ({error})")
            raise self.broken from error

    def _list(self, field: str, path: Path) -> list[tuple[str, int, int]]:
        file = self.files[field] = path.open("rb")
        if self.ahead and hasattr(os, "posix_fadvise"):  # not on macOS
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
        with tarfile.open(path, "r:") as tar:
            rows = [(member.name, member.offset_data, member.size) for member in tar]
        if len(rows) != _MEMBERS * self.shard.utterances:
            there, expected = len(rows) // _MEMBERS, self.shard.utterances
            raise ValueError(f"{path.name} holds {there} utterances where {expected} are expected")
        return rows

    def close(self) -> None:
        """Close the archives."""
        for file in self.files.values():
            file.close()


def is_sharded(folder: Path) -> bool:
    """Tell whether a folder holds shards."""
    return any(folder.glob(SHARD_PATTERN))


def open_shards(folder: Path) -> list[Shard]:
    """List a folder's shards by its index, else by its cuts; what is missing is a ValueError."""
    if (folder / UNFINISHED).exists():
        raise ValueError(f"{folder}: writing shards was cut off there. Write them again.")
    numbers = sorted(int(path.name.split(".")[1]) for path in folder.glob(SHARD_PATTERN))
    if not numbers:
        raise ValueError(
            f"{folder} holds no shards (cuts.000000.jsonl.gz); write them with `harness-bench "
            "shard`, or name a prepared folder as it is."
        )
    if (folder / INDEX).is_file():
        shards = _indexed(folder)
        if [shard.number for shard in shards] != numbers:
            raise ValueError(
                f"{folder / INDEX} names other shards than the folder contains; shard again."
            )
    else:
        shards = [
            Shard(folder, **describe_shard(folder, n)) for n in bar(numbers, title=folder.name)
        ]
    lost = [shard.number for shard in shards if not shard.field(AUDIO).is_file()]
    if lost:
        raise ValueError(f"{folder}: no audio for shard {lost[0]:06d} ({len(lost)} in all).")
    return shards


def _indexed(folder: Path) -> list[Shard]:
    rows = read_json(folder / INDEX)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and all(isinstance(row.get(key), kind) for key, kind in _ROW.items())
        for row in rows
    ):
        raise ValueError(f"{folder / INDEX} is no index of shards. Delete it to rebuild it.")
    return [Shard(folder=folder, **{key: row[key] for key in _ROW}) for row in rows]


def describe_shard(folder: Path, number: int) -> dict[str, Any]:
    """Count one shard's cuts; return its row of the index."""
    bare = Shard(folder, number, 0, {}, "")
    hours: dict[str, float] = {}
    identities = []
    for cut in read_metadata([bare]):
        name = language_of(cut)
        hours[name] = hours.get(name, 0.0) + cut.duration / 3600
        identities.append(identity(cut))
    digest = digest_strings(identities)
    return {"number": number, "utterances": len(identities), "hours": hours, "digest": digest}


def write_shards(
    cuts: Sequence[Cut], out: Path, *, shard_cuts: int = SHARD_CUTS, seed: int = 0
) -> list[Shard]:
    """Write cuts and their audio (16 kHz FLAC as they are) as shards, in random order.

    A folder that is whole and holds the same cuts is left alone; a torn one is written anew.
    Make at least as many shards, of `shard_cuts` utterances, as there will be ranks.
    """
    by_id = sorted(cuts, key=lambda cut: str(cut.id))
    order = np.random.default_rng(seed).permutation(len(by_id))
    chosen = [by_id[index] for index in order]
    if (out / INDEX).is_file() and not (out / UNFINISHED).exists():
        try:
            if _holds(shards := open_shards(out), chosen, shard_cuts):
                return shards
        except (ValueError, OSError, tarfile.TarError) as error:
            say(f"{out} is damaged and is written again: {error}")
    with writing_shards(out, shard_cuts) as write:
        for cut in bar(chosen, title=f"sharding into {out.name}", unit="utt"):
            write(cut)
    return open_shards(out)


def _holds(shards: Sequence[Shard], chosen: Sequence[Cut], shard_cuts: int) -> bool:
    """Tell whether shards hold these cuts in this order and size, their audio whole in number."""
    sizes = [min(shard_cuts, len(chosen) - at) for at in range(0, len(chosen), shard_cuts)]
    if [shard.utterances for shard in shards] != sizes:
        return False
    known = digest_strings(map(_content, read_metadata(shards)))
    return digest_strings(map(_content, chosen)) == known and all(map(_has_audio, shards))


def _has_audio(shard: Shard) -> bool:
    """Count what an archive holds; the audio is passed over, not read."""
    with tarfile.open(shard.field(AUDIO), "r:") as tar:
        return sum(1 for _ in tar) == _MEMBERS * shard.utterances


@contextmanager
def writing_shards(out: Path, shard_cuts: int = SHARD_CUTS) -> Iterator[Callable[[Cut], None]]:
    """Yield what writes cuts with their audio into shards; till the end `open_shards` refuses.

    A folder of prepared cuts, or one with anything where no shards of ours were, is a ValueError.
    """
    if not _is_ours(out):
        refuse_files(out)
    elif prepared := {*cuts_files(out)} - {*out.glob(SHARD_PATTERN)}:
        raise ValueError(refusal(out, prepared))
    from lhotse.shar.writers.shar import SharWriter  # noqa: PLC0415 - slow to import

    install()
    out.mkdir(parents=True, exist_ok=True)
    (out / UNFINISHED).touch()
    remove_shards(out)
    shar = SharWriter(out, {AUDIO: "flac"}, shard_size=shard_cuts, warn_unused_fields=False)
    shar.writers[AUDIO] = _archives(out, shard_cuts)
    with shar:
        yield shar.write
    count = len(list(out.glob(SHARD_PATTERN)))
    write_json(out / INDEX, [describe_shard(out, number) for number in range(count)])
    (out / UNFINISHED).unlink()


def _archives(out: Path, shard_cuts: int) -> AudioTarWriter:
    """Return the writer of audio: FLAC of 16 bits, and float WAV where FLAC would clip."""
    import soundfile  # noqa: PLC0415 - loads a shared library
    from lhotse.shar.utils import to_shar_placeholder  # noqa: PLC0415 - slow to import
    from lhotse.shar.writers.audio import AudioTarWriter  # noqa: PLC0415

    class Unclipped(AudioTarWriter):  # type: ignore[misc]  # lhotse has no types
        @override
        def write(
            self, key: str, value: NDArray[np.float32], sampling_rate: int, manifest: Recording,
            original_format: str | None = None,
        ) -> None:  # fmt: skip
            if np.abs(value).max(initial=0.0) <= 1:
                super().write(key, value, sampling_rate, manifest, original_format)
                return
            data = io.BytesIO()
            soundfile.write(data, value.T, sampling_rate, format="WAV", subtype="FLOAT")
            data.seek(0)
            self.tar_writer.write(f"{key}.wav", data)
            about = json.dumps(to_shar_placeholder(manifest).to_dict()) + "\n"
            self.tar_writer.write(f"{key}.json", io.BytesIO(about.encode()), count=False)

    return Unclipped(f"{out}/{AUDIO}.%06d.tar", shard_size=shard_cuts, format="flac")


def _is_ours(out: Path) -> bool:
    """Tell whether we wrote shards into a folder: by index and shards, or the mark of writing."""
    return (out / UNFINISHED).is_file() or ((out / INDEX).is_file() and is_sharded(out))


def remove_shards(out: Path) -> None:
    """Remove the shards of a folder and its index, and nothing else."""
    for old in (path for like in (INDEX, *_FILES) for path in out.glob(like)):
        old.unlink(missing_ok=True)


def _content(cut: Cut) -> str:
    return f"{cut.id} {cut.duration:.4f} {digest_of(cut) or ''}"
