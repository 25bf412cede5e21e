"""Audio as every model here takes it: 16 kHz, one channel, float32 in [-1, 1]."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from harness_bench.audio.base import AudioFault, Fault, Header, OpenAudio
from harness_bench.audio.resample import resample
from harness_bench.audio.sndfile import SndfileStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lhotse.cut import Cut
    from numpy.typing import NDArray

# How libsndfile reports audio data of WAV, AIFF or AU that end before the length in their header.
_SHORTER = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN = 0x7FFFF000  # bytes; programs that write into a pipe promise this many or more
_HARMLESS = 0.1  # seconds


def load_waveform(cut: Cut) -> NDArray[np.float32]:
    """Read a cut -> (samples,) float32 at 16 kHz, channels averaged; errors: `load_samples`."""
    return standard(load_samples(cut), cut.sampling_rate)


def load_samples(cut: Cut) -> NDArray[np.float32]:
    """Read a cut as it is -> (channels, samples) float32; unreadable: a ValueError names it."""
    from lhotse.audio.utils import (  # noqa: PLC0415 - imports torch
        AudioLoadingError,
        DurationMismatchError,
    )

    without_shell()
    try:
        samples: NDArray[np.float32] = cut.load_audio()
    except (AudioLoadingError, DurationMismatchError, OSError) as error:
        reason = str(error).splitlines()[0].removesuffix(" Details:")
        if isinstance(error, DurationMismatchError):  # lhotse asks to report it
            reason = "it has another length than was prepared"
        raise ValueError(
            f"Cut {cut.id!r}: its audio cannot be read ({reason}). "
            "Were files moved or changed since `harness-bench prepare`? Run it again."
        ) from error
    return samples


def load_finite(cut: Cut) -> NDArray[np.float32]:
    """Read a cut as `load_waveform` does; an empty or not finite one is a ValueError too."""
    wave = load_waveform(cut)
    if not len(wave):
        raise ValueError(f"Cut {cut.id!r} has no samples.")
    if not np.isfinite(wave).all():
        raise ValueError(f"Cut {cut.id!r} has NaN or infinite samples.")
    return wave


def read_waveform(path: str | Path) -> NDArray[np.float32]:
    """Read a whole file -> (samples,) float32 at 16 kHz, channels averaged. Imports no torch.

    Raises:
        AudioFault: no such file, no audio, cut off, empty, or NaN or infinite samples.
    """
    with open_audio(path) as recording:
        if recording.header.lacking:
            raise AudioFault(Fault.CUT_OFF, recording.header.lacking, path)
        wave = standard(recording.read().T, recording.header.sampling_rate)
    if not len(wave):
        raise AudioFault(Fault.EMPTY, "it has no samples", path)
    if not np.isfinite(wave).all():
        raise AudioFault(Fault.UNREADABLE, "it has NaN or infinite samples", path)
    return wave


# What is searched for in folders; a file that is named is read whatever its suffix.
AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".sph", ".w64"}
)


@contextmanager
def open_audio(source: str | Path | BinaryIO) -> Iterator[OpenAudio]:
    """Open an audio file of any kind, by its path or as an open binary file.

    A file that was cut off opens too: its `header.lacking` says so.

    Raises:
        AudioFault: no such file, no audio in it, or none that can be read.
    """
    name = getattr(source, "name", "audio") if hasattr(source, "read") else source
    place = source if hasattr(source, "read") else _checked(Path(source))
    with SndfileStream(place, name) as stream:
        seconds = stream.header.samples / stream.header.sampling_rate
        lacking = lacking_audio(stream.file.extra_info, seconds)
        stream.header = stream.header._replace(lacking=lacking)
        yield stream


def read_header(path: Path) -> Header:
    """Read what can be decoded of an audio file; of one cut into segments, once for all of them.

    Raises:
        AudioFault: no such file, no audio in it, or none that can be read.
    """
    about = _checked(path).stat()
    return _header(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=1024)
def _header(path: Path, _size: int, _changed: int) -> Header:
    with open_audio(path) as stream:
        return stream.header


def _checked(path: Path) -> Path:
    """Return the path of a file that can be opened: a pipe would be waited for."""
    try:
        str(path).encode()
        if not path.is_file():
            told = "it is no file" if path.exists() else "there is no such file"
            raise AudioFault(Fault.MISSING, told, path)
        if not path.stat().st_size:
            raise AudioFault(Fault.EMPTY, "the file has 0 bytes", path)
    except UnicodeEncodeError as error:
        told = "its path is not UTF-8; rename it"
        raise AudioFault(Fault.UNREADABLE, told, ascii(str(path))) from error
    except OSError as error:  # such as a name longer than the file system allows
        raise AudioFault(Fault.UNREADABLE, error.strerror or str(error), path) from error
    return path


def digest_samples(samples: NDArray[np.float32]) -> str:
    """Return BLAKE2b-128 of (samples, channels) as decoded, by which cuts know equal audio."""
    return hashlib.blake2b(np.ascontiguousarray(samples).data, digest_size=16).hexdigest()


@cache
def without_shell() -> None:
    """Keep lhotse from reading .sph files by a shell command that their names become part of.

    libsndfile reads them, as it does when a corpus is prepared. Called before lhotse reads audio.
    """
    from lhotse.audio import backend  # noqa: PLC0415 - imports torch

    current = backend.get_current_audio_backend()
    readers = getattr(current, "backends", [])
    kept = [one for one in readers if not isinstance(one, backend.Sph2pipeSubprocessBackend)]
    if len(kept) < len(readers):
        backend.set_current_audio_backend(backend.CompositeAudioBackend(kept))


def standard(samples: NDArray[np.floating], sampling_rate: int) -> NDArray[np.float32]:
    """Average (channels, samples), resample -> (ceil(samples * 16000 / sampling_rate),) float32."""
    mono = samples.mean(axis=0) if samples.ndim == 2 else samples  # noqa: PLR2004
    return resample(np.ascontiguousarray(mono, dtype=np.float32), sampling_rate)


def lacking_audio(log: str, seconds: float) -> str | None:
    """Say what a file lacks of the audio that its header promises; None for a whole file.

    libsndfile reads what is there of a WAV, AIFF or AU file that was cut off, and only notes it.
    A length that counts the header in is common and harmless; one of a stream means nothing.
    `log`: `extra_info` of the opened `soundfile.SoundFile`; `seconds`: length of what is there.
    """
    found = _SHORTER.search(log)
    if found is None:
        return None
    promised, there = map(int, found.groups())
    if promised >= _UNKNOWN or (promised - there) / max(there, 1) * seconds < _HARMLESS:
        return None
    return f"cut off: the header promises {promised} bytes of audio, and there are {there}"
