"""Open one utterance's audio and decide whether it is fit for use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Concatenate

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass

from harness_bench.audio.frames import FRAME_FIELD, SAMPLE_RATE
from harness_bench.audio.io import AudioFault, digest_samples, lacking_audio, read_header
from harness_bench.core.config import STRICT
from harness_bench.corpora.base import Reason, Skipped, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_DURATION_TOLERANCE = (0.1, 0.02)  # seconds, and share of the stated duration
_FULL_SCALE = 0.999  # 16 bits reach 0.99997 and -1
_RUN = 3  # samples at full scale one after the other: a peak that was cut off


@config_dataclass(frozen=True, config=STRICT)
class Limits:
    """What audio must be like to be kept."""

    min_duration: float = Field(default=0.1, ge=FRAME_FIELD / SAMPLE_RATE)  # seconds
    max_duration: float = Field(default=60.0, gt=0)
    # dB of full scale that the loudest sample, a constant offset removed, must reach.
    silence_db: float = Field(default=-60.0, lt=0)

    def __post_init__(self) -> None:
        """Refuse bounds that let nothing through."""
        if self.max_duration <= self.min_duration:
            raise ValueError(
                f"max_duration = {self.max_duration} must be above "
                f"min_duration = {self.min_duration}"
            )


class Unfit(Exception):  # noqa: N818 - a verdict on the data, not an error of the program
    """The audio is unfit: its arguments are a `Reason` and the detail."""


def _or_skipped[**P](
    judge: Callable[Concatenate[Utterance, P], Checked],
) -> Callable[Concatenate[Utterance, P], Checked | Skipped]:
    """Let a check that raises `Unfit` return why the utterance is left out."""

    @wraps(judge)
    def judged(utterance: Utterance, /, *args: P.args, **kwargs: P.kwargs) -> Checked | Skipped:
        try:
            return judge(utterance, *args, **kwargs)
        except Unfit as verdict:
            return utterance.skipped(*verdict.args)

    return judged


@_or_skipped
def check(utterance: Utterance, limits: Limits) -> Checked:
    """Decode an utterance completely; return what it is, or why it is left out."""
    if not _size(utterance.audio):
        raise Unfit(Reason.EMPTY, "the file has 0 bytes")
    return _judge(utterance, limits, *_decode(utterance, limits))


@_or_skipped
def check_samples(
    utterance: Utterance,
    limits: Limits,
    samples: NDArray[np.float32],  # (samples, channels)
    sampling_rate: int,  # Hz
) -> Checked:
    """Check an utterance whose audio was decoded elsewhere; returns as `check`."""
    return _judge(utterance, limits, samples, sampling_rate, len(samples))


@_or_skipped
def check_header(utterance: Utterance, limits: Limits) -> Checked:
    """Return what an utterance is by its file's header, or why it is left out.

    No sample is read: silence, broken ends of files and equal audio stay unseen.
    """
    try:
        header = read_header(utterance.audio)
    except AudioFault as error:
        raise Unfit(Reason(error.fault), error.detail) from error
    rate = header.sampling_rate
    _, samples = _stretch(utterance, header.samples, rate)
    _refuse_short(samples, rate, limits)
    _refuse_long(samples, rate, limits)
    return Checked(utterance, header.samples, samples, rate, header.channels, "")


def _judge(
    utterance: Utterance,
    limits: Limits,
    samples: NDArray[np.float32],
    sampling_rate: int,
    file_samples: int,
) -> Checked:
    _refuse_short(len(samples), sampling_rate, limits)
    seconds, stated = len(samples) / sampling_rate, utterance.stated_duration
    absolute, relative = _DURATION_TOLERANCE
    if stated is not None and abs(stated - seconds) > max(absolute, relative * stated):
        raise Unfit(Reason.WRONG_DURATION, f"stated {stated:.3f} s, decoded {seconds:.3f} s")
    if bad := int(np.count_nonzero(~np.isfinite(samples))):
        raise Unfit(Reason.NOT_FINITE, f"{bad} of {samples.size} samples")
    mono = samples.mean(axis=1)
    peak = float(np.abs(mono - mono.mean()).max())
    level = 20 * np.log10(peak) if peak else -np.inf
    if level < limits.silence_db:
        raise Unfit(Reason.SILENT, f"peak {level:.1f} dB < {limits.silence_db:g} dB")
    return Checked(
        utterance=utterance,
        file_samples=file_samples,
        samples=len(samples),
        sampling_rate=sampling_rate,
        channels=samples.shape[1],
        digest=digest_samples(samples),
        clipped=sum(map(clipped, samples.T)),
    )


def _size(path: Path) -> int:
    """Return a file's bytes, if it is a file whose path can be opened and written down."""
    try:
        str(path).encode()
        if not path.is_file():
            raise Unfit(Reason.MISSING_FILE, "there is no such file")
        return path.stat().st_size
    except UnicodeEncodeError as error:
        raise Unfit(Reason.UNREADABLE, "its path is not UTF-8; rename it") from error
    except OSError as error:  # such as a name longer than the file system allows
        raise Unfit(Reason.UNREADABLE, error.strerror or str(error)) from error


def _decode(utterance: Utterance, limits: Limits) -> tuple[NDArray[np.float32], int, int]:
    """Return the utterance's samples (samples, channels) float32, their rate, the file's length."""
    import soundfile  # noqa: PLC0415 - loads a shared library

    try:
        with soundfile.SoundFile(str(utterance.audio)) as stream:
            rate, length = int(stream.samplerate), int(stream.frames)
            # Of segments, those in the part that is there are fit, and the others end behind it.
            whole = utterance.duration is None
            if whole and (cut_off := lacking_audio(stream.extra_info, length / rate)):
                raise Unfit(Reason.UNREADABLE, cut_off)
            first, wanted = _stretch(utterance, length, rate)
            # Decided from the header: a file of hours must not be decoded only to be left out.
            _refuse_long(wanted, rate, limits)
            stream.seek(first)
            samples = stream.read(wanted, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise Unfit(Reason.UNREADABLE, str(error).splitlines()[0]) from error
    if len(samples) < wanted:
        detail = f"the header promises {wanted} samples, {len(samples)} could be decoded"
        raise Unfit(Reason.UNREADABLE, detail)
    return samples, rate, length


def _stretch(utterance: Utterance, length: int, rate: int) -> tuple[int, int]:
    """Return the first of an utterance's samples and how many it has of a file's `length`."""
    first = min(round(utterance.start * rate), length)
    if utterance.duration is None:
        return first, length - first
    return first, min(round(utterance.duration * rate), length - first)


def _refuse_long(samples: int, rate: int, limits: Limits) -> None:
    if samples > limits.max_duration * rate:
        raise Unfit(Reason.TOO_LONG, f"{samples / rate:.2f} s > {limits.max_duration:g} s")


def _refuse_short(samples: int, rate: int, limits: Limits) -> None:
    if not samples:
        raise Unfit(Reason.EMPTY, "no samples")
    if samples / rate < limits.min_duration:
        raise Unfit(Reason.TOO_SHORT, f"{samples / rate:.3f} s < {limits.min_duration:g} s")


def clipped(samples: NDArray[np.float32]) -> int:
    """Count the samples of one channel, (samples,), in runs of three and more at full scale.

    A loud peak may touch full scale; only one that was cut off stays there.
    """
    full = np.abs(samples) >= _FULL_SCALE
    if not full.any():
        return 0
    edges = np.flatnonzero(np.diff(full, prepend=False, append=False))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= _RUN].sum())


@dataclass(frozen=True)
class Checked:
    """An utterance fit for use, with what its audio really is."""

    utterance: Utterance
    file_samples: int  # of the whole file, at its own rate
    samples: int  # of the utterance, at the file's rate
    sampling_rate: int
    channels: int
    digest: str  # of the decoded samples
    clipped: int = 0  # samples in runs at full scale, of all channels; 0 where none was decoded

    @property
    def duration(self) -> float:
        """Length of the utterance in seconds."""
        return self.samples / self.sampling_rate
