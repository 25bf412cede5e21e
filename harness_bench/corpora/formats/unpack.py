"""Audio that stands inside other files, unpacked once: as it is where encoded, exact where not.

Access to one row of a parquet file reads the hundred rows around it, and Kaldi and ESPnet want
files; so audio is unpacked, into `SPLIT/SHARD/THOUSAND/ROW.flac`. A note beside the files of a
shard says what they are of; a run that was killed goes on, and a later one of the same shard finds
them.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.core.files import atomic_path, read_json, write_json
from harness_bench.core.own_files import spoil

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NOTE = "unpacked.json"  # in the folder of all, and of each shard
_PER_FOLDER = 1000  # files
_LONGEST_SUFFIX = 8
_VERSION = 1  # of what is written of equal rows
# How files of audio begin, after so many bytes.
_BEGINNINGS = (
    (0, b"fLaC", ".flac"), (8, b"WAVE", ".wav"), (0, b"OggS", ".ogg"), (0, b"ID3", ".mp3"),
    (4, b"ftyp", ".m4a"), (0, b"\x1a\x45\xdf\xa3", ".webm"), (0, b"FORM", ".aiff"),
    (0, b"caff", ".caf"), (0, b".snd", ".au"), (0, b"NIST_1A", ".sph"),
)  # fmt: skip
_WIDEST = 4  # bytes of an integer that is PCM
_MP3_SYNC = 0xE0  # three bits after a byte of ones


def suffix_of(data: memoryview, path: str | None) -> str:
    """Return the suffix of a file of audio by how it begins, or else by its name.

    >>> suffix_of(memoryview(b"fLaC and so on"), "a.mp3")
    '.flac'
    """
    head = bytes(data[:16])
    for place, begin, suffix in _BEGINNINGS:
        if head[place:].startswith(begin):
            return suffix
    if head[:1] == b"\xff" and head[1:2] and head[1] & _MP3_SYNC == _MP3_SYNC:
        return ".mp3"
    name, _, suffix = (path or "").rpartition(".")
    fit = name and suffix.isalnum() and suffix.isascii() and len(suffix) <= _LONGEST_SUFFIX
    return f".{suffix.lower()}" if fit else ".audio"


def is_unpacked(folder: Path) -> bool:
    """Whether a folder holds what was unpacked here, and so may be written to."""
    return (folder / NOTE).is_file()


def begin(folder: Path) -> None:
    """Make the folder for unpacked audio; one that holds something else is a `ValueError`."""
    others = not is_unpacked(folder) and (not folder.is_dir() or any(folder.iterdir()))
    if folder.exists() and others:
        raise ValueError(f"{folder} holds what was not unpacked here. Name another output folder.")
    write_json(folder / NOTE, {"version": _VERSION})


def identity(path: Path) -> str:
    """Return what tells one state of a file from another, without reading it.

    Files in the Hub's cache are links to their digests; of others it is size and time of change.
    """
    whole = path.resolve()
    if whole.parent.name == "blobs":
        return whole.name
    about = whole.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


class UnpackedShard:
    """The files of one shard's audio: row -> file."""

    def __init__(self, folder: Path, out: Path, **source: Any) -> None:
        """Open a shard's folder.

        Args:
            folder: of this shard alone; what it holds of another source is removed.
            out: the prepared folder, marked unfinished then: its cuts would name other audio.
            source: JSON-ready values that say what is unpacked there.
        """
        self.folder, self.source = folder, {"version": _VERSION, **source}
        # Of each row the suffix and bytes of its file; or "" and why it has none, if that is known.
        self.written: list[tuple[str, int | str]] = []
        self.known: list[tuple[str, int | str]] | None = None
        note = read_json(folder / NOTE) if is_unpacked(folder) else None
        if isinstance(note, dict) and note.get("source") == self.source:
            rows = note.get("files")
            self.known = None if rows is None else [(end, size) for end, size in rows]
            return
        if note is not None:
            spoil(out)
            shutil.rmtree(folder)
        begin(folder)
        write_json(folder / NOTE, {"source": self.source, "files": None})

    @property
    def is_finished(self) -> bool:
        """Whether an earlier run unpacked all of it; its files may be gone."""
        return self.known is not None

    def is_whole(self) -> bool:
        """Whether all files of an earlier run are there with their sizes."""
        return self.known is not None and all(
            not suffix or self._size(row, suffix) == size
            for row, (suffix, size) in enumerate(self.known)
        )

    def path(self, row: int, suffix: str) -> Path:
        """Return where the audio of a row stands."""
        return self.folder / f"{row // _PER_FOLDER:03d}" / f"{row:06d}{suffix}"

    def found(self, row: int) -> Path | str | None:
        """Return the file of a row of a finished shard, or why it has none; None: it held none."""
        assert self.known is not None
        suffix, size = self.known[row] if row < len(self.known) else ("", "")
        return self.path(row, suffix) if suffix else str(size) or None

    def none(self, why: str = "") -> str | None:
        """Note that the next row has no audio inside, and why if it should have; return that."""
        self.written.append(("", why))
        return why or None

    def bytes(self, data: memoryview, name: str | None) -> Path:
        """Write the next row's file as it is, unless it is there."""
        suffix = suffix_of(data, name)
        path = self.path(len(self.written), suffix)
        if self._size(len(self.written), suffix) != len(data):
            with atomic_path(path, sync=False) as partial:
                partial.write_bytes(data)
        self.written.append((suffix, len(data)))
        return path

    def samples(self, samples: NDArray[Any], sampling_rate: int) -> Path:
        """Write the next row's samples, (samples,) or (channels, samples), unless they are there.

        FLAC of 16 or 24 bits where that is exact, else WAV of 32-bit floats. Integers are the bits
        of PCM: `int16` of 16.
        """
        wave, subtype = as_pcm(samples)
        suffix = ".wav" if subtype == "FLOAT" else ".flac"
        path = self.path(len(self.written), suffix)
        if self._size(len(self.written), suffix) <= 0:
            import soundfile  # noqa: PLC0415 - loads a shared library

            with atomic_path(path, sync=False) as partial:
                soundfile.write(partial, wave, sampling_rate, subtype=subtype)
        self.written.append((suffix, path.stat().st_size))
        return path

    def finish(self) -> None:
        """Note that all rows are there."""
        write_json(self.folder / NOTE, {"source": self.source, "files": self.written})

    def _size(self, row: int, suffix: str) -> int:
        try:
            return self.path(row, suffix).stat().st_size
        except OSError:
            return -1  # a file of 0 bytes is one, and told as such


def as_pcm(samples: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Return samples as soundfile takes them, and the smallest subtype that holds them exactly."""
    wave = samples.T if samples.ndim == 2 else samples  # noqa: PLR2004 - channels first
    if wave.dtype == np.int16:
        return wave, "PCM_16"
    if np.issubdtype(wave.dtype, np.integer):
        if wave.dtype.itemsize > _WIDEST:
            raise ValueError(f"{wave.dtype} says no full scale: store int16, int32 or floats")
        full = float(2 ** (8 * wave.dtype.itemsize - 1))
        wave = wave / full - np.issubdtype(wave.dtype, np.unsignedinteger)
    wave = np.asarray(wave, dtype=np.float64)
    for bits, subtype in ((16, "PCM_16"), (24, "PCM_24")):
        scaled = wave * 2 ** (bits - 1)
        exact = np.array_equal(scaled, np.round(scaled))  # never of NaN
        if exact and (
            not wave.size or (-(2 ** (bits - 1)) <= scaled.min() and scaled.max() < 2 ** (bits - 1))
        ):
            # Whole numbers at the top of 32 bits: libsndfile shifts them down, and rounds nothing.
            return (scaled * 2 ** (32 - bits)).astype(np.int32), subtype
    return wave.astype(np.float32), "FLOAT"
