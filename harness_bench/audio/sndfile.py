"""Audio files that libsndfile reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from harness_bench.audio.base import AudioFault, Fault, Header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray


class SndfileStream:
    """An audio file, open in libsndfile."""

    def __init__(self, source: Path | BinaryIO, name: object) -> None:
        import soundfile  # noqa: PLC0415 - loads a shared library

        self.name = name
        try:
            self.file = soundfile.SoundFile(source if hasattr(source, "read") else str(source))
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioFault(Fault.UNREADABLE, _reason(error), name) from error
        self.header = Header(
            int(self.file.frames), int(self.file.samplerate), int(self.file.channels)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def read(self, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Read as `OpenAudio.read` says."""
        import soundfile  # noqa: PLC0415 - loaded already

        there = max(self.header.samples - first, 0)
        wanted = there if count is None else min(count, there)
        try:
            if self.file.tell() != first:
                self.file.seek(min(first, self.header.samples))
            samples: NDArray[np.float32] = self.file.read(wanted, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioFault(Fault.UNREADABLE, _reason(error), self.name) from error
        if len(samples) < wanted:
            told = f"the header promises {self.header.samples} samples, "
            told += f"{first + len(samples)} could be decoded"
            raise AudioFault(Fault.UNREADABLE, told, self.name)
        return samples

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Read as `OpenAudio.blocks` says."""
        for first in range(0, self.header.samples, size):
            yield self.read(first, size)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0]
