"""lhotse reads audio by the one reader here: every format, and no shell command."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from harness_bench.audio.base import AudioFault
from harness_bench.audio.opening import open_audio

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

# Seconds by which transforms may round a length. By default lhotse fills up half a second of a file
# that became shorter with a mirror image of its end.
_ROUNDING = 0.01


@cache
def install() -> None:
    """Make `cut.load_audio()` read by `open_audio`; called before lhotse reads or writes audio.

    What lhotse has of its own runs a shell command for .sph files, whose names become part of it.
    """
    from lhotse.audio import backend  # noqa: PLC0415 - imports torch
    from lhotse.audio.utils import AudioLoadingError  # noqa: PLC0415 - as above

    def seconds(count: float | None, rate: int) -> int | None:
        return None if count is None else backend.compute_num_samples(count, rate)

    class HarnessBackend(backend.LibsndfileBackend):  # type: ignore[misc] # lhotse has no types
        """Reads by `open_audio`, writes by libsndfile."""

        def read_audio(
            self,
            path_or_fd: str | Path | BinaryIO,
            offset: float = 0.0,
            duration: float | None = None,
            force_opus_sampling_rate: int | None = None,  # noqa: ARG002 - lhotse's interface
        ) -> tuple[NDArray[np.float32], int]:
            """Read (channels, samples) and their rate; offset and duration in seconds."""
            try:
                with open_audio(path_or_fd) as stream:
                    rate = stream.header.sampling_rate
                    samples = stream.read(seconds(offset, rate) or 0, seconds(duration, rate))
            except AudioFault as fault:  # lhotse makes its errors anew, of one argument
                raise AudioLoadingError(str(fault)) from fault
            return samples.T, rate

        def info(
            self,
            path_or_fd: str | Path | BinaryIO,
            force_opus_sampling_rate: int | None = None,  # noqa: ARG002 - lhotse's interface
        ) -> Any:
            """Return what lhotse keeps of a header."""
            with open_audio(path_or_fd) as stream:
                samples, rate, channels, _ = stream.header
            return backend.LibsndfileCompatibleAudioInfo(
                channels=channels, frames=samples, samplerate=rate, duration=samples / rate
            )

    backend.set_current_audio_backend(HarnessBackend())
    # lhotse's setter would log a line, and configure the root logger of the program to do so.
    os.environ["LHOTSE_AUDIO_DURATION_MISMATCH_TOLERANCE"] = str(_ROUNDING)
