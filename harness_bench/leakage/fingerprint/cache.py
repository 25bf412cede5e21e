"""Fingerprints of utterances, kept on disk between audits by what they were computed from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.audio.io import load_waveform
from harness_bench.core.cache import MEBIBYTE, DiskStore
from harness_bench.core.code_digest import modules_digest
from harness_bench.core.files import stamp
from harness_bench.core.log import say
from harness_bench.cuts.fields import digest_of
from harness_bench.leakage.fingerprint.landmarks import Landmarks, landmarks

if TYPE_CHECKING:
    from lhotse import AudioSource
    from lhotse.cut import Cut

CACHE_MB = 20_480  # 4,300 hours of speech
TITLE = "Fingerprint cache"
# What decides a fingerprint beside the audio.
_MODULES = ("harness_bench.leakage.fingerprint.landmarks", "harness_bench.audio.io")
_LIBRARIES = ("numpy", "scipy", "lhotse", "soundfile", "torchaudio")
_KEY_BYTES = 16


class Fingerprints:
    """Computes fingerprints, or finds them on disk; safe for threads and for several processes.

    An entry is named by the digest of the decoded samples where the cut has one, by the size and
    the time of its file, by its place in it, and by the code that computes fingerprints. Audio
    inside shards is named by its bytes. So an entry is never that of other audio: a file that was
    written anew, and code that was changed, are heard again. A broken entry is computed again.
    What fails on disk costs time and never the audit.

    Args:
        folder: where they are kept, made at the first write; None keeps none.
        max_mb: MiB of all entries together; those unused longest make room.

    Raises:
        ValueError: the folder is a file.
    """

    def __init__(self, folder: Path | None = None, max_mb: int = CACHE_MB) -> None:
        self.found = self.computed = 0
        self._disk = None if folder is None else DiskStore(folder, max_mb * MEBIBYTE, TITLE)
        self._code = "" if folder is None else modules_digest(_MODULES, _LIBRARIES)
        self._lock = Lock()  # the store counts what is its own
        self._writes = True
        self._told: set[str] = set()

    def of(self, cut: Cut) -> tuple[Landmarks, str]:
        """Return the fingerprint of a cut, and why its audio could not be read, else "".

        What could not be read has the fingerprint of silence, and is not kept.
        """
        key = None if self._disk is None else _key(cut, self._code)
        if key is not None and (kept := self._read(key)) is not None:
            with self._lock:
                self.found += 1
            return kept, ""
        try:
            samples = load_waveform(cut)
        except (ValueError, OSError) as error:
            return landmarks(np.zeros(0, dtype=np.float32)), str(error).splitlines()[0]
        sound = landmarks(samples)
        with self._lock:
            self.computed += 1
            if key is not None:
                self._write(key, sound)
        return sound, ""

    def tell(self) -> None:
        """Say how many were found on disk."""
        if self._disk is not None:
            say(
                f"{TITLE} {self._disk.folder}: {self.found:,} fingerprints found there, "
                f"{self.computed:,} computed."
            )

    def _read(self, key: bytes) -> Landmarks | None:
        """Look a key up; an entry that cannot be read or is broken counts as absent."""
        from harness_bench.core.cache_entry import CorruptEntryError, unpack  # noqa: PLC0415

        assert self._disk is not None
        try:
            with self._lock:
                data = self._disk.read(key)
            return None if data is None else _landmarks(unpack(key, data).numpy())
        except CorruptEntryError as error:
            self._tell("corrupt", f"entry {key.hex()} is broken ({error}) and is computed again")
        except OSError as error:
            self._tell("unreadable", f"cannot read ({error})")
        return None

    def _write(self, key: bytes, sound: Landmarks) -> None:
        """Keep a fingerprint; the first failure is told and is the last try."""
        import torch  # noqa: PLC0415 - heavy

        from harness_bench.core.cache_entry import pack  # noqa: PLC0415 - imports torch

        assert self._disk is not None
        if not self._writes:
            return
        try:
            self._writes = self._disk.write(key, pack(key, torch.from_numpy(_numbers(sound))))
        except OSError as error:
            self._writes = False
            self._tell("unwritable", f"cannot write ({error}); no more are kept in this run")
        else:
            if not self._writes:
                room = self._disk.max_bytes // MEBIBYTE
                self._tell(
                    "full", f"the {room} MiB allowed are full of this run's own; see --cache-mb"
                )

    def _tell(self, what: str, message: str) -> None:
        if what not in self._told:
            self._told.add(what)
            assert self._disk is not None
            say(f"{TITLE} {self._disk.folder}: {message}.")


def _numbers(sound: Landmarks) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Put a fingerprint into one row: its length, its hashes, their frames."""
    head = np.array([sound.length], dtype=np.int32)
    return np.concatenate([head, sound.hashes.view(np.int32), sound.frames])


def _landmarks(numbers: np.ndarray[tuple[int], np.dtype[np.int32]]) -> Landmarks:
    hashes, frames = numbers[1:].reshape(2, -1)
    return Landmarks(hashes.view(np.uint32), frames, int(numbers[0]))


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
