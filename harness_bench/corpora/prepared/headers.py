"""Judge utterances by the headers of their files alone: fast, for whole corpora at a time."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from harness_bench.corpora.base import Reason, Skipped, Utterance
from harness_bench.corpora.check import Checked, Limits

if TYPE_CHECKING:
    from pathlib import Path


class Header(NamedTuple):
    """What a file says of itself."""

    samples: int
    sampling_rate: int
    channels: int


def check_header(utterance: Utterance, limits: Limits) -> Checked | Skipped:
    """Return what an utterance is by its file's header, or why it is left out.

    No sample is read: silence, broken ends of files and equal audio stay unseen.
    """
    try:
        header = _header(utterance.audio)
    except FileNotFoundError:
        return utterance.skipped(Reason.MISSING_FILE, "there is no such file")
    except (OSError, RuntimeError, ValueError) as error:
        return utterance.skipped(Reason.UNREADABLE, str(error).splitlines()[0])
    rate = header.sampling_rate
    first = min(round(utterance.start * rate), header.samples)
    samples = header.samples - first
    if utterance.duration is not None:
        samples = min(round(utterance.duration * rate), samples)
    if not samples:
        return utterance.skipped(Reason.EMPTY, "no samples")
    if samples < limits.min_duration * rate:
        detail = f"{samples / rate:.3f} s < {limits.min_duration:g} s"
        return utterance.skipped(Reason.TOO_SHORT, detail)
    if samples > limits.max_duration * rate:
        detail = f"{samples / rate:.2f} s > {limits.max_duration:g} s"
        return utterance.skipped(Reason.TOO_LONG, detail)
    return Checked(utterance, header.samples, samples, rate, header.channels, "")


@lru_cache(maxsize=1024)
def _header(path: Path) -> Header:
    import soundfile  # noqa: PLC0415 - loads a shared library

    if not path.is_file():  # a pipe would be waited for
        raise FileNotFoundError(path)
    about = soundfile.info(str(path))
    return Header(int(about.frames), int(about.samplerate), int(about.channels))
