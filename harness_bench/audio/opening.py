"""Opening a file of audio: libsndfile reads those that it reads exactly, FFmpeg all others."""

from __future__ import annotations

import io
import os
import stat
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from harness_bench.audio.base import AudioFault, Fault, Header, OpenAudio
from harness_bench.audio.containers import examine
from harness_bench.audio.ffmpeg import FfmpegStream
from harness_bench.audio.parts import PartOfFile, SeekableFile
from harness_bench.audio.resample import LOWEST_RATE
from harness_bench.audio.sndfile import ChainedStream, SndfileStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness_bench.audio.containers.about import About
    from harness_bench.audio.recent import Key

type Stream = SndfileStream | ChainedStream | FfmpegStream

# What is searched for in folders; a file that is named is read whatever its suffix.
AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".spx", ".mp3"}
    | {".mp2", ".aiff", ".aif", ".aifc", ".au", ".snd", ".sph", ".caf", ".m4a", ".m4b", ".mp4"}
    | {".mov", ".3gp", ".webm", ".mka", ".mkv", ".wma", ".asf", ".aac", ".amr", ".ac3", ".gsm"}
    | {".ape", ".wv", ".tta"}
)


@contextmanager
def open_audio(source: str | Path | BinaryIO) -> Iterator[OpenAudio]:
    """Open an audio file of any kind, by its path or as an open binary file.

    A file that was cut off opens too: its `header.lacking` says so.

    Raises:
        AudioFault: no such file, no audio in it, or none that can be read.
    """
    if not isinstance(source, (str, Path)):
        stream = _opened(source, getattr(source, "name", "audio"), None)
        try:
            yield stream
        finally:
            stream.close()
        return
    path = Path(source) if isinstance(source, str) else source
    about = _status(path)
    try:
        file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115 - half Path.open's time
    except OSError as error:
        raise AudioFault(Fault.UNREADABLE, error.strerror or str(error), path) from error
    with file:
        stream = _opened(file, path, (str(path), about.st_size, about.st_mtime_ns))
        try:
            yield stream
        finally:
            stream.close()


def read_alike(path: Path) -> bool:
    """Return whether programs that know libsndfile alone read what `open_audio` reads.

    Raises:
        AudioFault: it is no audio, or none of it can be decoded.
    """
    _status(path)
    with path.open("rb") as file:
        about = examine(file)
    return about.exact and not about.patches and not about.links


def _opened(file: BinaryIO, name: object, key: Key | None) -> Stream:
    """Open a file in the library that reads it exactly; refuse a rate that no speech has."""
    stream = _by_its_library(file, name, key)
    if (rate := stream.header.sampling_rate) < LOWEST_RATE:
        stream.close()
        told = (
            f"its header names {rate} Hz, where speech has {LOWEST_RATE} Hz at the least; mend it"
        )
        raise AudioFault(Fault.UNREADABLE, told, name)
    return stream


def _by_its_library(file: BinaryIO, name: object, key: Key | None) -> Stream:
    try:
        about = examine(file)
    except AudioFault as fault:
        raise AudioFault(fault.fault, fault.detail, name) from fault
    if about.lacking:
        about = about._replace(lacking=f"cut off: {about.lacking}")
    refused: AudioFault | None = None
    if about.exact:
        try:
            return _by_libsndfile(file, name, about)
        except AudioFault as fault:
            if about.links:  # FFmpeg would join what does not belong together
                raise
            refused = fault  # FFmpeg is asked, too
    try:
        return FfmpegStream(_again(file, key), name, key, about.lacking)
    except AudioFault as fault:
        if about.lacking and fault.fault is not Fault.CUT_OFF:
            raise AudioFault(Fault.CUT_OFF, about.lacking, name) from fault
        raise (refused or fault) from fault


def _by_libsndfile(file: BinaryIO, name: object, about: About) -> Stream:
    if about.links:
        parts = [cast("BinaryIO", PartOfFile(file, *link)) for link in about.links]
        links = [SndfileStream(part, name, preroll=about.preroll) for part in parts]
        return ChainedStream(links, name, about.lacking)
    if about.patches:
        size = file.seek(0, os.SEEK_END)
        mended = cast("BinaryIO", PartOfFile(file, 0, size, about.patches))
        return SndfileStream(mended, name, about.lacking)
    file.seek(0)
    source = file.fileno() if isinstance(file, io.FileIO) else file
    return SndfileStream(source, name, about.lacking, preroll=about.preroll, mutters=about.mutters)


def _again(file: BinaryIO, key: Key | None) -> Callable[[], BinaryIO]:
    """Return what opens a file once more, from its beginning."""
    if key is not None:
        return lambda: SeekableFile(key[0])

    def rewound() -> BinaryIO:
        return cast("BinaryIO", PartOfFile(file, 0, file.seek(0, os.SEEK_END)))

    return rewound


def read_header(path: Path) -> Header:
    """Read what can be decoded of an audio file; of one cut into segments, once for all of them.

    Raises:
        AudioFault: no such file, no audio in it, or none that can be read.
    """
    about = _status(path)
    return _header(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=1024)
def _header(path: Path, _size: int, _changed: int) -> Header:
    with open_audio(path) as stream:
        header = stream.header
        if not isinstance(stream, SndfileStream) or header.lacking or not stream.frames_may_tear:
            return header
        try:
            stream.read(header.samples - 1)
        except AudioFault:
            return header._replace(lacking="cut off: its last frame is torn")
        return header


def _status(path: Path) -> os.stat_result:
    """Return what the system says of a file that can be opened: a pipe would be waited for."""
    try:
        str(path).encode()
        about = os.stat(path)  # noqa: PTH116 - half the time of Path.stat
    except UnicodeEncodeError as error:
        told = "its path is not UTF-8; rename it"
        raise AudioFault(Fault.UNREADABLE, told, ascii(str(path))) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioFault(Fault.MISSING, "there is no such file", path) from error
    except (OSError, ValueError) as error:  # such as a name longer than the file system allows
        told = getattr(error, "strerror", None) or str(error)
        raise AudioFault(Fault.UNREADABLE, told, path) from error
    if not stat.S_ISREG(about.st_mode):
        raise AudioFault(Fault.MISSING, "it is no file", path)
    if not about.st_size:
        raise AudioFault(Fault.EMPTY, "the file has 0 bytes", path)
    return about
