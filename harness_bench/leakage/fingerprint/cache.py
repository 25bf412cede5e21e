"""Fingerprints of utterances, kept on disk between audits by what they were computed from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.audio.io import load_waveform
from harness_bench.core.code_digest import modules_digest
from harness_bench.core.files import stamp
from harness_bench.core.log import say
from harness_bench.cuts.fields import digest_of
from harness_bench.leakage.fingerprint.landmarks import Landmarks, landmarks

if TYPE_CHECKING:
    from lhotse import AudioSource
    from lhotse.cut import Cut

    from harness_bench.core.cache_entry import EntryStore

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
    written anew, and code that was changed, are heard again.

    Args:
        folder: where they are kept, made at the first write; None keeps none.
        max_mb: MiB of all entries together; those unused longest make room.

    Raises:
        ValueError: the folder is a file.
    """

    def __init__(self, folder: Path | None = None, max_mb: int = CACHE_MB) -> None:
        self.folder, self.found, self.computed = folder, 0, 0
        self._code, self._lock = "", Lock()
        self._disk: EntryStore | None = None
        if folder is not None:
            from harness_bench.core.cache_entry import EntryStore  # noqa: PLC0415 - imports torch

            full = "are full of this run's own; see --cache-mb"
            self._disk = EntryStore(folder, max_mb, title=TITLE, when_full=full)
            self._code = modules_digest(_MODULES, _LIBRARIES)

    def of(self, cut: Cut) -> tuple[Landmarks, str]:
        """Return the fingerprint of a cut, and why its audio could not be read, else "".

        What could not be read has the fingerprint of silence, and is not kept.
        """
        key = _key(cut, self._code) if self._disk else None
        if (kept := self._read(key)) is not None:
            return kept, ""
        try:
            samples = load_waveform(cut)
        except (ValueError, OSError) as error:
            return landmarks(np.zeros(0, dtype=np.float32)), str(error).splitlines()[0]
        sound = landmarks(samples)
        self._write(key, sound)
        return sound, ""

    def tell(self) -> None:
        """Say how many were found on disk."""
        if self.folder is not None:
            say(
                f"{TITLE} {self.folder}: {self.found:,} fingerprints found there, "
                f"{self.computed:,} computed."
            )

    def _read(self, key: bytes | None) -> Landmarks | None:
        if self._disk is None or key is None:
            return None
        with self._lock:
            kept = self._disk.read(key)
            self.found += kept is not None
        if kept is None:
            return None
        hashes, frames = kept[1:].numpy().reshape(2, -1)
        return Landmarks(hashes.view(np.uint32), frames, int(kept[0]))

    def _write(self, key: bytes | None, sound: Landmarks) -> None:
        """Keep a fingerprint as one row of int32: its length, its hashes, their frames."""
        with self._lock:
            self.computed += 1
            if self._disk is not None and key is not None:
                import torch  # noqa: PLC0415 - heavy

                head = np.array([sound.length], dtype=np.int32)
                row = np.concatenate([head, sound.hashes.view(np.int32), sound.frames])
                self._disk.write(key, torch.from_numpy(row))


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
