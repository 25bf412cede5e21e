"""Audio files that libsndfile reads exactly."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import nullcontext
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from harness_bench.audio.base import AudioFault, Fault, Header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


# libsndfile decodes 80 ms before a place in Opus, as its standard asks; a third of all stretches
# then begin otherwise than in the whole, by up to -43 dB. After 4 s none of 400 did.
_OPUS_REMEMBERS = 5  # seconds


class SndfileStream:
    """An audio file, open in libsndfile."""

    def __init__(
        self,
        source: BinaryIO | int,
        name: object,
        lacking: str | None = None,
        *,
        mutters: bool = False,  # whether its decoder prints what it finds odd
    ) -> None:
        import soundfile  # noqa: PLC0415 - loads a shared library

        self._name = name
        self._quiet = _quiet if mutters else nullcontext()
        try:
            with self._quiet:
                self._file = soundfile.SoundFile(source, closefd=False)
        except (soundfile.SoundFileError, OSError, ValueError) as error:
            raise AudioFault(Fault.UNREADABLE, _reason(error), name) from error
        rate, channels = int(self._file.samplerate), int(self._file.channels)
        self.header = Header(int(self._file.frames), rate, channels, lacking)
        self._place = 0  # the sample that is read next

    def close(self) -> None:
        """Let go of the file, which whoever opened it closes."""
        with self._quiet:
            self._file.close()

    def read(self, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Read as `OpenAudio.read` says."""
        import soundfile  # noqa: PLC0415 - loaded already

        there = max(self.header.samples - first, 0)
        wanted = there if count is None else min(count, there)
        try:
            with self._quiet:
                if first != self._place:
                    self._seek(min(first, self.header.samples))
                samples: NDArray[np.float32] = self._file.read(
                    wanted, dtype="float32", always_2d=True
                )
        except (soundfile.SoundFileError, ValueError) as error:
            raise AudioFault(Fault.UNREADABLE, _reason(error), self._name) from error
        self._place = first + len(samples)
        if len(samples) < wanted:
            raise AudioFault(
                Fault.CUT_OFF,
                f"cut off: the header promises {self.header.samples} samples, "
                f"and {first + len(samples)} could be decoded",
                self._name,
            )
        return samples

    def _seek(self, first: int) -> None:
        before = max(first - _OPUS_REMEMBERS * self.header.sampling_rate, 0)
        if self._file.subtype != "OPUS":
            self._file.seek(first)
        elif before < self._place < first:
            self._file.read(first - self._place, dtype="float32")
        else:
            self._file.seek(before)
            self._file.read(first - before, dtype="float32")

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Read as `OpenAudio.blocks` says."""
        for first in range(0, self.header.samples, size):
            yield self.read(first, size)


class ChainedStream:
    """Streams that follow one another in one file, such as chained Ogg: as one."""

    def __init__(self, links: Sequence[SndfileStream], name: object, lacking: str | None) -> None:
        self._links = links
        first = links[0].header
        for link in links:
            if link.header[1:3] != first[1:3]:
                second = sum(one.header.samples for one in links[: links.index(link)])
                raise AudioFault(
                    Fault.UNREADABLE,
                    f"{len(links)} streams follow one another, and from "
                    f"{second / first.sampling_rate:.2f} s on it has {link.header.sampling_rate} "
                    f"Hz and {link.header.channels} channels instead of {first.sampling_rate} Hz "
                    f"and {first.channels}; split it there",
                    name,
                )
        total = sum(link.header.samples for link in links)
        self.header = first._replace(samples=total, lacking=lacking)

    def close(self) -> None:
        """Let go of the file."""
        for link in self._links:
            link.close()

    def read(self, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Read as `OpenAudio.read` says."""
        end = self.header.samples if count is None else min(first + count, self.header.samples)
        pieces, begin = [np.zeros((0, self.header.channels), np.float32)], 0
        for link in self._links:
            stop = begin + link.header.samples
            if first < stop and begin < end:
                low, high = max(first - begin, 0), min(end, stop) - begin
                pieces.append(link.read(low, high - low))
            begin = stop
        return np.concatenate(pieces)

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Read as `OpenAudio.blocks` says."""
        for first in range(0, self.header.samples, size):
            yield self.read(first, size)


def _reason(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    # What libsndfile says stands behind the file's name, which it knows as a number.
    return f"libsndfile cannot read it: {lines[0].rpartition(': ')[2].rstrip('.')}"


class _Quiet:
    """While it is entered, what C libraries print to stderr is dropped; Python's is not.

    libmpg123 notes on stderr what it finds odd, also where a healthy file is read from the middle.
    The C library's own stream is exchanged, not the file behind it: what Python and other
    processes print still comes. Threads enter it together; the last one restores the stream.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if streams := _stderr():
                streams[0].value = streams[1]

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and (streams := _stderr()):
                streams[0].value = streams[2]


@cache
def _stderr() -> tuple[ctypes.c_void_p, int, int] | None:
    """Return the C library's variable `stderr`, a stream to nowhere and the one it has."""
    if platform.libc_ver()[0] != "glibc":  # elsewhere it is no variable
        return None
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    variable = ctypes.c_void_p.in_dll(library, "stderr")
    nowhere: int | None = library.fopen(os.devnull.encode(), b"w")
    if nowhere is None or variable.value is None:
        return None
    return variable, nowhere, variable.value


_quiet = _Quiet()
