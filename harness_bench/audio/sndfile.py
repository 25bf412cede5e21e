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


class SndfileStream:
    """An audio file, open in libsndfile."""

    def __init__(
        self,
        source: BinaryIO | int,
        name: object,
        lacking: str | None = None,
        *,
        preroll: int = 0,  # seconds that are decoded before any place but the next
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
        self._preroll = preroll * rate
        # The sample that is read next. The first read of Opus seeks, too: only then libsndfile
        # drops what its encoder put before the beginning. So does that of MP3, for equal bits.
        self._place = -1 if preroll or mutters else 0

    @property
    def frames_may_tear(self) -> bool:
        """Whether the last samples may lack of a file that seems whole."""
        return bool(self._file.format == "FLAC")

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
            told = f"damaged or cut off: {_reason(error)}"
            raise AudioFault(Fault.UNREADABLE, told, self._name) from error
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
        before = max(first - self._preroll, 0)
        if not before <= self._place < first or not self._preroll:
            self._place = self._file.seek(before)
        self._file.read(first - self._place, dtype="float32")

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

    def forked(self) -> None:
        """Begin anew in a forked process, where another thread may have been inside."""
        self._lock, self._inside = Lock(), 1
        self.__exit__()

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
os.register_at_fork(after_in_child=_quiet.forked)
