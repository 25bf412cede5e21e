"""Open one utterance's audio and decide whether it is fit for use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Concatenate

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass

from harness_bench.audio.base import AudioFault
from harness_bench.audio.frames import FRAME_FIELD, SAMPLE_RATE
from harness_bench.audio.io import digest_samples, open_audio, read_header
from harness_bench.core.config import STRICT
from harness_bench.corpora.base import Reason, Skipped, Utterance
from harness_bench.corpora.formats.raw_files import near_miss

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from harness_bench.audio.base import Header

_DURATION_TOLERANCE = (0.1, 0.02)  # seconds, and share of the stated duration
_PAST_THE_END = 0.01  # seconds that a segment may end behind its recording: times are rounded
_FAR_OUT = 100  # times the length of its recording, at which no segment ends
_FAR_ABOVE = 16.0  # 24 dB above full scale, which no float recording reaches
_CANCELLED = 0.01  # of the power that unrelated channels average to
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
            reason, detail = verdict.args
            if reason is Reason.MISSING_FILE and (hint := near_miss(utterance.audio)):
                detail += f"; {hint}"
            return utterance.skipped(reason, detail)

    return judged


@_or_skipped
def check(utterance: Utterance, limits: Limits) -> Checked:
    """Decode an utterance completely; return what it is, or why it is left out."""
    try:
        with open_audio(utterance.audio) as stream:
            header = stream.header
            first, wanted = _stretch(utterance, header)
            # Decided from the header: a file of hours must not be decoded only to be left out.
            _refuse_long(wanted, header.sampling_rate, limits)
            samples = stream.read(first, wanted)
    except AudioFault as fault:
        raise Unfit(Reason(fault.fault), fault.detail) from fault
    if len(samples) < wanted:
        detail = f"the header promises {wanted} samples, {len(samples)} could be decoded"
        raise Unfit(Reason.CUT_OFF, detail)
    return _judge(utterance, limits, samples, header.sampling_rate, header.samples)


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

    Samples are not judged: silence, damage amid a file and equal audio stay unseen.
    """
    try:
        header = read_header(utterance.audio)
    except AudioFault as fault:
        raise Unfit(Reason(fault.fault), fault.detail) from fault
    rate = header.sampling_rate
    _, samples = _stretch(utterance, header)
    _refuse_short(samples, rate, limits)
    _refuse_long(samples, rate, limits)
    _refuse_other(samples, rate, utterance)
    return Checked(utterance, header.samples, samples, rate, header.channels, "")


def _judge(
    utterance: Utterance,
    limits: Limits,
    samples: NDArray[np.float32],
    sampling_rate: int,
    file_samples: int,
) -> Checked:
    _refuse_short(len(samples), sampling_rate, limits)
    _refuse_other(len(samples), sampling_rate, utterance)
    _refuse_levels(samples, limits)
    return Checked(
        utterance=utterance,
        file_samples=file_samples,
        samples=len(samples),
        sampling_rate=sampling_rate,
        channels=samples.shape[1],
        digest=digest_samples(samples),
        clipped=sum(map(clipped, samples.T)),
    )


def _stretch(utterance: Utterance, header: Header) -> tuple[int, int]:
    """Return the first of an utterance's samples and how many it has; both are in the file.

    Of a file that was cut off, segments in the part that is there are fit.
    """
    rate, length = header.sampling_rate, header.samples
    first, whole = round(utterance.start * rate), utterance.duration is None
    if whole and header.lacking:
        raise Unfit(Reason.CUT_OFF, header.lacking)
    wanted = length - first if utterance.duration is None else round(utterance.duration * rate)
    missing = min(first + wanted - length, wanted)
    if not length:
        reason = Reason.CUT_OFF if header.lacking else Reason.EMPTY
        raise Unfit(reason, header.lacking or "no samples")
    if first >= length or missing > _PAST_THE_END * rate:
        end, there = (first + max(wanted, 0)) / rate, length / rate
        detail = f"it ends at {end:.2f} s and its recording at {there:.2f} s"
        if not whole:
            detail += f": {missing / rate:.2f} of its {wanted / rate:.2f} s are not there"
            detail += "; are its times milliseconds?" if end > _FAR_OUT * there else ""
        raise Unfit(Reason.OUTSIDE, "; ".join(filter(None, (detail, header.lacking))))
    return first, min(wanted, length - first)


def _refuse_other(samples: int, rate: int, utterance: Utterance) -> None:
    """Refuse audio of another length than the corpus says."""
    seconds, stated = samples / rate, utterance.stated_duration
    absolute, relative = _DURATION_TOLERANCE
    if stated is not None and abs(stated - seconds) > max(absolute, relative * stated):
        unit = "; does it say milliseconds?" if 0.9 < stated / seconds / 1000 < 1.1 else ""  # noqa: PLR2004
        detail = f"stated {stated:.3f} s, found {seconds:.3f} s{unit}"
        raise Unfit(Reason.WRONG_DURATION, detail)


def _refuse_levels(samples: NDArray[np.float32], limits: Limits) -> None:
    """Refuse (samples, channels) that no recording of speech has."""
    if bad := int(np.count_nonzero(~np.isfinite(samples))):
        raise Unfit(Reason.NOT_FINITE, f"{bad} of {samples.size} samples")
    mono = samples.mean(axis=1)
    centred = mono - mono.mean()
    peak = float(np.abs(centred).max())
    if peak > _FAR_ABOVE:
        detail = f"peak {peak:.0f}, where 1 is full scale: whole numbers stored as float? Scale it"
        raise Unfit(Reason.SCALE, detail)
    if samples.shape[1] > 1:
        _refuse_cancelling(samples, centred, limits)
    level = 20 * np.log10(peak) if peak else -np.inf
    if level < limits.silence_db:
        raise Unfit(Reason.SILENT, f"peak {level:.1f} dB < {limits.silence_db:g} dB")


def _refuse_cancelling(
    samples: NDArray[np.float32], mixed: NDArray[np.float32], limits: Limits
) -> None:
    """Refuse channels of which one is the other with its sign turned: their average is silence."""
    channels = samples - samples.mean(axis=0)
    loudest = float(np.abs(channels).max())
    if 20 * np.log10(max(loudest, 1e-12)) < limits.silence_db:
        return  # silent in each
    # Channels that have nothing in common average to their mean power by their number.
    expected = float(np.mean(channels**2)) / samples.shape[1]
    if (power := float(np.mean(mixed**2))) < _CANCELLED * expected:
        decibels = 10 * np.log10(max(power, 1e-20) / expected)
        detail = f"their average is {decibels:.0f} dB weaker than that of unrelated channels"
        raise Unfit(Reason.CANCELS, f"{detail}; keep one channel of it")


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
